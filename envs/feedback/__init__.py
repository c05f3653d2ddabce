"""How what visitors did reaches the shop's log, or fails to: one file per fault."""

from perennial.envs.feedback.base import ComposedFaults, Fault
from perennial.envs.feedback.click_spam import ClickSpam
from perennial.envs.feedback.delayed_conversions import DelayedConversions
from perennial.envs.feedback.delays import Delay, Exponential, LogNormal
from perennial.envs.feedback.duplication import Duplication
from perennial.envs.feedback.late_arrival import LateArrival
from perennial.envs.feedback.loss import Loss
from perennial.envs.feedback.none import NoFaults
from perennial.envs.feedback.reports import CART, PURCHASE, Noise, Reports, Told

__all__ = [
    "CART",
    "PURCHASE",
    "ClickSpam",
    "ComposedFaults",
    "Delay",
    "DelayedConversions",
    "Duplication",
    "Exponential",
    "Fault",
    "LateArrival",
    "LogNormal",
    "Loss",
    "NoFaults",
    "Noise",
    "Reports",
    "Told",
]

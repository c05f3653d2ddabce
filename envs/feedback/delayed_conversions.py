"""Delayed conversions: purchases, and carts if so declared, that the log hears of days after the click."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from perennial.envs.feedback.base import Fault
from perennial.envs.feedback.delays import Delay, Exponential, share
from perennial.envs.feedback.reports import CART, PURCHASE, Ints, Noise, Reports, Told
from perennial.envs.validation import at_least, one_of_type


class DelayedConversions(Fault):
    """Page reports come without their purchases; each purchase is told by itself when it is made, days later.

    Until then the click looks like one that led to nothing (Chapelle 2014, "Modeling delayed feedback in display
    advertising", KDD, doi:10.1145/2623330.2623634, section 3.1, where the delay is exponential as well). His figure 1:
    35 % of conversions follow within an hour, 50 % within a day; later than 30 days they are not put down to the
    click. An exponential of mean 3.8 days for those that are not at once has both figures.

    Arguments:
        at_once: share that is told with the page, in [0, 1].
        delay: of the others, from the page to the purchase; default exponential of mean 3.8 days.
        cart_delay: from the page to its cart, which then is told by itself too, and the purchase the longer after it;
            None: carts come with the page.
        within_days: what is made later is never told, days > 0.
    """

    stream = 5

    def __init__(
        self,
        at_once: float = 0.35,
        delay: Delay | None = None,
        cart_delay: Delay | None = None,
        within_days: float = 30.0,
    ) -> None:
        self.at_once = share("feedback.at_once", at_once)
        default = Exponential(3.8)
        self.delay = one_of_type("feedback.delay", default if delay is None else delay, Delay)  # type: ignore[type-abstract]
        if cart_delay is not None:
            one_of_type("feedback.cart_delay", cart_delay, Delay)  # type: ignore[type-abstract]
        self.cart_delay = cart_delay
        if at_least("feedback.within_days", within_days, 0.0) == 0:
            raise ValueError(f"'feedback.within_days' must be > 0. Got {within_days!r}.")
        self.within_days = within_days

    def apply(self, reports: Reports, noise: Noise) -> Reports:
        carts = np.zeros(reports.carted.shape, np.int64)
        if self.cart_delay is not None:
            carts = self._hours(reports, noise, CART, self.cart_delay, 0.0)
        purchases = self._hours(reports, noise, PURCHASE, self.delay, self.at_once) + carts * reports.purchased
        told = reports.told + self._told(reports, CART, carts) + self._told(reports, PURCHASE, purchases)
        carted, purchased = reports.carted & (carts == 0), reports.purchased & (purchases == 0)
        return replace(reports, carted=carted, purchased=purchased, told=told)

    def _hours(self, reports: Reports, noise: Noise, kind: int, delay: Delay, at_once: float) -> Ints:
        """int64 (R, K): hours that the conversions of `kind` take, 0 where there is none."""
        report, slot = np.nonzero(reports.carted if kind == CART else reports.purchased)
        drawn = noise.of_conversions(self.stream, reports, report, slot, kind)
        hours = np.zeros(reports.carted.shape, np.int64)
        hours[report, slot] = np.where(drawn[:, 0] < at_once, 0, delay.hours(drawn))
        return hours

    def _told(self, reports: Reports, kind: int, hours: Ints) -> Told:
        """Those that take time, unless it is too much; no conversion is told before its page, and none by a copy."""
        report, slot = np.nonzero((hours > 0) & (hours <= 24 * self.within_days) & (reports.copy == 0)[:, None])
        row, zeros = reports.row[report], np.zeros(len(report), np.int64)
        due = np.maximum(reports.tick[row] + hours[report, slot], reports.due[report])
        return Told(row, slot, zeros + kind, zeros, due)

"""Drift detectors: `update(x)` for each value of a stream, then `drift_detected`; one file per family."""

from perennial.agents.lifecycle.detectors.adwin import Adwin
from perennial.agents.lifecycle.detectors.base import AlwaysDetector, Detector, Direction, NoDetector
from perennial.agents.lifecycle.detectors.cusum import Cusum
from perennial.agents.lifecycle.detectors.errors import Ddm, Eddm, ErrorDetector, Fhddm, HddmA, HddmW
from perennial.agents.lifecycle.detectors.glr import Glr
from perennial.agents.lifecycle.detectors.kswin import Kswin
from perennial.agents.lifecycle.detectors.page_hinkley import PageHinkley
from perennial.agents.lifecycle.detectors.two_windows import KsWindows, PsiWindows
from perennial.agents.lifecycle.detectors.wrappers import Batched, Deseasonalised

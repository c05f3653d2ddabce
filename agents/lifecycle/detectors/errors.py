"""River's detectors for streams of errors: 1 = an error (a first page without a click), 0 = none.

They see errors become more frequent and nothing else, so they need no direction.
"""

from __future__ import annotations

import math
from abc import abstractmethod
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.agents.lifecycle.detectors.base import Detector
from perennial.agents.validation import number, whole


class ErrorDetector(Detector):
    """A detector of River's for errors; it refuses values other than 0 and 1."""

    _river: Any

    def update(self, x: float) -> None:
        self.first_alarm(np.array([x]))

    def first_alarm(self, values: NDArray[Any]) -> int | None:
        errors = np.asarray(values)
        if not ((errors == 0) | (errors == 1)).all():
            raise ValueError(f"Values must be 0 or 1 for {type(self).__name__}. Got {errors}.")
        feed = self._feed
        for index, error in enumerate(errors.astype(np.int64).tolist()):
            feed(error)
            if self._river.drift_detected:
                self.drift_detected = True
                return index
        self.drift_detected = False
        return None

    def _feed(self, error: int) -> None:
        self._river.update(error)

    @abstractmethod
    def _new(self) -> Any:
        """River's detector, new."""

    def reset(self) -> None:
        self._river, self.drift_detected = self._new(), False


class Ddm(ErrorDetector):
    """DDM (Gama, Medas, Castillo and Rodrigues 2004): the error rate plus its spread, against their lowest sum so far.

    The score is how far p + s lies above the lowest p, in units of that moment's s.

    Arguments:
        threshold: alarm when the score passes it.
        warmup: values before the first alarm.
    """

    knob = "threshold"

    def __init__(self, threshold: float = 3.0, warmup: int = 30) -> None:
        self.threshold, self.warmup = number("threshold", threshold, 0.0, above=True), whole("warmup", warmup, 1)
        self.reset()

    def _new(self) -> Any:
        from river.drift import binary

        return binary.DDM(self.warmup, min(2.0, self.threshold), self.threshold)

    @property
    def score(self) -> float:  # type: ignore[override]  # read off River's state when asked for
        river = self._river
        if not river._s_min:
            return 0.0
        p, n = river._p.get(), river._p.n
        return float((p + math.sqrt(p * (1 - p) / n) - river._p_min) / river._s_min)


class Eddm(ErrorDetector):
    """EDDM (Baena-Garcia et al. 2006): the distance between errors, against the widest so far.

    The score is one minus the ratio of mean + 2 standard deviations of the distances to their largest sum so far.

    Arguments:
        threshold: alarm when the score passes it; the paper's beta = .9 is .1 here.
        warmup: errors before the first alarm.
    """

    knob = "threshold"

    def __init__(self, threshold: float = 0.1, warmup: int = 30) -> None:
        self.threshold, self.warmup = number("threshold", threshold, 0.0, 1.0), whole("warmup", warmup, 1)
        self.reset()

    def _new(self) -> Any:
        from river.drift import binary

        return binary.EDDM(self.warmup, 1.0, 1.0 - self.threshold)

    @property
    def score(self) -> float:  # type: ignore[override]  # read off River's state when asked for
        river = self._river
        if river._n_errors <= self.warmup or river._p2s_prime_max <= 0:
            return 0.0
        distances = river._error_distances
        return float(1.0 - (distances.mean.get() + 2.0 * distances.get() ** 0.5) / river._p2s_prime_max)


class HddmA(ErrorDetector):
    """HDDM_A (Frias-Blanco et al. 2015): the mean of the watch against its lowest beginning, by Hoeffding's bound.

    The score is their difference over the bound, the threshold 1.

    Arguments:
        confidence: of each comparison; smaller is stricter.
    """

    knob, threshold = "confidence", 1.0

    def __init__(self, confidence: float = 0.001) -> None:
        self.confidence = number("confidence", confidence, 0.0, 1.0, above=True)
        self.reset()

    def _new(self) -> Any:
        from river.drift import binary

        return binary.HDDMA(self.confidence, self.confidence)

    @property
    def score(self) -> float:  # type: ignore[override]  # read off River's state when asked for
        low, all_ = self._river._x_min, self._river._z
        if low.n == 0 or low.n == all_.n:
            return 0.0
        bound = math.sqrt((all_.n - low.n) / low.n / all_.n / 2 * math.log(2.0 / self.confidence))
        return float((all_.get() - low.get()) / bound)


class HddmW(ErrorDetector):
    """HDDM_W (Frias-Blanco et al. 2015): the same with exponentially weighted means, by McDiarmid's bound.

    The score is the newer mean's excess over the bound, the threshold 1.

    Arguments:
        confidence: of each comparison; smaller is stricter.
        weight: of the newest value in the means.
    """

    knob, threshold = "confidence", 1.0

    def __init__(self, confidence: float = 0.001, weight: float = 0.05) -> None:
        self.confidence = number("confidence", confidence, 0.0, 1.0, above=True)
        self.weight = number("weight", weight, 0.0, 1.0, above=True)
        self.reset()

    def _new(self) -> Any:
        from river.drift import binary

        return binary.HDDMW(self.confidence, self.confidence, self.weight)

    @property
    def score(self) -> float:  # type: ignore[override]  # read off River's state when asked for
        before, after = self._river._s1_incr, self._river._s2_incr
        if not (before.is_init and after.is_init):
            return 0.0
        return float((after.ewma - before.ewma) / math.sqrt((before.ibc + after.ibc) * -math.log(self.confidence) / 2))


class Fhddm(ErrorDetector):
    """FHDDM (Pesaranghader and Viktor 2016): the best success rate of a sliding window so far, against the newest.

    River's fires when the mean of what it is fed *falls*, so it is fed successes. The score is the fall of the success
    rate, the threshold Hoeffding's bound for it.

    Arguments:
        confidence: of the bound; smaller is stricter.
        window: values the success rate is taken over.
    """

    knob = "confidence"

    def __init__(self, confidence: float = 1e-6, window: int = 100) -> None:
        self.confidence = number("confidence", confidence, 0.0, 1.0, above=True)
        self.window = whole("window", window, 2)
        self.threshold = math.sqrt(-math.log(confidence) / (2 * window))
        self.reset()

    def _new(self) -> Any:
        from river.drift import binary

        return binary.FHDDM(self.window, self.confidence)

    def _feed(self, error: int) -> None:
        river = self._river
        full = len(river._sliding_window) == self.window - 1 and not river.drift_detected
        successes = river.n_one + 1 - error
        river.update(1 - error)
        self.score = river._u_max - successes / self.window if full else 0.0

    def reset(self) -> None:
        super().reset()
        self.score = 0.0

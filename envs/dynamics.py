"""How what they are shown changes visitors: satiation, loyalty, pleasure; assumed, as no open log identifies them."""

from __future__ import annotations

import math
from dataclasses import dataclass, fields

EXPECTED_RETURN = 0.6
"""Return probability assumed when turning visits a day into potential visits a day; the real one is measured."""


@dataclass(frozen=True)
class Dynamics:
    """The dynamics of visitors. Logits unless said otherwise; shares and probabilities in [0, 1], the rest >= 0.

    A click satiates its category by ``satiation_click``, a purchase by ``satiation_purchase`` more; of satiation
    ``satiation_keep`` (share) lasts from page to page, and between visits it fades by e every ``satiation_days`` days.
    A potential visit happens with probability ``return_floor`` + (1 - ``return_floor``) x loyalty. At the end of a
    visit of n clicks loyalty moves by ``loyalty_rate`` (share) towards the clicked items' mean quality x (1 -
    exp(-``pleasure_scale`` n)): who found little, or was baited, comes less often. It starts at ``start_loyalty``.
    """

    satiation_click: float = 0.08
    satiation_purchase: float = 1.0
    satiation_keep: float = 0.9
    satiation_days: float = 3.0
    return_floor: float = 0.3
    loyalty_rate: float = 0.2
    pleasure_scale: float = 0.7
    start_loyalty: float = 0.45

    def __post_init__(self) -> None:
        for f in fields(self):
            value = getattr(self, f.name)
            high = 1.0 if f.name in {"satiation_keep", "return_floor", "loyalty_rate", "start_loyalty"} else math.inf
            right = isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
            if not right or not 0 <= value <= high or (f.name == "satiation_days" and value == 0):
                raise ValueError(f"'dynamics.{f.name}' must be a finite number in [0, {high}]. Got {value!r}.")

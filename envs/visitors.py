"""The shop's visitors: tastes, patience and sensitivity nobody sees, and the noisy view of them that everybody does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.envs.observations import USER_BOUND
from perennial.envs.preset import Preset
from perennial.envs.random_numbers import table_generator

FEATURES = 16

# Assumed; no open log identifies them.
LATENT_SCALE = 0.5  # spread of <p_u, q_i> over items, in logits
TASTE_FLOOR = -4.0  # a category nobody would ever click: its log-taste is cut there
PRICE_SENSITIVITY = 0.2  # mean fall of the logit with one standard deviation of log price
PRICE_SHAPE = 2.0  # its gamma shape over visitors
SENSITIVITY_SHAPE = 10.0  # gamma shape of the sensitivity to the season, mean 1
PATIENCE_SHARE = 0.5  # share of the variance of a visit's patience that is the visitor's own
PROTECTED_SHARE = 0.3  # share of visitors with the protected attribute
LEAN_NOISE = 1.0  # how loosely segment and protected attribute follow tastes, in units of the lean's spread
FEATURE_NOISE = 0.5  # noise of the observable attributes, in units of their own spread


@dataclass(frozen=True)
class Visitors:
    """U users. All float32 (U,) unless noted.

    ``latent`` (U, d). ``taste`` (U, C): log of the user's category share over the base share. ``price_sensitivity``
    >= 0, logits per standard deviation of log price. ``sensitivity`` > 0 to the season, mean 1. ``patience``: the
    user's own part of a visit's patience, variance `PATIENCE_SHARE`. ``arrival_share`` float64 (U,): cumulative share
    of visits, ends at 1.
    ``features`` (U, 16): a noisy view of tastes and latents. ``segment`` int8 (U,): 0 or 1, the half of the visitors
    that a drift of the population may favour; its tastes lean one way. ``protected`` int8 (U,): 0 or 1, an attribute
    that no observation shows; who has it leans another way, so that a policy can treat the two unequally.
    """

    latent: NDArray[np.float32]
    taste: NDArray[np.float32]
    price_sensitivity: NDArray[np.float32]
    sensitivity: NDArray[np.float32]
    patience: NDArray[np.float32]
    arrival_share: NDArray[np.float64]
    features: NDArray[np.float32]
    segment: NDArray[np.int8]
    protected: NDArray[np.int8]

    def __len__(self) -> int:
        return len(self.sensitivity)

    def check(self, categories: int, latent_dim: int) -> None:
        """Raise ValueError unless the table fits a shop of so many categories and dimensions."""
        for name, given, wanted in (("taste", self.taste, categories), ("latent", self.latent, latent_dim)):
            if given.shape[1] != wanted:
                raise ValueError(f"'visitors.{name}' must have {wanted} columns. Got {given.shape[1]}.")


def generate_visitors(
    preset: Preset, n_users: int, dim: int, seed: int, given: Mapping[str, NDArray[Any]] | None = None
) -> Visitors:
    """Visitors in the preset's image; a pure function of its arguments.

    Columns that are `given` (share (U, C) of the categories, latent, activity, price_sensitivity, sensitivity, segment,
    protected, features) are taken as they are, and what rests on them follows them.
    """
    rng, given = table_generator(seed, "visitors"), given or {}
    base = np.asarray(preset.base_share)
    shares = given.get("share")
    if shares is None:
        shares = rng.standard_gamma(preset.world_taste_concentration * base, (n_users, len(base)), dtype=np.float64)
        shares = np.maximum(shares, 1e-12)
        shares /= shares.sum(axis=1, keepdims=True)
    taste = np.maximum(np.log(np.maximum(shares, 1e-12) / base), TASTE_FLOOR)
    latent = given.get("latent")
    if latent is None:
        latent = rng.standard_normal((n_users, dim), dtype=np.float32) * np.float32(LATENT_SCALE)
    activity = np.cumsum(given.get("activity", rng.gamma(preset.activity_shape, 1.0, n_users) + 1e-6))
    price = rng.gamma(PRICE_SHAPE, PRICE_SENSITIVITY / PRICE_SHAPE, n_users)
    sensitivity = rng.gamma(SENSITIVITY_SHAPE, 1 / SENSITIVITY_SHAPE, n_users)
    patience = np.sqrt(PATIENCE_SHARE) * rng.standard_normal(n_users)
    features = given.get("features")
    if features is None:
        features = _view(rng, taste, np.asarray(latent, np.float32) / np.float32(LATENT_SCALE))
    segment, protected = (
        given[name] if name in given else leaning(taste, share, table_generator(seed, name))
        for name, share in (("segment", 0.5), ("protected", PROTECTED_SHARE))
    )
    f32 = np.float32
    return Visitors(
        latent=np.ascontiguousarray(latent, f32),
        taste=taste.astype(f32),
        price_sensitivity=given.get("price_sensitivity", price).astype(f32),
        sensitivity=given.get("sensitivity", sensitivity).astype(f32),
        patience=patience.astype(f32),
        arrival_share=activity / activity[-1],
        features=np.clip(features, -USER_BOUND, USER_BOUND).astype(f32),
        segment=segment.astype(np.int8),
        protected=protected.astype(np.int8),
    )


def leaning(taste: NDArray[np.float64], share: float, rng: np.random.Generator) -> NDArray[np.int8]:
    """int8 (U,): 1 for the `share` of visitors whose tastes (U, C) lean most in a random direction, give or take."""
    lean = np.einsum("uc,c->u", taste, rng.standard_normal(taste.shape[1]))
    lean = (lean - lean.mean()) / (lean.std() + 1e-9) + LEAN_NOISE * rng.standard_normal(len(taste))
    return (lean > np.quantile(lean, 1 - share)).astype(np.int8)


def _view(rng: np.random.Generator, taste: NDArray[np.float64], latent: NDArray[np.float32]) -> NDArray[np.float32]:
    """float32 (U, 16): eight random directions of the tastes, eight of the latents, each of unit spread; plus noise."""
    half = FEATURES // 2
    view = np.empty((len(taste), FEATURES), dtype=np.float32)
    for columns, table in ((slice(0, half), taste), (slice(half, FEATURES), latent)):
        turn = rng.standard_normal((table.shape[1], half))
        shown = np.einsum("uc,cf->uf", table, turn)
        view[:, columns] = (shown - shown.mean(axis=0)) / (shown.std(axis=0) + 1e-9)
    view += np.float32(FEATURE_NOISE) * rng.standard_normal(view.shape, dtype=np.float32)
    return np.clip(view, -USER_BOUND, USER_BOUND, out=view)

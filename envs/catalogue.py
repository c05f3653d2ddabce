"""The shop's items: latent qualities nobody sees, and the noisy view of them that everybody does."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
from numpy.typing import NDArray

from perennial.envs.preset import Preset
from perennial.envs.random_numbers import table_generator

FEATURES = 16

# Assumed, in logits unless said otherwise; no open log identifies them.
APPEAL_SCALE = 0.4  # spread of appeal, Student t: heavy-tailed
APPEAL_FREEDOM = 4  # its degrees of freedom
CLICKBAIT = 0.5  # fall of quality, before the logistic, with one APPEAL_SCALE of appeal
QUALITY_NOISE = 1.0  # spread of quality around that, before the logistic
CART_QUALITY = 1.0  # how much more often a click on a good item (quality 1 against 0) ends in the cart
NOT_INTERESTED = 0.02  # chance that an examined, unclicked item of quality 0 is waved away
PROVIDERS = 20  # whose shares of the items fall as 1, 1/2, 1/3, ...
FEATURE_NOISE = 0.3  # noise of the observable features, in units of their own spread


@dataclass(frozen=True)
class Catalogue:
    """N items. All float32 (N,) unless noted.

    ``category`` int32 in [0, C). ``latent`` (N, d), entries of variance 1/d. ``appeal`` logits. ``quality`` in (0, 1).
    ``price`` in the shop's currency, > 0. ``price_deviation``: log price against its category, in standard deviations.
    ``cart_logit``: logit of a cart given a click, before drift. ``buy`` chance of a purchase given a cart.
    ``not_interested`` chance given examined and not clicked. ``features`` (N, 16): a noisy view of latents, appeal,
    quality and price. ``launch``, ``retire`` float64 (N,): on sale from launch (included) to retire (excluded), days
    since the epoch. ``provider`` int32 (N,): whose item it is; no observation shows it.
    """

    category: NDArray[np.int32]
    latent: NDArray[np.float32]
    appeal: NDArray[np.float32]
    quality: NDArray[np.float32]
    price: NDArray[np.float32]
    price_deviation: NDArray[np.float32]
    cart_logit: NDArray[np.float32]
    buy: NDArray[np.float32]
    not_interested: NDArray[np.float32]
    features: NDArray[np.float32]
    launch: NDArray[np.float64]
    retire: NDArray[np.float64]
    provider: NDArray[np.int32]

    def __len__(self) -> int:
        return len(self.category)

    @property
    def churns(self) -> bool:
        """Whether items come and go."""
        return bool(np.isfinite(self.launch).any() or np.isfinite(self.retire).any())

    def with_lifetimes(self, lifetimes: tuple[NDArray[np.float64], NDArray[np.float64]] | None) -> Catalogue:
        """The same items, on sale from `lifetimes[0]` to `lifetimes[1]`; as they are if None."""
        return self if lifetimes is None else replace(self, launch=lifetimes[0], retire=lifetimes[1])

    def fewest_live(self) -> int:
        """The smallest number of items ever on sale at once."""
        times = np.concatenate([[-np.inf], self.launch, self.retire])
        times = np.unique(times[times < np.inf])
        live = np.searchsorted(np.sort(self.launch), times, side="right")
        return int((live - np.searchsorted(np.sort(self.retire), times, side="right")).min())

    def check(self, categories: int, latent_dim: int, candidates: int) -> None:
        """Raise ValueError unless the table fits a shop of so many categories, dimensions and candidates a page."""
        if self.category.min() < 0 or self.category.max() >= categories:
            raise ValueError(f"'catalogue.category' must lie in [0, {categories}), the preset's categories.")
        if self.latent.shape[1] != latent_dim:
            raise ValueError(
                f"'catalogue.latent' must have as many columns as 'visitors.latent', {latent_dim}. "
                f"Got {self.latent.shape[1]}."
            )
        if self.fewest_live() < candidates:
            raise ValueError(
                f"At least 'n_candidates'={candidates} items must be on sale at all times. Got a time with "
                f"{self.fewest_live()}; make fewer candidates or let fewer items go."
            )


def items_per_category(base_share: NDArray[np.float64], n_items: int) -> NDArray[np.int64]:
    """int64 (C,): numbers of items by base share, at least one each, summing to `n_items` (largest remainders)."""
    exact = base_share * (n_items - len(base_share))
    counts = np.floor(exact).astype(np.int64)
    short = n_items - len(base_share) - counts.sum()
    counts[np.argsort(counts - exact, kind="stable")[:short]] += 1
    return counts + 1


def generate_catalogue(
    preset: Preset, n_items: int, dim: int, seed: int, given: Mapping[str, NDArray[Any]] | None = None
) -> Catalogue:
    """A catalogue in the preset's image; a pure function of its arguments.

    Columns that are `given` (category, latent, appeal, quality, price, launch, retire, provider, features) are taken
    as they are, and what rests on them follows them.
    """
    rng, given = table_generator(seed, "catalogue"), given or {}
    counts = items_per_category(np.asarray(preset.base_share), n_items) if "category" not in given else None
    category = given["category"] if counts is None else rng.permutation(_repeated(counts))
    latent = given.get("latent", rng.standard_normal((n_items, dim)) / np.sqrt(dim))
    appeal_z = given["appeal"] / APPEAL_SCALE if "appeal" in given else rng.standard_t(APPEAL_FREEDOM, n_items)
    quality = given.get("quality", _logistic(-CLICKBAIT * appeal_z + QUALITY_NOISE * rng.standard_normal(n_items)))
    price_z = rng.standard_normal(n_items)
    mean, spread = (np.asarray(part)[category] for part in (preset.log_price_mean, preset.log_price_std))
    if "price" in given:
        price_z = (np.log(given["price"]) - mean) / spread
    cart_logit = _logit(preset.cart_given_click) + CART_QUALITY * (quality - 0.5)
    features = given.get("features")
    if features is None:
        extra = [appeal_z / np.sqrt(2), 2 * quality - 1, price_z]
        features = _view(rng, latent * np.sqrt(latent.shape[1]), extra)
    f32 = np.float32
    return Catalogue(
        category=category.astype(np.int32),
        latent=np.ascontiguousarray(latent, f32),
        appeal=(APPEAL_SCALE * appeal_z).astype(f32),
        quality=quality.astype(f32),
        price=np.exp(mean + spread * price_z).astype(f32),
        price_deviation=price_z.astype(f32),
        cart_logit=cart_logit.astype(f32),
        buy=np.full(n_items, preset.purchase_given_cart, dtype=f32),
        not_interested=(NOT_INTERESTED * (1 - quality)).astype(f32),
        features=features.astype(f32),
        launch=np.asarray(given.get("launch", np.full(n_items, -np.inf)), np.float64),
        retire=np.asarray(given.get("retire", np.full(n_items, np.inf)), np.float64),
        provider=given.get("provider", generate_providers(n_items, seed)).astype(np.int32),
    )


def _repeated(counts: NDArray[np.int64]) -> NDArray[np.int32]:
    """int32 (N,): each category as often as `counts` says."""
    return np.repeat(np.arange(len(counts), dtype=np.int32), counts)


def generate_providers(n_items: int, seed: int) -> NDArray[np.int32]:
    """int32 (N,): a provider for every item, by Zipf's law."""
    share = 1 / np.arange(1, PROVIDERS + 1)
    return table_generator(seed, "providers").choice(PROVIDERS, n_items, p=share / share.sum()).astype(np.int32)


def _view(
    rng: np.random.Generator, latent: NDArray[np.float64], extra: list[NDArray[np.float64]]
) -> NDArray[np.float64]:
    """(N, 16): the latents, turned into the free columns by a random map if they are more, then `extra`; plus noise."""
    free = FEATURES - len(extra)
    turn = rng.standard_normal((latent.shape[1], free)) / np.sqrt(latent.shape[1])
    shown = np.einsum("nd,df->nf", latent, turn) if latent.shape[1] > free else np.zeros((len(latent), free))
    if latent.shape[1] <= free:
        shown[:, : latent.shape[1]] = latent
    view = np.concatenate([shown, np.stack(extra, axis=1)], axis=1)
    return view + FEATURE_NOISE * rng.standard_normal(view.shape)


def _logistic(x: NDArray[np.float64]) -> NDArray[np.float64]:
    return 1 / (1 + np.exp(-x))


def _logit(p: float) -> float:
    return float(np.log(p / (1 - p)))

"""How well a preset fits its log: figures beside each other, with what chance alone would give."""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from perennial.envs.calibration import seasons, simulate
from perennial.envs.calibration.logs import PurchaseLog
from perennial.envs.calibration.sessions import SessionFacts, size_figures
from perennial.envs.calibration.simulate import Effort
from perennial.envs.calibration.visits import Paths, clicks_figures, depth_ratio, go_on, same_category, staying
from perennial.envs.preset import Preset, VisitModel

CHECK_SEED = 1
"""The shop that checks a fit is another draw of visitors and items than the one it was fitted in."""


@dataclass(frozen=True)
class Row:
    """One figure: its value in the log and in the fit (None = there is none) and a remark."""

    figure: str
    log: float | None
    fit: float | None
    remark: str = ""


def shop_goodness(
    log: PurchaseLog, preset: Preset, model: VisitModel, effort: Effort | None = None
) -> dict[str, float]:
    """Figures of a shop's fit, for `Preset.goodness_of_fit`; KLs in nats per purchase, mean over weeks.

    ``drift_*``: KL(week || year), net of noise in the log, in the fitted curve, and the noise (orders permuted).
    ``miss_raw``: KL(log's week || fitted week); a right curve leaves about the noise. ``simulated_*``: shares of the
    reference policy, week by week, against the fitted curve: ``refit`` in the shop of the fit, ``other`` in another.
    """
    effort = effort or Effort()
    raw, noise = seasons.drift_size(log)
    log_share, weeks = np.asarray(preset.log_share), seasons.weekly(log)
    fitted = seasons.shares(log_share, weeks.day)
    observed = weeks.counts / weeks.counts.sum(1, keepdims=True)
    figures = {
        "rows": float(len(log.order)),
        "orders": float(len(log.order_day)),
        "rows_dropped": float(log.dropped),
        "design_effect": seasons.design_effect(log.baskets),
        "drift_log": raw - noise,
        "drift_fit": float(seasons.divergence(fitted, fitted.mean(0)).mean()),
        "drift_noise": noise,
        "miss_raw": float(seasons.divergence(observed, fitted).mean()),
    }
    for label, seed in (("refit", effort.seed), ("other", CHECK_SEED)):
        figures |= _simulated(preset, model, replace(effort, days=52, seed=seed), label)
    main = preset.season_fit(1.0, 1.0)
    few = replace(effort, days=4)
    figures["taste_refit"] = simulate.taste_of(preset, main, model, few)
    figures["taste_other"] = simulate.taste_of(preset, main, model, replace(few, seed=CHECK_SEED))
    return figures


def _simulated(preset: Preset, model: VisitModel, effort: Effort, label: str) -> dict[str, float]:
    runs = simulate.simulate(preset, preset.season_fit(1.0, 1.0), model, effort)
    wanted = seasons.shares(np.asarray(preset.log_share), effort.moments())
    sold = np.stack([r.purchases.sum(0) for r in runs])
    share = sold / sold.sum(1, keepdims=True)
    attraction = simulate.mean_attraction(runs)
    return {
        f"simulated_{label}_max": float(np.abs(share - wanted).max()),
        f"simulated_{label}_mean": float(np.abs(share - wanted).mean()),
        f"simulated_{label}_kl": float(seasons.divergence(wanted, share).mean()),
        f"attraction_{label}_min": float(attraction.min()),
        f"attraction_{label}_max": float(attraction.max()),
        f"orders_per_visit_{label}": simulate.order_rate(runs),
    }


def shop_rows(preset: Preset) -> list[Row]:
    """The table of a shop's fit."""
    g = preset.goodness_of_fit
    other = "another draw of visitors and items"
    noise = f"noise alone (orders permuted) gives {g['drift_noise']:.4f}"
    rows = [
        Row("products bought", g["rows"], None, f"{g['rows_dropped']:.0f} rows dropped by cleaning"),
        Row("orders", g["orders"], None, f"design effect of baskets {g['design_effect']:.2f}"),
        Row("drift: KL(week || year), noise removed", g["drift_log"], g["drift_fit"], noise),
        Row("KL(log's week || fitted week)", g["miss_raw"], g["drift_noise"], "fit column: what noise alone leaves"),
        Row("taste concentration", preset.taste_concentration, g["taste_refit"], f"{g['taste_other']:.2f} in {other}"),
        Row("orders a day", g["orders_per_visit_refit"] * preset.visits_per_day, None, "visits a day x orders a visit"),
    ]
    for label, where in (("refit", "the shop of the fit"), ("other", other)):
        rows += [
            Row("weekly share, greatest difference", 0.0, g[f"simulated_{label}_max"], where),
            Row("weekly share, mean difference", 0.0, g[f"simulated_{label}_mean"], where),
            Row("KL(log's curve || simulated)", 0.0, g[f"simulated_{label}_kl"], where),
            Row("mean attraction, least week", preset.ctr, g[f"attraction_{label}_min"], where),
            Row("mean attraction, greatest week", preset.ctr, g[f"attraction_{label}_max"], where),
        ]
    return rows


def visit_rows(facts: SessionFacts, model: VisitModel, paths: Paths) -> list[Row]:
    """The table of a visit model's fit, among visits with a click."""
    here = staying(paths, np.array([model.leave_base, model.leave_spread]))
    simulated = clicks_figures(paths.clicks, here)
    rows = [Row(name.replace("_", " "), value, simulated[name]) for name, value in size_figures(facts.sizes).items()]
    rows.append(Row("next click in the same category", facts.same_category, same_category(paths, here)))
    rows.append(
        Row(
            "clicks on page 2 over page 1",
            None if np.isnan(facts.depth) else facts.depth,
            depth_ratio(paths, here),
            "the log confounds it",
        )
    )
    hazard = go_on(paths.clicks, here)
    rows += [
        Row(f"P(go on | {k} clicks)", float(facts.go_on[k - 1]), float(hazard[k - 1])) for k in (1, 2, 3, 5, 10, 20)
    ]
    attraction = float((here * paths.attraction).sum() / here.sum())
    rows.append(Row("mean attraction", None, attraction, "declared 0.15"))
    rows.append(Row("visits without a click", None, simulated["bounce"], "not in a click log; rests on LEAVE_CLICK"))
    return rows

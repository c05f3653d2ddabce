"""A run for TensorBoard: its scores against the simulated calendar, its alarms and retrains, its settings."""

from __future__ import annotations

import datetime
from collections.abc import Callable, Mapping
from dataclasses import asdict
from pathlib import Path
from typing import Any

from perennial.envs import World
from perennial.experiments.metrics import Day, summarise
from perennial.experiments.results import Result

DAILY: Mapping[str, Callable[[Day], float]] = {
    "clicks/ctr": lambda d: d.clicks / max(d.impressions, 1),
    "clicks/first_page_ctr": lambda d: d.first_page_clicks / max(d.first_page_impressions, 1),
    "clicks/per_potential_visit": lambda d: d.clicks / max(d.potential_visits, 1),
    "visits/bounce_rate": lambda d: d.bounces / max(d.visits, 1),
    "visits/returned": lambda d: d.visits / max(d.potential_visits, 1),
    "reward/per_page": lambda d: d.reward / max(d.pages, 1),
    "reward/expected_per_page": lambda d: d.expected_reward / max(d.pages, 1),
    "reward/regret_per_page": lambda d: d.regret / max(d.pages, 1),
}
LAYOUT = {
    "Closed loop": {
        "CTR": ["Multiline", ["clicks/ctr", "clicks/first_page_ctr"]],
        "Expected reward and regret": ["Multiline", ["reward/expected_per_page", "reward/regret_per_page"]],
        "Bounce rate": ["Multiline", ["visits/bounce_rate"]],
        "Alarms and retrains so far": ["Multiline", ["lifecycle/alarm", "lifecycle/alert", "lifecycle/retrain"]],
    }
}


def write(result: Result, settings: Mapping[str, Any], folder: Path) -> None:
    """Write all of `result` at once; step = day since the epoch, wall time = the simulated date."""
    from torch.utils.tensorboard import SummaryWriter

    writer = SummaryWriter(str(folder), max_queue=10_000, flush_secs=600)
    writer.add_custom_scalars(LAYOUT)
    for day in result.days:
        for tag, value in DAILY.items():
            writer.add_scalar(tag, value(day), day.day, walltime=simulated(day.day))
    _write_events(writer, result)
    _write_settings(writer, result, settings)
    writer.close()


def simulated(day: int) -> float:
    """Seconds since 1970 of a simulated day, so that TensorBoard's time axis shows the simulated date."""
    return datetime.datetime.combine(World.date_of(day), datetime.time(), datetime.UTC).timestamp()


def _write_events(writer: Any, result: Result) -> None:
    for kind in ("alarm", "alert", "retrain"):
        events = sorted((event for event in result.events if event.kind == kind), key=lambda event: event.day)
        for day in result.days:
            count = sum(event.day <= day.day for event in events)
            writer.add_scalar(f"lifecycle/{kind}", count, day.day, walltime=simulated(day.day))
        for day_number in sorted({event.day for event in events}):
            details = [event.detail for event in events if event.day == day_number and event.detail]
            text = "\n\n".join([f"{kind} on {World.date_of(day_number)}", *details])
            writer.add_text(f"lifecycle/{kind}", text, day_number, walltime=simulated(day_number))


def _write_settings(writer: Any, result: Result, settings: Mapping[str, Any]) -> None:
    """The scores of the run beside its settings, in TensorBoard's HPARAMS tab."""
    from torch.utils.tensorboard.summary import hparams

    simple = (int, float, str, bool)
    plain = {key: value if isinstance(value, simple) else str(value) for key, value in settings.items()}
    scores = {f"score/{key}": value for key, value in asdict(summarise(result.days)).items()}
    for summary in hparams(plain, scores):
        writer.file_writer.add_summary(summary)
    for key, value in scores.items():
        writer.add_scalar(key, value, result.days[-1].day, walltime=simulated(result.days[-1].day))


def flat(node: Mapping[str, Any], prefix: str = "") -> dict[str, Any]:
    """A nested configuration as "agent.alpha": value, without the class names."""
    pairs: dict[str, Any] = {}
    for key, value in node.items():
        name = f"{prefix}{key}"
        if isinstance(value, Mapping):
            pairs |= flat(value, f"{name}.")
        elif key != "_target_":
            pairs[name] = value
    return pairs

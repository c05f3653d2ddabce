from pathlib import Path

from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from perennial.experiments import tensorboard
from perennial.experiments.metrics import Day
from perennial.experiments.results import Event, Result


def test_alarms_alerts_and_retrains_are_events_on_simulated_days(tmp_path: Path) -> None:
    days = [Day(day, 10, 8, 12, 120, 30, 80, 20, 1, 2, 1, 30.0, 29.0, 3.0) for day in (244, 245, 246)]
    alert = Event(245, "alert", "ctr by mean: 0.3 to 0.2, p = 1e-05, from 6720 and 1680 values")
    events = [Event(245, "alarm"), alert, Event(246, "retrain"), Event(246, "alert", "reward by mean")]
    tensorboard.write(Result("arm", "seasonal", 0, days, events, "configuration", "code"), {"seed": 0}, tmp_path)
    found = EventAccumulator(str(tmp_path)).Reload()
    for kind, counts in {"alarm": [0, 1, 1], "alert": [0, 1, 2], "retrain": [0, 0, 1]}.items():
        assert [(e.step, e.value) for e in found.Scalars(f"lifecycle/{kind}")] == list(zip((244, 245, 246), counts))
    texts = {e.step: e.tensor_proto.string_val[0].decode() for e in found.Tensors("lifecycle/alert/text_summary")}
    assert texts[245].startswith("alert on 2010-09-03")
    assert "from 6720 and 1680 values" in texts[245]
    assert set(texts) == {245, 246}

import json
import math

from perennial.agents.lifecycle.decisions import Audit, TriggerRecord


def test_fired_triggers_are_written_and_the_others_counted(tmp_path):
    audit = Audit(tmp_path / "decisions.jsonl")
    for tick in range(24):
        audit.write(
            TriggerRecord(tick, "Schedule", tick == 23, inputs={"every_hours": 24}, reason="schedule"), version=4
        )
    assert not audit.path.exists()  # nothing before the day's end
    audit.end_day(0, 23, {"ctr": math.nan, "pages": 3.0}, version=4, revision=2)
    lines = [json.loads(line) for line in audit.path.read_text().splitlines()]
    assert lines == audit.lines
    assert [(line["decision"], line["tick"]) for line in lines] == [("trigger", 23), ("day", 23)]
    assert lines[0]["score"] is None
    assert lines[0]["model_version"] == 4
    assert lines[1]["evaluated"] == {"Schedule": 24}
    assert lines[1]["fired"] == {"Schedule": 1}
    assert lines[1]["figures"] == {"ctr": None, "pages": 3.0}
    assert lines[1]["model_revision"] == 2


def test_each_day_has_its_own_account_and_is_appended(tmp_path):
    audit = Audit(tmp_path / "decisions.jsonl")
    audit.write(TriggerRecord(5, "Never", False), version=1)
    audit.end_day(0, 23, {}, version=1)
    audit.end_day(1, 47, {}, version=1)
    lines = [json.loads(line) for line in audit.path.read_text().splitlines()]
    assert [line["evaluated"] for line in lines] == [{"Never": 1}, {}]

"""The audit trail answers for every model that served."""

from __future__ import annotations

import itertools
import json
from pathlib import Path

import polars as pl
import pytest

from perennial.experiments import audit
from perennial.experiments.reproduce import Records
from tests.experiments import killed


@pytest.fixture(scope="module")
def records(whole: Path) -> Records:
    return Records(killed.small(whole).folder)


def test_every_model_that_served_is_accounted_for(records: Records) -> None:
    pages = pl.read_delta(str(records.log.path / "pages")).filter(pl.col("tick") >= records.run.window.start * 24)
    versions = sorted({row.version for row in records.versions})
    assert len(versions) > 3
    told = [audit.account(records, version) for version in versions]
    assert sum(e.pages for account in told for e in account.exposures) == len(pages)
    for account, follower in itertools.pairwise(told):
        assert account.training is not None
        assert account.training["rows"] > 0
        assert len(account.training["data_version"]) == 16
        assert account.code
        assert account.agent["_target_"].endswith("LinUCB")
        assert account.replaced_by == follower.version
        assert account.replaced_tick == follower.tick
        assert account.replaced_because is not None
        for exposure in account.exposures:  # one that served for a few hours of a night may have met nobody
            assert exposure.users > 0
            assert (account.champion_from or 0) <= exposure.first_tick <= exposure.last_tick <= account.replaced_tick
    assert told[-1].replaced_by is None
    updates = [line for line in records.trainings if line["kind"] == "update"]
    assert [account.updates for account in told] == [sum(u["parent"] == v for u in updates) for v in versions]
    registered = {(row.version, row.revision) for row in records.versions}
    promoted = [line for line in records.lines if line["decision"] == "rollout" and line["verdict"] == "promote"]
    assert registered >= {(line["parent"], line["model_revision"]) for line in promoted}
    assert max(revision for _, revision in registered) > 1


def test_a_model_trained_by_alarm_shows_the_evidence(records: Records) -> None:
    accounts = [audit.account(records, row.version) for row in records.versions if row.origin == "fit"]
    (first, *_) = [a for a in accounts if a.training and "drift" in a.training["reason"]]
    (evidence,) = first.evidence
    assert evidence["trigger"] == "AnyOf"
    assert evidence["score"] > evidence["threshold"]
    assert evidence["inputs"]["1 Drift(PageHinkley)"] == 1.0
    assert all(len(a.evidence) == 1 for a in accounts)


def test_the_account_is_printed_and_given_to_machines(records: Records, capsys: pytest.CaptureFixture[str]) -> None:
    folder = str(records.log.path.parent)
    assert audit.main([folder, "2"]) == 0
    said = capsys.readouterr().out
    for word in ("trained on", "because of", "evidence", "validated", "rollout", "shown to", "replaced"):
        assert word in said
    assert audit.main([folder, "2", "--json"]) == 0
    assert json.loads(capsys.readouterr().out)["version"] == 2
    assert audit.main([folder, "99"]) == 2
    assert "'version' must be a registered one, 1 to" in capsys.readouterr().err

"""Peers beside ours: measured where they are installed, named with what to install where they are not."""

from __future__ import annotations

import re
from dataclasses import replace

import pytest

from perennial.experiments.peers import PEERS, compare, sardine


def test_a_peer_that_is_not_there_is_named_with_what_to_install(capsys: pytest.CaptureFixture[str]) -> None:
    compare([replace(PEERS[0], module="no_such_simulator")])
    assert "not installed: pip install sardine-rec, or the extra 'peers'" in capsys.readouterr().out


def test_sardine_is_served_page_by_page_through_its_resets() -> None:
    pytest.importorskip("sardine", reason="the extra 'peers' is not installed")
    step = sardine()
    for _ in range(250):  # its episodes are a hundred pages long
        step()


@pytest.mark.slow
def test_the_table_holds_ratios(capsys: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("sardine", reason="the extra 'peers' is not installed")
    compare(seconds=0.05)
    (line,) = (line for line in capsys.readouterr().out.splitlines() if "SARDINE" in line)
    peer, single, ratio, batch, batch_ratio = (float(n.replace(",", "")) for n in re.findall(r"[\d,.]+", line)[-5:])
    assert ratio == pytest.approx(single / peer, rel=0.05)
    assert batch_ratio == pytest.approx(batch / peer, rel=0.05)

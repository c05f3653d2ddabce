import numpy as np

from perennial.envs.feedback import ClickSpam
from tests.envs.feedback.pages import assert_share, happened, sent


def test_a_script_on_every_slot() -> None:
    pages = happened(60)
    spammed = sent(ClickSpam(visits=1.0, slots=1.0), pages)
    assert spammed.clicked.all()
    assert not spammed.not_interested.any()
    assert np.array_equal(spammed.carted, pages.carted)
    assert np.array_equal(spammed.purchased, pages.purchased)


def test_whole_visits_are_scripted_in_the_declared_share() -> None:
    pages = happened(30_000)
    spammed = sent(ClickSpam(visits=0.1, slots=0.6), pages)
    more = spammed.clicked & ~pages.clicked
    scripted = more.reshape(10_000, -1).any(axis=1)
    assert_share(scripted, 0.1)  # with 7 free slots a visit or more, a script that clicks none is rare
    assert_share(more.reshape(10_000, -1)[scripted][~pages.clicked.reshape(10_000, -1)[scripted]], 0.6)
    assert (spammed.clicked >= pages.clicked).all()

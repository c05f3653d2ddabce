"""A small toy shop and its log."""

from __future__ import annotations

import pytest

from perennial.agents.base import Feedback
from tests.agents.toy import ToyShop, toy_shop


@pytest.fixture(scope="module")
def small() -> tuple[ToyShop, Feedback]:
    shop = toy_shop(3)
    return shop, shop.uniform_log(600)

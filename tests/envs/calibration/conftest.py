"""Where the real logs are, if they are."""

from pathlib import Path

import pytest

DATA = Path(__file__).parents[4] / "shared" / "data"


@pytest.fixture(scope="session")
def data() -> Path:
    """The folder of the real logs beside the project; the test skips without it."""
    if not DATA.is_dir():
        pytest.skip(f"the shop logs are not at {DATA}: a refit needs them")
    return DATA

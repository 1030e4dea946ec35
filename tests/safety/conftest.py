"""The command line, its workers and their keepers, in a home of the test's own."""

from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.worker.conftest import Rig


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    yield made
    made.close()

"""What unit tests share: a home in a folder of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from queue_core.changes import Bell
from queue_core.home import Home

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path) -> Home:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    return Home(data=str(folder), config=str(folder))


@pytest.fixture
def work(home: Home) -> Iterator[Bell]:
    """A worker's bell."""
    bell = Bell(home, "work")
    yield bell
    bell.close()


@pytest.fixture
def bin_dir(tmp_path: Path) -> Path:
    """A folder to put programs in, to be named as PATH."""
    folder = tmp_path / "bin"
    folder.mkdir()
    return folder

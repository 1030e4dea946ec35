"""What tests of every part share."""

import os
import shutil
import tempfile
import time
from collections.abc import Callable, Generator
from contextlib import contextmanager
from pathlib import Path
from typing import TypeVar

T = TypeVar("T")

POLL_SECONDS = 0.01
MEMORY = "/dev/shm"  # where there is one


def wait_until(predicate: Callable[[], T], description: str, timeout: float = 10) -> T:
    """Poll until `predicate()` is true and return what it gave; after `timeout` seconds fail by that name."""
    deadline = time.monotonic() + timeout
    while not (value := predicate()):
        if time.monotonic() > deadline:
            raise AssertionError(f"waited {timeout} s in vain: {description}")
        time.sleep(POLL_SECONDS)
    return value


def remove(folder: Path) -> None:
    """Remove a folder from which a worker or a keeper that leaves may be removing files just now."""

    def gone() -> bool:
        shutil.rmtree(folder, ignore_errors=True)
        return not folder.exists()

    wait_until(gone, f"{folder} is gone")


@contextmanager
def short_folder() -> Generator[Path]:
    """An empty folder, gone afterwards. Not tmp_path: the path of a keeper's socket has to be short, and in memory the
    disk costs nothing.
    """
    folder = Path(tempfile.mkdtemp(prefix="runq-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
    try:
        yield folder
    finally:
        remove(folder)

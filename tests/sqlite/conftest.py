"""What the tests of the built-in engine share: a home, its store, and a look past it at the file."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

import pytest

from queue_core.home import Home
from queue_core.sqlite.store import SqliteStore

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture
def home(tmp_path: Path) -> Home:
    folder = tmp_path / "home"
    folder.mkdir(mode=0o700)
    return Home(data=str(folder), config=str(folder))


@pytest.fixture
def store(home: Home) -> Iterator[SqliteStore]:
    store = SqliteStore(home)
    yield store
    store.close()


def raw(home: Home, sql: str, *values: Any) -> list[Any]:
    """Run a statement on the file, as a program that knows nothing of the queue would."""
    with closing(sqlite3.connect(home.database, isolation_level=None)) as connection:
        return connection.execute(sql, values).fetchall()


@contextmanager
def lock_held(home: Home) -> Iterator[None]:
    """Hold the lock that every write needs, as another process would."""
    descriptor = os.open(home.write_lock, os.O_RDWR | os.O_CREAT, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield
    finally:
        os.close(descriptor)

"""What the tests of the built-in engine share: a home, its store, and a look past it at the file."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from queue_core.home import Home
from queue_core.sqlite.store import SqliteStore
from tests.conformance.builders import Bench

if TYPE_CHECKING:
    from collections.abc import Iterator


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


@pytest.fixture
def bench(store: SqliteStore) -> Bench:
    return Bench(store)


@pytest.fixture
def copies(tmp_path: Path) -> Path:
    folder = tmp_path / "copies"
    folder.mkdir()
    return folder


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


def alter(path: str | Path, *sql: str) -> None:
    with closing(sqlite3.connect(path, isolation_level=None)) as connection:
        for statement in sql:
            connection.execute(statement)


def damage(path: str | Path) -> None:
    """Garbage over the middle third."""
    size = os.path.getsize(path)
    with open(path, "r+b") as file:
        file.seek(size // 3)
        file.write(b"\xa5" * (size // 3))

"""Eight processes that start at once on a database of an earlier schema, some of them killed in the middle."""

from __future__ import annotations

import os
import random
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

import pytest

from queue_core.home import Home
from queue_core.sqlite.diagnosis import diagnose
from queue_core.sqlite.engine import SCHEMA_VERSION
from queue_core.sqlite.store import SqliteStore
from tests import claims
from tests.sqlite import earlier
from tests.sqlite.forks import Forks, forks

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

pytestmark = pytest.mark.claim("migration")

PROCESSES = 8
ROUNDS = 12  # a schema
ADD = """
from queue_core.home import Home
from queue_core.sqlite.store import SqliteStore
from tests.conformance.builders import admission

def one(folder):
    store = SqliteStore(Home(data=folder, config=folder))
    store.enqueue([admission()], now=1.0, capacity=10**6, parallelism=4)
    store.close()
"""


@pytest.fixture
def starter() -> Iterator[Forks]:
    with forks(ADD) as made:
        yield made


def rows(path: str) -> dict[str, list[Any]]:
    """All that the earlier runq had stored, as it is now."""
    with closing(sqlite3.connect(path)) as database:
        found = {"jobs": database.execute("SELECT * FROM jobs WHERE id <= 12 ORDER BY id").fetchall()}
        for table in ("attempts", "dependencies", "queues", "locks", "workers", "meta"):
            found[table] = database.execute(f"SELECT * FROM {table} ORDER BY 1, 2").fetchall()
        return found


def counted(found: dict[str, list[Any]]) -> dict[str, list[Any]]:
    """Without what jobs that were added since change."""
    return {table: rows for table, rows in found.items() if table not in ("queues", "meta")}


@pytest.mark.parametrize("version", earlier.DUMPS)
def test_eight_that_start_at_once_bring_it_up_once_whoever_is_killed(
    version: int, tmp_path: Path, starter: Forks
) -> None:
    chance = random.Random(version)
    alone = tmp_path / "alone"
    alone.mkdir(mode=0o700)
    earlier.write(version, alone / "runq.db")
    SqliteStore(Home(data=str(alone), config=str(alone))).close()
    expected = rows(str(alone / "runq.db"))
    assert len(expected["jobs"]) == 12
    kills = halfway = 0
    moment = 0.1  # seconds, about: as long as it takes on this machine now
    for number in range(ROUNDS):
        folder = tmp_path / str(number)
        folder.mkdir(mode=0o700)
        home = Home(data=str(folder), config=str(folder))
        earlier.write(version, folder / "runq.db")
        # First eight of which all or most are killed, then eight of which none is.
        for delays in ([chance.uniform(0, 2) * moment for _ in range(PROCESSES)], [None] * PROCESSES):
            codes = starter(home.data, delays)
            assert set(codes) <= {0, -9}
            kills += codes.count(-9)
            if delays[0] is not None:
                moment *= 1.5 if set(codes) == {-9} else 0.7 if codes.count(-9) < 2 else 1
            halfway += 0 < codes.count(-9) < PROCESSES
        assert codes == [0] * PROCESSES
        assert diagnose(home).error is None
        assert diagnose(home).schema == SCHEMA_VERSION
        assert counted(rows(home.database)) == counted(expected)
        with closing(sqlite3.connect(home.database)) as database:
            assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
            assert database.execute("PRAGMA foreign_key_check").fetchall() == []
            (new,) = database.execute("SELECT count(*) FROM jobs WHERE id > 12").fetchone()
        assert PROCESSES <= new <= 2 * PROCESSES
    assert kills > ROUNDS, "the kills came too late"
    claims.tried("migration", starts=2 * PROCESSES * ROUNDS, kills=kills, halfway=halfway)


def test_what_is_taken_back_is_a_whole_queue_of_that_schema(tmp_path: Path) -> None:
    """The other tests of upgrades stand on this."""
    for version in earlier.DUMPS:
        folder = tmp_path / str(version)
        folder.mkdir(mode=0o700)
        home = Home(data=str(folder), config=str(folder))
        earlier.write(version, folder / "runq.db")
        SqliteStore(home).close()
        before = rows(home.database)
        earlier.take_back(folder / "runq.db", version)
        found = diagnose(home)
        assert (found.error, found.schema) == (None, version)
        SqliteStore(home).close()
        assert counted(rows(home.database))["attempts"] == before["attempts"]
        assert os.path.getsize(home.database) > 0

"""What lies in the spool is taken in once: by eight at once, by processes that are killed on the way, for ever."""

from __future__ import annotations

import json
import os
import random
import shutil
import time
from collections import Counter
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from queue_core import spool
from queue_core.jobs import Filter
from queue_core.service import Queue
from queue_core.settings import Settings
from queue_core.sqlite.store import SqliteStore
from tests import claims
from tests.conformance.builders import START, admission
from tests.sqlite.conftest import lock_held, raw
from tests.sqlite.forks import forks

if TYPE_CHECKING:
    from collections.abc import Iterator

    from queue_core.home import Home
    from tests.sqlite.forks import Forks

pytestmark = pytest.mark.claim("spool")

ROUNDS = 20
TAKE_IN = """
from queue_core.service import Queue

def one(folder):
    queue = Queue.open({"RUNQ_HOME": folder, "HOME": folder, "PATH": "/bin"})
    queue.ingest_spool()
    queue.close()
"""


@pytest.fixture
def starter() -> Iterator[Forks]:
    with forks(TAKE_IN) as made:
        yield made


def leave(home: Home, first: int, files: int = 10) -> set[str]:
    """Three jobs a file, each with a name of its own."""
    names: set[str] = set()
    for number in range(first, first + files):
        mine = [f"{number}-{part}" for part in range(3)]
        spool.leave(home, [admission(name) for name in mine], now=START + number)
        names.update(mine)
    return names


def taken(home: Home) -> Counter[str]:
    return Counter(json.loads(argv)[0] for (argv,) in raw(home, "SELECT argv FROM jobs"))


def test_eight_at_once_take_each_in_once(home: Home, store: SqliteStore, starter: Forks) -> None:
    names: set[str] = set()
    for number in range(5):
        names |= leave(home, number * 100, 12)
        assert starter(home.data, [None] * 8) == [0] * 8
        assert spool.pending(home) == []
        assert taken(home) == dict.fromkeys(names, 1)
    claims.tried("spool", ingests=40)


def test_those_that_are_killed_on_the_way_neither_lose_nor_double_any(
    home: Home, store: SqliteStore, starter: Forks
) -> None:
    chance = random.Random(20261122)
    names: set[str] = set()
    kills = midway = 0
    moment = 0.1  # seconds, about: as long as it takes on this machine now
    for number in range(ROUNDS):
        names |= leave(home, number * 100, 20)
        before = len(spool.pending(home))
        codes = starter(home.data, [chance.uniform(0, 2) * moment for _ in range(chance.choice((1, 2, 4)))])
        assert set(codes) <= {0, -9}
        kills += codes.count(-9)
        left = len(spool.pending(home))
        midway += 0 < left < before
        moment *= 1.5 if left == before else 0.7 if not left else 1
        assert max(taken(home).values(), default=1) == 1
    assert starter(home.data, [None]) == [0]
    assert taken(home) == dict.fromkeys(names, 1)
    assert (spool.pending(home), raw(home, "PRAGMA integrity_check")) == ([], [("ok",)])
    assert kills > ROUNDS / 4 and midway, "the kills came too early or too late"
    claims.tried("spool", ingests=kills + 1, kills=kills, midway=midway)


@pytest.fixture
def queue(home: Home, store: SqliteStore) -> Queue:
    return Queue(store, home, Settings(), {"PATH": "/bin"}, clock=lambda: START)


def test_one_that_comes_again_after_its_job_was_pruned_is_not_taken_in_again(queue: Queue, home: Home) -> None:
    """As after a crash of the machine, which has undone the removal of the file."""
    leave(home, 0, 1)
    (path,) = spool.pending(home)
    text = Path(path).read_bytes()
    assert queue.ingest_spool() == 3
    queue.cancel(queue.ids(Filter()))
    assert queue.prune(older_than_days=-1, keep=0) == 3
    for _ in range(3):
        Path(path).write_bytes(text)
        queue.ingest_spool()
        assert (queue.ids(Filter()), spool.pending(home)) == ([], [])
    claims.tried("spool", ingests=4)


@pytest.mark.parametrize("length", [0, 1, 100, -1])
def test_a_torn_file_is_set_aside_whole_and_the_others_are_taken_in(queue: Queue, home: Home, length: int) -> None:
    leave(home, 0, 3)
    torn = Path(spool.pending(home)[1])
    os.truncate(torn, length if length >= 0 else torn.stat().st_size - 1)
    before = torn.read_bytes()
    assert queue.ingest_spool() == 6
    assert torn.with_name(torn.name + ".broken").read_bytes() == before
    assert any("cannot be read" in problem for problem in queue.health_view()["problems"])
    claims.tried("spool", ingests=1)


def test_what_a_killed_hook_left_unfinished_goes_when_it_is_old(queue: Queue, home: Home) -> None:
    leave(home, 0, 1)
    old, new = Path(home.spool, "0-1-a.part"), Path(home.spool, "0-2-b.part")
    for path in (old, new):
        path.write_text("[")
    os.utime(old, (time.time() - 3700, time.time() - 3700))
    spool.remove_unfinished(home, before=time.time() - 3600)
    assert [path.exists() for path in (old, new)] == [False, True]
    assert len(spool.pending(home)) == 1
    shutil.rmtree(home.spool)
    spool.remove_unfinished(home, before=time.time())


def test_a_busy_database_leaves_them_where_they_are(home: Home) -> None:
    store = SqliteStore(home, patience=0.05)
    queue: Any = Queue(store, home, Settings(), {"PATH": "/bin"}, clock=lambda: START)
    leave(home, 0, 2)
    with lock_held(home):
        assert queue.ingest_spool() == 0
        assert len(spool.pending(home)) == 2
    assert queue.ingest_spool() == 6
    store.close()

"""A database that an earlier runq has written, with jobs in every state, opens, migrates and goes on."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from queue_core.jobs import DeedFilter
from queue_core.sqlite.engine import SCHEMA_VERSION
from tests.worker.conftest import Rig

if TYPE_CHECKING:
    from collections.abc import Iterator

# Written by the runq of the first schema: a worker was at work, its commands and files are gone with its machine.
FIRST = Path(__file__).parent.parent / "sqlite" / "schema_1.sql"
STATES = {
    1: "succeeded",
    2: "dead",
    3: "scheduled",
    4: "succeeded",
    5: "blocked",
    6: "cancelled",
    7: "scheduled",
    8: "running",
    9: "available",
    10: "available",
    11: "held",
    12: "available",
}
DEAD, BLOCKED, PINNED, RUNNING, PARKED, BARRIER, HELD, AVAILABLE = 2, 5, 6, 8, 9, 10, 11, 12


@pytest.fixture
def rig(tmp_path: Path) -> Iterator[Rig]:
    home = tmp_path / "home"
    home.mkdir(0o700)
    with closing(sqlite3.connect(home / "runq.db")) as database:
        database.executescript(FIRST.read_text())
    (home / "runq.db").chmod(0o600)
    made = Rig(tmp_path)  # opens it, and so brings it up
    yield made
    made.close()


def test_one_of_the_second_schema_too_goes_on_and_notes_who_does_what_from_now_on(tmp_path: Path) -> None:
    home = tmp_path / "home"
    home.mkdir(0o700)
    with closing(sqlite3.connect(home / "runq.db")) as database:
        database.executescript((FIRST.parent / "schema_2.sql").read_text())
    (home / "runq.db").chmod(0o600)
    rig = Rig(tmp_path)
    try:
        assert [rig.state(number) for number in (1, 2, 5, 6, 10, 11)] == [
            *("succeeded", "dead", "blocked", "cancelled", "held", "available")
        ]
        assert rig.queue.audit(DeedFilter()) == []
        rig.runq("approve", "10")
        rig.runq("cancel", "10", "8", "9")
        rig.drain()
        assert rig.state(11) == "succeeded"
        assert [row.name for row in rig.queue.schedules.list()] == ["beat", "nightly"]
        noted = [(deed["what"], deed["job"]) for deed in rig.queue.audit(DeedFilter(job=10))]
        assert noted == [("cancelled", 10), ("approved", 10)]
    finally:
        rig.close()


def test_nothing_is_lost_or_changed_on_the_way(rig: Rig) -> None:
    with closing(sqlite3.connect(rig.home / "runq.db")) as database:
        assert database.execute("PRAGMA user_version").fetchone() == (SCHEMA_VERSION,)
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        ready, handled = database.execute("SELECT sum(ready), sum(handled) FROM queues").fetchone()
    assert {number: rig.state(number) for number in STATES} == STATES
    assert (ready, handled) == (2, 0)
    assert rig.job(PINNED).pinned == "person"
    assert [step.argv for step in rig.job(DEAD).on_dead] == [("echo", "instead")]
    assert rig.status(AVAILABLE)["meta"] == {"k": "v"}


def test_it_goes_on_where_it_was(rig: Rig) -> None:
    assert rig.status()["counts"]["running"] == 0, "its worker is dead, and its command never began here"
    rig.runq("cancel", str(RUNNING))
    rig.runq("resume")
    rig.drain()
    assert {number: rig.state(number) for number in (PARKED, BARRIER, AVAILABLE)} == dict.fromkeys(
        (PARKED, BARRIER, AVAILABLE), "succeeded"
    )
    assert (rig.state(HELD), rig.state(BLOCKED)) == ("held", "blocked")


def test_a_dead_letter_from_before_hands_over_and_frees_who_waited_for_it(rig: Rig) -> None:
    rig.runq("cancel", str(RUNNING))
    rig.runq("resume")
    rig.runq("dead", "retry", str(DEAD))
    rig.drain()
    chain = rig.status(DEAD)["chain"]
    assert [(one["argv"][0], one["state"]) for one in chain] == [("false", "dead"), ("echo", "succeeded")]
    assert rig.state(BLOCKED) == "succeeded"

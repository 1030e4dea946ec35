"""A database that an earlier runq has written, with jobs in every state, opens, migrates and goes on."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from queue_core.jobs import DeedFilter
from queue_core.sqlite.engine import SCHEMA_VERSION
from tests import claims
from tests.sqlite import earlier
from tests.worker.conftest import Rig

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.claim("migration")

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


@pytest.mark.claim("lost")
@pytest.mark.claim("unrecorded")
@pytest.mark.parametrize("version", earlier.DUMPS)
def test_a_command_that_lives_while_runq_is_upgraded_is_adopted_and_what_waits_for_it_goes_on(
    version: int, tmp_path: Path
) -> None:
    """The worker of before is killed, as an upgrade may do; its keeper and the command live on, and run once."""
    rig = Rig(tmp_path)
    try:
        gate = rig.gate()
        dead = rig.sh("exit 3", "--retries", "0")
        rig.drain()
        running = rig.sh(f"echo start >> ran; {gate.wait}; echo end >> ran; exit 5", "--retries", "0")
        blocked = rig.sh("echo freed >> ran", "--after-any", str(running))
        after_dead = rig.sh("true", "--after", str(dead))
        later = rig.sh("true", "--delay", "3600")
        worker = rig.worker()
        pid = rig.pid_of(running)
        worker.kill()
        rig.queue.close()
        earlier.take_back(rig.home / "runq.db", version)
        rig.queue = type(rig.queue).open(rig.env)
        states = {dead: "dead", running: "running", blocked: "blocked", after_dead: "blocked", later: "scheduled"}
        assert {job: rig.state(job) for job in states} == states
        heir = rig.worker()
        gate.open()
        rig.reaches(running, "dead")
        rig.reaches(blocked, "succeeded")
        assert (rig.outcomes(running), rig.lines("ran")) == ([("exited", 5)], ["start", "end", "freed"])
        assert not Path(f"/proc/{pid}").exists()
        rig.runq("dead", "discard", str(dead))
        assert (rig.state(after_dead), rig.state(later)) == ("cancelled", "scheduled")
        assert heir.popen.poll() is None
        claims.tried("migration", upgrades=1)
    finally:
        rig.close()

"""Housekeeping: what hooks had to leave in the spool, what dead workers left, what is old."""

import os
import threading
from pathlib import Path

import pytest

from queue_core import safekeeping, spool
from queue_core.admission import prepare
from queue_core.keeper import boot as keeper_boot
from queue_core.keeper import protocol
from queue_core.model import NewJob, Origin
from queue_core.safekeeping import Listed
from queue_core.service import Queue
from queue_core.worker import janitor as janitor_module
from queue_core.worker.janitor import Janitor
from tests.helpers import wait_until

from .conftest import PATIENCE, Rig


@pytest.fixture
def busy(monkeypatch: pytest.MonkeyPatch) -> None:
    """Workers in this process make their rounds often."""
    monkeypatch.setattr(janitor_module, "ROUND", 0.05)


def spooled(rig: Rig, script: str) -> None:
    """Leave a job as a hook does that finds the database locked."""
    admissions = prepare(
        [NewJob(argv=("sh", "-c", script))],
        Origin(caller="hook"),
        settings=rig.queue.settings,
        home=rig.queue.home,
        environ=rig.env,
        folder=str(rig.folder),
        now=rig.queue.clock(),
    )
    spool.leave(rig.queue.home, admissions, now=rig.queue.clock())


@pytest.mark.claim("spool")
def test_what_lies_in_the_spool_is_taken_in_and_run_once(rig: Rig) -> None:
    spooled(rig, "echo ran >> ran")
    rig.drain()
    rig.drain()
    assert rig.lines("ran") == ["ran"]
    assert spool.pending(rig.queue.home) == []


@pytest.mark.claim("spool")
def test_a_worker_that_works_takes_in_what_comes_into_the_spool(rig: Rig, busy: None) -> None:
    rig.inner()
    spooled(rig, "echo ran >> ran")
    rig.wrote("ran", "ran\n")


@pytest.mark.claim("spool")
def test_a_spool_file_that_is_none_keeps_nothing_else_from_being_done(rig: Rig, busy: None) -> None:
    (rig.home / "spool").mkdir(mode=0o700, exist_ok=True)
    (rig.home / "spool" / "0.json").write_text("{")
    dead = rig.worker()
    dead.kill()
    rig.inner()
    wait_until(lambda: len(rig.queue.store.workers()) == 1, "the dead worker is forgotten", PATIENCE)
    spooled(rig, "echo ran >> ran")
    rig.wrote("ran", "ran\n")
    assert (rig.home / "spool" / "0.json.broken").exists()


def test_dead_workers_and_their_keepers_are_forgotten(rig: Rig, busy: None) -> None:
    gate = rig.gate()
    job = rig.sh(gate.wait)
    dead = rig.worker()
    rig.pid_of(job)
    dead.kill()
    rig.queue.home.input(job, 1)
    inner = rig.inner()
    gate.open()
    rig.reaches(job, "succeeded")
    wait_until(
        lambda: [row.id for row in rig.queue.store.workers()] == [inner.worker.id],
        "the dead one is forgotten",
        PATIENCE,
    )
    wait_until(lambda: len(os.listdir(rig.home / "keepers")) == 1, "the dead one's keeper is too", PATIENCE)
    assert os.listdir(rig.home / "workers") == [f"{inner.worker.id}.lock"]


def test_a_keeper_that_has_just_come_up_or_died_keeps_its_folder(rig: Rig) -> None:
    """Its lock is made before it is held, and a claim may name a keeper that died a moment ago."""
    folder = Path(rig.queue.home.keeper("starting"))
    folder.mkdir(parents=True, mode=0o700)
    (folder / protocol.LOCK).touch()
    started = keeper_boot.start(rig.queue.home.keeper("dying"))
    started.socket.close()
    os.waitpid(started.pid, 0)
    janitor = Janitor(rig.queue, lambda _: None)
    rounds = []
    for _ in range(2):
        janitor._tidy()  # pyright: ignore[reportPrivateUsage]
        rounds.append(sorted(os.listdir(rig.home / "keepers")))
    assert rounds == [["dying", "starting"], ["starting"]]


def test_a_dead_keeper_that_a_claim_names_is_kept(rig: Rig) -> None:
    gate = rig.gate()
    job = rig.sh(gate.wait, "--retries", "0")
    worker = rig.worker()
    rig.pid_of(job)
    worker.kill()
    rig.kill_keepers()
    janitor = Janitor(rig.queue, lambda _: None)
    for _ in range(3):
        janitor._tidy()  # pyright: ignore[reportPrivateUsage]
    assert len(os.listdir(rig.home / "keepers")) == 1


def test_pruning_by_age_and_count_removes_rows_and_files(rig: Rig) -> None:
    jobs = rig.add_all([{"argv": ["true"]} for _ in range(5)])
    rig.drain("--parallelism", "1")
    rig.runq("pin", str(jobs[0]))
    rig.runq("prune", "--keep", "2")
    assert set(rig.queue.states_of(jobs)) == {jobs[0], *jobs[-2:]}
    assert {int(name) for name in os.listdir(rig.home / "runs")} == {jobs[0], *jobs[-2:]}
    rig.queue.prune(older_than_days=-1)
    assert set(rig.queue.states_of(jobs)) == {jobs[0]}
    assert os.listdir(rig.home / "runs") == [str(jobs[0])]


def test_files_that_no_job_owns_any_more_go_when_they_are_old(rig: Rig) -> None:
    known = rig.sh("echo known")
    rig.drain()
    old, new = rig.home / "runs" / "7001", rig.home / "runs" / "7002"
    for folder in (old / "1", new / "1", rig.home / "runs" / "notes"):
        folder.mkdir(parents=True)
    for folder in (old, rig.run_dir(known).parent, rig.home / "runs" / "notes"):
        os.utime(folder, (1, 1))
    rig.runq("prune")
    assert sorted(path.name for path in (rig.home / "runs").iterdir()) == [str(known), "7002", "notes"]


def test_a_worker_prunes_once_an_hour_however_short_workers_live(rig: Rig, busy: None) -> None:
    jobs = rig.add_all([{"argv": ["true"]} for _ in range(3)])
    rig.drain()
    (rig.home / "pruned").unlink(missing_ok=True)  # where it took so long that it has made a round itself
    inner = rig.inner(RUNQ_KEEP_COUNT="1")
    wait_until(lambda: len(rig.queue.states_of(jobs)) == 1, "all but one are gone", PATIENCE)
    inner.tell("finish")
    inner.left()
    more = rig.add_all([{"argv": ["true"]} for _ in range(3)])
    rig.drain()
    rounds = threading.Semaphore(0)
    second = rig.inner(RUNQ_KEEP_COUNT="1")
    second.queue.ingest_spool = lambda: rounds.release() or 0
    for _ in range(3):
        assert rounds.acquire(timeout=PATIENCE)
    assert len(rig.queue.states_of(more)) == 3
    stamp = rig.home / "pruned"
    hour_ago = stamp.stat().st_mtime - 3601
    os.utime(stamp, (hour_ago, hour_ago))
    wait_until(lambda: len(rig.queue.states_of(more)) == 1, "an hour later they are", PATIENCE)


def test_room_for_the_spool_is_set_aside(rig: Rig) -> None:
    rig.drain()
    assert (rig.home / "spool" / ".ballast").stat().st_size == spool.BALLAST


def test_where_nothing_changes_it_is_seldom_looked_what_is_due(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    done: list[str] = []
    monkeypatch.setattr(janitor_module, "PRUNE_EVERY", 0.0)
    monkeypatch.setattr(rig.queue, "prune", lambda: done.append("prune") or 0)

    def take_due(*_: object, **__: object) -> list[Listed]:
        done.append("back up")
        return []

    monkeypatch.setattr(safekeeping, "take_due", take_due)
    janitor = Janitor(rig.queue, lambda _: None)

    def done_in(rounds: int) -> list[str]:
        done.clear()
        for _ in range(rounds):
            janitor._do_what_is_due()  # pyright: ignore[reportPrivateUsage]
        return done

    both = ["prune", "back up"]
    assert done_in(1) == both
    assert done_in(janitor_module.REST - 1) == []
    assert done_in(1) == both, "time too makes something due"
    assert done_in(3) == []
    other = Queue.open(rig.env)
    other.submit(("true",))
    other.close()
    assert done_in(1) == both, "somebody has changed something"
    assert done_in(janitor_module.REST - 1) == []
    assert done_in(1) == both, "the rounds are counted from then on"

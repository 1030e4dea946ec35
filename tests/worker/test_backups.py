"""Backups that workers take, and what a restore makes of what was running, or had run, when it was taken."""

import fcntl
import json
import os
import sqlite3
import threading
from collections import Counter
from contextlib import closing
from types import SimpleNamespace
from typing import Any

import pytest

from queue_core import backups
from queue_core.errors import StoreError, StoreFull
from queue_core.settings import Settings
from queue_core.value import replace
from queue_core.worker import janitor as janitor_module
from queue_core.worker.janitor import Janitor
from tests.helpers import wait_until

from .conftest import Rig, alive

DAY = 86400.0


class Night:
    """The janitor of a worker, on a clock of its own: what a worker does between two rounds, at once."""

    def __init__(self, rig: Rig, **chosen: Any) -> None:
        self.queue = rig.queue
        self.queue.settings = replace(Settings(), **chosen)
        self.now = 1_795_316_400.0
        self.queue.clock = lambda: self.now
        self.janitor = Janitor(self.queue, lambda _: None)

    def round(self) -> None:
        self.janitor._back_up_if_due()  # pyright: ignore[reportPrivateUsage]

    def kinds(self) -> Counter[str]:
        return Counter(one.kind for one in backups.there(self.queue.home))


class Watch:
    """The seconds by which a janitor counts its rests."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.seconds = 1000.0
        monkeypatch.setattr(janitor_module, "time", SimpleNamespace(monotonic=lambda: self.seconds))


def began_long_ago(rig: Rig) -> None:
    os.makedirs(rig.home / "backups", mode=0o700, exist_ok=True)
    (rig.home / "backups" / "lock").touch(mode=0o600)
    os.utime(rig.home / "backups" / "lock", (1.0, 1.0))


def restore(rig: Rig) -> dict[str, Any]:
    return json.loads(rig.runq("backup", "restore", "--yes", "--json").stdout)


class TestTaking:
    def test_a_worker_that_lives_for_a_moment_takes_the_backup_that_is_due(self, rig: Rig) -> None:
        job = rig.sh("true")
        rig.drain()
        assert backups.there(rig.queue.home) == []  # began just now: the first is due at night
        began_long_ago(rig)
        rig.drain()
        rig.drain()
        listed = json.loads(rig.runq("backup", "list", "--json").stdout)["backups"]
        assert [(one["kind"], one["jobs"], one["ok"]) for one in listed] == [("nightly", 1, True)]
        assert rig.state(job) == "succeeded"

    def test_a_worker_inside_a_program_takes_it_too(self, rig: Rig) -> None:
        began_long_ago(rig)
        rig.queue.settings = replace(rig.queue.settings, backup_keep=1)
        inner = rig.inner()
        inner.tell("finish")
        assert inner.left() is None
        assert [one.kind for one in backups.there(rig.queue.home)] == ["nightly"]

    def test_a_fortnight_of_nights_is_kept(self, rig: Rig) -> None:
        night = Night(rig)
        for _ in range(17):
            night.now += DAY
            night.round()
            night.round()
        assert night.kinds() == {"nightly": 14}
        assert night.now - backups.there(rig.queue.home)[-1].taken_at == 13 * DAY

    def test_a_person_removes_what_a_person_made(self, rig: Rig) -> None:
        night = Night(rig, backup_keep=1, snapshot_keep=1)
        for _ in range(3):
            rig.runq("backup", "now")
        for _ in range(3):
            night.now += DAY
            night.round()
        assert night.kinds() == {"nightly": 1, "manual": 3}

    def test_snapshots_come_every_so_many_ended_jobs_and_the_newest_stay(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setattr(janitor_module, "SNAPSHOT_REST", 0)
        night = Night(rig, snapshot_every=2, snapshot_keep=2, backup_at="")
        taken: list[int] = []
        for _ in range(6):
            rig.sh("true")
            rig.drain(env={"RUNQ_SNAPSHOT_EVERY": "0", "RUNQ_BACKUP_AT": ""})
            night.now += 60
            night.round()
            night.round()
            taken.append(night.kinds()["snapshot"])
        assert taken == [0, 1, 1, 2, 2, 2]
        assert [one.ended for one in backups.there(rig.queue.home)] == [6, 4]

    def test_after_a_snapshot_a_worker_rests_a_hundred_times_as_long_as_it_took(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        night = Night(rig, snapshot_every=1, snapshot_keep=9, backup_at="")
        watch = Watch(monkeypatch)
        really_take = janitor_module.safekeeping.take_due

        def slow(*args: Any, **kwargs: Any) -> Any:
            watch.seconds += 2
            return really_take(*args, **kwargs)

        monkeypatch.setattr(janitor_module.safekeeping, "take_due", slow)
        ended = iter(range(1, 9))
        monkeypatch.setattr(night.janitor, "_completions", lambda: next(ended))
        for rest, taken in ((0, 1), (198, 1), (2, 2)):
            watch.seconds += rest
            night.now += 60
            night.round()
            watch.seconds -= 2 if taken == 1 and rest else 0  # what a round that took nothing took
            assert night.kinds() == {"snapshot": taken}

    def test_several_workers_take_one(self, rig: Rig) -> None:
        began_long_ago(rig)
        together = threading.Barrier(4)
        nights = [Night(rig) for _ in range(4)]

        def work(night: Night) -> None:
            together.wait()
            night.round()

        threads = [threading.Thread(target=work, args=(night,)) for night in nights]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()
        assert nights[0].kinds() == {"nightly": 1}

    def test_while_another_process_takes_one_nobody_waits(self, rig: Rig) -> None:
        began_long_ago(rig)
        night = Night(rig)
        with open(rig.home / "backups" / "lock") as held:
            fcntl.flock(held, fcntl.LOCK_EX)
            night.round()
        assert night.kinds() == {}
        night.round()
        assert night.kinds() == {"nightly": 1}

    def test_with_both_turned_off_there_is_not_even_a_folder(self, rig: Rig) -> None:
        night = Night(rig, backup_at="", snapshot_every=0)
        night.now += 9 * DAY
        night.round()
        assert not (rig.home / "backups").exists()

    def test_what_a_killed_process_left_is_removed_without_another_backup(self, rig: Rig) -> None:
        began_long_ago(rig)
        rig.drain()
        (rig.home / "backups" / ".nightly-x.db.0123abcd.part").touch()
        (rig.home / "restoring").mkdir()
        (rig.home / "restoring" / "runq.db").touch()
        rig.drain()
        assert not (rig.home / "restoring").exists()
        assert [name for name in os.listdir(rig.home / "backups") if name.startswith(".")] == []

    def test_those_of_a_clock_that_was_ahead_take_no_new_one_away(self, rig: Rig) -> None:
        night = Night(rig, backup_keep=3)
        night.round()
        for _ in range(3):
            night.now += DAY
            night.round()
        ahead = {one.name for one in backups.there(rig.queue.home)}
        night.now -= 100 * DAY
        for days in range(1, 4):
            night.now += DAY
            night.round()
            night.round()
            found = backups.there(rig.queue.home)
            assert len(found) == 3
            assert len([one for one in found if one.name not in ahead]) == days


class TestFailing:
    def problems(self, rig: Rig) -> list[str]:
        return json.loads(rig.runq("health", "--json").stdout)["problems"]

    def test_it_keeps_no_job_from_running_and_health_tells_until_one_succeeds(self, rig: Rig) -> None:
        (rig.home / "backups").write_text("in the way")
        job = rig.sh("true")
        rig.drain()
        assert rig.state(job) == "succeeded"
        assert "no backup can be written to" in rig.log()
        assert len(self.problems(rig)) == 1
        assert self.problems(rig)[0].startswith("the last backup failed: no backup can be written to")
        os.unlink(rig.home / "backups")
        began_long_ago(rig)
        rig.drain()
        assert self.problems(rig) == []

    def test_none_is_taken_that_would_make_jobs_be_refused(self, rig: Rig) -> None:
        began_long_ago(rig)
        night = Night(rig, min_free_mb=1e9)
        with pytest.raises(StoreFull, match="`min_free_mb`"):
            night.round()
        assert night.kinds() == {}
        rig.runq("backup", "now")  # a person may

    def test_it_is_told_of_a_home_whose_path_is_no_utf_8_and_the_worker_works(self, rig: Rig) -> None:
        rig.queue.close()
        rig.home = rig.folder / os.fsdecode(b"caf\xe9")
        rig.env["RUNQ_HOME"] = str(rig.home)
        rig.queue = type(rig.queue).open(rig.env)
        job = rig.sh("true")
        (rig.home / "backups").write_text("in the way")
        rig.drain()
        assert rig.state(job) == "succeeded"
        assert self.problems(rig)[0].startswith("the last backup failed: no backup can be written to")
        assert r"caf\udce9" in self.problems(rig)[0]

    def test_one_that_fails_as_nobody_foresaw_ends_no_worker_and_is_told(
        self, rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
    ) -> None:
        def fail(*_: object, **__: object) -> None:
            raise ZeroDivisionError("no such thing")

        monkeypatch.setattr(janitor_module.safekeeping, "take_due", fail)
        inner = rig.inner()
        wait_until(lambda: self.problems(rig) == ["the last backup failed: no such thing"], "health tells of it")
        job = rig.sh("true")
        rig.reaches(job, "succeeded")
        (told,) = [one for one in caplog.records if one.getMessage() == "no such thing"]
        assert told.exc_info
        inner.tell("finish")
        assert inner.left() is None

    def test_it_is_not_tried_again_at_once(self, rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
        (rig.home / "backups").write_text("in the way")
        night, watch = Night(rig), Watch(monkeypatch)
        with pytest.raises(StoreError, match="no backup can be written to"):
            night.round()
        os.unlink(rig.home / "backups")
        began_long_ago(rig)
        night.round()
        assert night.kinds() == {}
        watch.seconds += 301
        night.round()
        assert night.kinds() == {"nightly": 1}

    def test_a_damaged_database_takes_no_good_backup_away(self, rig: Rig) -> None:
        for number in range(300):
            rig.queue.submit(["true", "x" * 500, str(number)])
        night = Night(rig, backup_keep=1)
        night.now += DAY
        night.round()
        night.round()
        good = backups.there(rig.queue.home)
        rig.queue.close()
        size = (rig.home / "runq.db").stat().st_size
        with open(rig.home / "runq.db", "r+b") as file:
            file.seek(size // 2)
            file.write(b"\xa5" * (size // 3))
        night.now += 2 * DAY
        with pytest.raises(StoreError, match="damaged"):
            night.round()
        assert backups.there(rig.queue.home) == good

    def test_a_worker_under_which_none_is_taken_is_told_of(self, rig: Rig) -> None:
        began_long_ago(rig)
        assert self.problems(rig) == []  # no worker: nobody to take one
        rig.worker(RUNQ_BACKUP_AT="")
        assert "no nightly backup for" in self.problems(rig)[0]


@pytest.mark.claim("restore")
class TestRefusing:
    def test_a_restore_waits_for_no_worker_and_stops_none(self, rig: Rig) -> None:
        rig.runq("backup", "now")
        worker = rig.worker()
        refused = rig.runq("backup", "restore", "--yes", code=1)
        assert "`runq work --stop`" in refused.stderr
        assert worker.popen.poll() is None
        rig.runq("work", "--stop")
        restore(rig)

    def test_a_command_that_runs_on_without_its_worker_is_in_the_way(self, rig: Rig) -> None:
        gate = rig.gate()
        rig.runq("backup", "now")
        job = rig.sh(gate.wait)
        worker = rig.worker()
        rig.pid_of(job)
        worker.kill()
        assert "still run" in rig.runq("backup", "restore", "--yes", code=1).stderr
        rig.kill_keepers()
        assert f"the command of job {job} still runs, without" in rig.runq("backup", "restore", "--yes", code=1).stderr
        pid = rig.pid_of(job)
        (rig.run_dir(job) / "record").unlink()  # as a command may; its keeper has noted it as well
        assert f"the command of job {job} still runs, without" in rig.runq("backup", "restore", "--yes", code=1).stderr
        assert rig.state(job) == "running"
        gate.open()
        _gone(pid)
        restore(rig)
        assert rig.queue.states_of([job]) == {}


def _gone(pid: int) -> None:
    wait_until(lambda: not alive(pid), "the command has ended")


@pytest.mark.claim("restore")
class TestWhatRanWhenItWasTaken:
    def taken_while_running(self, rig: Rig, script: str, *options: str) -> int:
        """A job that is running in the backup, and has ended since."""
        gate = rig.gate()
        job = rig.sh(f"{gate.wait}; {script}", *options)
        worker = rig.worker()
        rig.pid_of(job)
        rig.runq("backup", "now")
        gate.open()
        rig.reaches(job, "succeeded", "dead")
        rig.runq("work", "--stop")
        worker.left()
        return job

    def test_its_record_tells_its_true_end(self, rig: Rig) -> None:
        job = self.taken_while_running(rig, "echo done", "--lock", "disk")
        rig.add("--", "true")
        restore(rig)
        assert rig.state(job) == "succeeded"
        assert rig.outcomes(job) == [("exited", 0)]
        assert rig.output(job) == "done\n"
        assert _stored(rig, "SELECT used FROM locks") == [(0,)]

    def test_what_its_job_did_later_is_undone_and_no_claim_comes_twice(self, rig: Rig) -> None:
        job = self.taken_while_running(rig, "echo ran >> ran; [ $(wc -l < ran) -gt 1 ]", "--retries", "2")
        assert rig.outcomes(job) == [("exited", 1), ("exited", 0)]
        restore(rig)
        assert rig.state(job) == "scheduled"
        assert rig.outcomes(job) == [("exited", 1)]
        rig.worker()
        rig.reaches(job, "succeeded")
        assert rig.lines("ran") == ["ran"] * 3
        assert [one.claim for one in rig.job(job).attempts] == [1, 4]

    def test_without_a_record_that_tells_it_is_lost(self, rig: Rig) -> None:
        gate = rig.gate()
        job = rig.sh(gate.wait, "--retries", "0")
        worker = rig.worker()
        pid = rig.pid_of(job)
        rig.runq("backup", "now")
        worker.kill()
        rig.kill_keepers()
        gate.open()
        _gone(pid)
        restore(rig)
        assert (rig.state(job), rig.outcomes(job)) == ("dead", [("lost", None)])


class TestNumbers:
    def test_what_waited_runs_again_under_numbers_that_were_never_used(self, rig: Rig) -> None:
        job = rig.sh("echo again")
        rig.runq("backup", "now")
        rig.drain()
        later = rig.sh("true")
        rig.drain()
        restore(rig)
        assert rig.queue.states_of([job, later]) == {job: "available"}
        assert "has not run yet" in rig.runq("output", str(job), code=1).stderr  # what a claim wrote that is undone
        rig.drain()
        assert [one.claim for one in rig.job(job).attempts] == [3]
        assert rig.output(job) == "again\n"
        assert rig.sh("true") > later

    def test_so_they_are_when_the_database_is_gone_again_and_again(self, rig: Rig) -> None:
        rig.env["RUNQ_SNAPSHOT_EVERY"] = "0"  # it is the first backup that is restored each time
        job = rig.sh("true")
        rig.runq("backup", "now")
        seen: set[tuple[int, int]] = set()
        for _ in range(3):
            rig.drain()
            seen.add((job, rig.job(job).attempts[-1].claim))
            more = rig.sh("true")
            seen.add((more, 1))
            rig.drain()
            rig.queue.close()
            for name in ("runq.db", "runq.db-wal", "runq.db-shm"):
                (rig.home / name).unlink(missing_ok=True)
            restore(rig)
            rig.queue = type(rig.queue).open(rig.env)
        assert len(seen) == 6


def _stored(rig: Rig, sql: str) -> list[Any]:
    with closing(sqlite3.connect(rig.home / "runq.db")) as connection:
        return connection.execute(sql).fetchall()

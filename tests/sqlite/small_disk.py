"""Run by `test_full_disk.py` in a mount namespace of its own: a home on a disk of a few MiB that can be filled.

The disk is real (a tmpfs), and so are the worker, its command and the command lines.
"""

from __future__ import annotations

import sqlite3
import subprocess
from contextlib import closing
from typing import TYPE_CHECKING

import pytest

from queue_core.sqlite import ballast
from tests import claims
from tests.helpers import wait_until
from tests.worker.conftest import PATIENCE, Gate, Rig

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

SIZE = 10  # MiB


class Disk:
    """A file system of its own for one home."""

    def __init__(self, folder: Path, size: int = SIZE) -> None:
        """So many MiB; 0 for one that knows of no bound."""
        self.home = folder / "home"
        self.home.mkdir(mode=0o700)
        _run("mount", "-t", "tmpfs", "-o", f"size={size}m,mode=700", "none", str(self.home))

    def fill(self) -> None:
        """To the last byte."""
        with open(self.home / "filler", "ab", buffering=0) as file:
            for size in (1 << 16, 1 << 12, 1):
                try:
                    while True:
                        file.write(b"x" * size)
                except OSError:
                    continue

    def make_room(self) -> None:
        (self.home / "filler").unlink()

    def remount(self, how: str) -> None:
        _run("mount", "-o", f"remount,{how}", str(self.home))

    def ballast(self) -> int:
        return (self.home / "ballast").stat().st_size

    def close(self) -> None:
        _run("umount", "-l", str(self.home))


def _run(*command: str) -> None:
    subprocess.run(command, check=True)


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Disk]:
    made = Disk(tmp_path)
    yield made
    made.close()


@pytest.fixture
def rig(disk: Disk, tmp_path: Path) -> Iterator[Rig]:
    made = Rig(tmp_path)
    made.env["RUNQ_MIN_FREE_MB"] = "0"  # the least careful user
    yield made
    made.close()


class Work:
    """A job that runs, under a worker that runs one at a time; one that waits for its end, and one for its turn."""

    def __init__(self, rig: Rig, *, exit_code: int = 3) -> None:
        self.gate: Gate = rig.gate()
        self.running = rig.sh(f"echo hello; {self.gate.wait}; exit {exit_code}", "--retries", "0")
        self.after = rig.sh("echo after", "--after-failure", str(self.running))
        self.next = rig.sh("echo next")
        self.worker = rig.worker("--parallelism", "1")
        rig.pid_of(self.running)


def stored(rig: Rig) -> int:
    with closing(sqlite3.connect(rig.home / "runq.db")) as connection:
        return connection.execute("SELECT count(*) FROM jobs").fetchone()[0]


def is_sound(rig: Rig) -> bool:
    with closing(sqlite3.connect(rig.home / "runq.db")) as connection:
        return connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]


def refused(rig: Rig, *words: str, **more: str) -> str:
    """What a verb says that cannot do what is asked: one sentence, and nothing is stored."""
    before = stored(rig)
    ran = rig.runq(*words, code=1, **more)
    assert ran.stderr.startswith("runq: ") and ran.stderr.count("\n") == 1, ran.stderr
    assert (ran.stdout, stored(rig)) == ("", before)
    return ran.stderr


def hook(rig: Rig, code: int = 0) -> str:
    said = rig.runq("hook", "--", "sh", "-c", "echo hooked >> hooked", code=code, input='{"session_id": "s"}')
    assert said.stdout == ""
    return said.stderr


def goes_on(rig: Rig, work: Work) -> None:
    """What waited runs; what ran did so once."""
    for job in (work.after, work.next):
        rig.reaches(job, "succeeded")
    assert rig.outcomes(work.running) == [("exited", 3)]
    assert rig.output(work.running) == "hello\n"
    assert is_sound(rig)


def test_what_runs_is_recorded_on_a_full_disk_and_nothing_new_is_taken_in(rig: Rig, disk: Disk) -> None:
    work = Work(rig)
    wait_until(lambda: disk.ballast() == ballast.SIZE, "the ballast is laid")
    disk.fill()
    assert "free some space" in refused(rig, "add", "--", "true")
    lines = '{"argv": ["true"]}\n' * 3
    assert "free some space" in refused(rig, "add", "--file", "-", input=lines)
    assert hook(rig) == ""  # it has a ballast of its own
    disk.fill()
    work.gate.open()
    rig.reaches(work.running, "dead")
    assert rig.outcomes(work.running) == [("exited", 3)]
    assert rig.output(work.running) == "hello\n"
    assert disk.ballast() == 0
    assert "the ballast is spent: free space" in rig.runq("health").stdout
    assert "only 0 MiB are free" in rig.runq("health").stdout
    assert "the ballast is spent: free space" in rig.runq("doctor", code=1).stdout
    assert "free some space" in refused(rig, "add", "--", "true")
    wait_until(lambda: "the ballast is spent" in rig.log(), "the worker says so", PATIENCE)
    assert [rig.state(job) for job in (work.after, work.next)] == ["available", "available"], "nothing is claimed"
    disk.make_room()
    goes_on(rig, work)
    assert disk.ballast() == ballast.SIZE
    wait_until(lambda: rig.lines("hooked") == ["hooked"], "the hook's job has run", PATIENCE)
    rig.add("--", "true")
    claims.tried("full", fills=1)


def test_without_ballast_an_end_waits_for_room(rig: Rig, disk: Disk) -> None:
    work = Work(rig)
    wait_until(lambda: disk.ballast() == ballast.SIZE, "the ballast is laid")
    (disk.home / "ballast").unlink()
    disk.fill()
    work.gate.open()
    wait_until(lambda: "trying until it works" in rig.log() or _cannot_log(rig), "the worker bears it", PATIENCE)
    assert rig.state(work.running) == "running"
    disk.make_room()
    goes_on(rig, work)
    claims.tried("full", fills=1)


def _cannot_log(rig: Rig) -> bool:
    return bool(rig.run_dir(1).exists())


def test_ends_of_many_one_after_the_other_have_room(rig: Rig, disk: Disk) -> None:
    """Each with as long a tail as there is, more of them than the ballast has room for without checkpoints."""
    gates = [rig.gate(f"gate{number}") for number in range(16)]
    script = "head -c 9000 /dev/urandom | base64 -w 0 | head -c 9000; {}; exit 3"
    jobs = [rig.sh(script.format(gate.wait), "--retries", "0") for gate in gates]
    rig.worker(RUNQ_PARALLELISM="16", RUNQ_MAX_RUNNING="16")
    for job in jobs:
        rig.pid_of(job)
    wait_until(lambda: disk.ballast() == ballast.SIZE, "the ballast is laid")
    disk.fill()
    for gate, job in zip(gates, jobs, strict=True):
        gate.open()
        rig.reaches(job, "dead")
        assert rig.outcomes(job) == [("exited", 3)]
    assert disk.ballast() == 0
    assert is_sound(rig)
    claims.tried("full", fills=1)


def test_what_a_killed_worker_left_is_settled_on_a_full_disk_and_no_worker_comes_up(rig: Rig, disk: Disk) -> None:
    work = Work(rig)
    wait_until(lambda: disk.ballast() == ballast.SIZE, "the ballast is laid")
    work.worker.kill()
    disk.fill()
    assert rig.runq("work", "--until-empty", code=1).stderr.count("\n") == 1
    work.gate.open()

    def settled() -> bool:
        rig.status()
        return rig.state(work.running) == "dead"

    wait_until(settled, "status has settled it", PATIENCE)
    assert disk.ballast() == 0
    rig.runq("cancel", str(work.next))
    assert rig.state(work.next) == "cancelled"
    disk.make_room()
    rig.drain()
    assert (rig.state(work.after), rig.outcomes(work.running)) == ("succeeded", [("exited", 3)])
    claims.tried("full", fills=1)


def test_one_that_knows_of_no_bound_is_not_full(tmp_path: Path) -> None:
    disk, rig = Disk(tmp_path, size=0), Rig(tmp_path)
    try:
        assert rig.sh("true") == 1
        assert "no end of room" in rig.runq("doctor", code=None).stdout
    finally:
        rig.close()
        disk.close()


def test_a_disk_that_is_read_only_for_a_while_costs_nothing(rig: Rig, disk: Disk) -> None:
    """While nobody has a file open there, or it could not be mounted anew: so no command runs meanwhile."""
    job = rig.sh("echo ran >> ran")
    rig.runq("backup", "now")
    rig.queue.close()
    disk.remount("ro")
    try:
        for words in (["add", "--", "true"], ["cancel", str(job)], ["pause"], ["work", "--until-empty"], ["prune"]):
            ran = rig.runq(*words, code=1)
            assert ran.stderr.startswith("runq: ") and ran.stderr.count("\n") == 1, ran.stderr
        assert hook(rig, code=1).count("\n") == 1  # there is no place where it could leave its job
        for words in (["list"], ["status"], ["health"]):
            ran = rig.runq(*words, code=None)
            assert ran.returncode in (0, 1) and ran.stderr.count("\n") == ran.returncode, ran.stderr
    finally:
        disk.remount("rw")
    rig.queue = type(rig.queue).open(rig.env)
    rig.drain()
    assert (rig.state(job), rig.lines("ran"), stored(rig)) == ("succeeded", ["ran"], 1)
    assert is_sound(rig)
    claims.tried("full", remounts=1)

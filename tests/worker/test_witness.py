"""A command that removes the traces of its own run, or ends who looks after it: it runs once all the same.

Its record lies in a folder of the same user, so it can. The keeper has the last word at its end, and notes elsewhere
what it has started; so that nothing is taken for never started, and run once more, beside itself even.
"""

from __future__ import annotations

import os
import signal
import sys

import pytest

from queue_core.keeper import records
from queue_core.keeper.records import End, Start
from tests import claims
from tests.helpers import wait_until

from .conftest import PATIENCE, Rig, alive

JOB = '"$RUNQ_HOME/runs/$RUNQ_JOB_ID"'
TRACES = {
    "record removed": f"rm {JOB}/1/record",
    "record emptied": f": > {JOB}/1/record",
    "folder removed": f"rm -rf {JOB}",
    "all runs removed": 'rm -rf "$RUNQ_HOME/runs"',
    "folder moved away": f"mv {JOB} aside",
    "lock let go": "python3 -IS -c 'import fcntl; fcntl.flock(198, 8)'",
    "another's record": f"cp other {JOB}/1/record.new; mv {JOB}/1/record.new {JOB}/1/record",
}
OF_ANOTHER = Start(job=77, claim=1, keeper="k", boot_id="b", pid_namespace=1, started_at=1.0)


GROUPS = {"each its own": [how for how in TRACES if how != "all runs removed"], "all": ["all runs removed"]}


def erased(rig: Rig, group: str, code: int) -> list[int]:
    """Jobs whose commands do this and wait at the gate; their pids are in `pids`."""
    files = records.ClaimFiles(str(rig.folder / "made" / "77" / "1"), OF_ANOTHER)
    files.write_end(records.text_of(End(status=0, ended_at=2.0)))
    files.close()
    (rig.folder / "made" / "77" / "1" / "record").rename(rig.folder / "other")
    wait = rig.gate(pause="0.1").wait
    return [rig.sh(f"{TRACES[how]}; echo $$ >> pids; {wait}; exit {code}", "--retries", "0") for how in GROUPS[group]]


def are_erased(rig: Rig, jobs: list[int]) -> list[int]:
    wait_until(lambda: len(rig.lines("pids")) == len(jobs), "the traces are gone", PATIENCE)
    return [int(pid) for pid in rig.lines("pids")]


LIMITS = {"RUNQ_PARALLELISM": "8"}


@pytest.mark.claim("twice")
@pytest.mark.claim("truth")
@pytest.mark.parametrize("group", GROUPS)
def test_with_its_worker_killed_its_true_end_is_found(rig: Rig, group: str) -> None:
    jobs = erased(rig, group, 9)
    worker = rig.worker(**LIMITS)
    pids = are_erased(rig, jobs)
    worker.kill()
    rig.gate().open()
    wait_until(lambda: not any(map(alive, pids)) and not rig.keepers(), "commands and keeper are gone", PATIENCE)
    rig.drain()
    assert {job: rig.outcomes(job) for job in jobs} == {job: [("exited", 9)] for job in jobs}
    assert len(rig.lines("pids")) == len(jobs)
    claims.tried("twice", kills=1)


@pytest.mark.claim("overlap")
@pytest.mark.claim("again")
@pytest.mark.parametrize("group", GROUPS)
def test_with_its_keeper_killed_too_it_is_waited_for_and_counts_as_lost(rig: Rig, group: str) -> None:
    jobs = erased(rig, group, 0)
    worker = rig.worker(**LIMITS)
    pids = are_erased(rig, jobs)
    worker.kill()
    rig.kill_keepers()
    rig.status()
    assert {rig.state(job) for job in jobs} == {"running"}
    rig.worker(**LIMITS)
    other = rig.sh("true", "--queue", "other")
    rig.reaches(other, "succeeded")  # the new worker has looked around
    assert {rig.state(job) for job in jobs} == {"running"} and all(map(alive, pids))
    rig.gate().open()
    assert {rig.reaches(job, "dead").outcome for job in jobs} == {"lost"}
    assert len(rig.lines("pids")) == len(jobs)
    claims.tried("overlap", kills=2)


@pytest.mark.claim("processes")
def test_it_is_ended_by_hand_by_what_its_keeper_has_noted(rig: Rig) -> None:
    (job,) = erased(rig, "all", 0)
    worker = rig.worker()
    (pid,) = are_erased(rig, [job])
    worker.kill()
    rig.kill_keepers()
    rig.runq("cancel", str(job))
    assert not alive(pid)
    assert rig.state(job) == "cancelled"


@pytest.mark.claim("processes")
def test_who_has_linked_anothers_record_into_its_place_is_ended_alone(rig: Rig) -> None:
    other = rig.sh(rig.gate("other").wait, "--retries", "0")
    worker = rig.worker()
    bystander = rig.pid_of(other)
    script = f'ln -f "{rig.run_dir(other)}/record" {JOB}/1/record; echo $$ > linked; {rig.gate().wait}'
    job = rig.sh(script, "--retries", "0")
    pid = int(rig.wrote("linked", "\n"))
    worker.kill()
    rig.kill_keepers()
    rig.runq("cancel", str(job))
    assert not alive(pid)
    assert (rig.state(other), alive(bystander)) == ("running", True)


@pytest.mark.claim("processes")
@pytest.mark.claim("again")
def test_a_command_that_kills_its_keeper_and_its_worker_is_waited_for_and_lost(rig: Rig) -> None:
    beside = rig.sh(rig.gate("beside").wait, "--retries", "0")
    rig.worker()
    rig.pid_of(beside)
    (worker,) = rig.queue.live_workers().values()
    job = rig.sh(f"echo start >> events; kill -9 {worker} $PPID; touch shot; {rig.gate().wait}", "--retries", "0")
    wait_until(lambda: (rig.folder / "shot").exists() and not alive(worker), "its worker is dead", PATIENCE)
    rig.worker()
    later = rig.sh("true")
    rig.reaches(later, "succeeded")
    assert {rig.state(one) for one in (job, beside)} == {"running"}
    rig.gate().open()
    rig.gate("beside").open()
    for one in (job, beside):
        assert rig.reaches(one, "dead").outcome == "lost"
    assert rig.lines("events") == ["start"]


@pytest.mark.claim("processes")
def test_a_command_that_stops_its_keeper_stops_no_other_work_for_good(rig: Rig) -> None:
    """What runs under it runs on, and no cancel reaches it until it goes on; then it does."""
    rig.worker()
    job = rig.sh(f"{rig.gate().wait}; kill -STOP $PPID; echo up; exec sleep 99", "--retries", "0")
    pid = rig.pid_of(job)
    rig.gate().open()
    (keeper,) = rig.keepers()
    wait_until(lambda: (rig.run_dir(job) / "output").read_bytes() == b"up\n", "it runs on", PATIENCE)
    rig.runq("cancel", str(job))
    assert (rig.state(job), alive(pid)) == ("running", True)
    os.kill(keeper, signal.SIGCONT)
    rig.reaches(job, "cancelled", "dead")
    assert not alive(pid)


@pytest.mark.claim("processes")
def test_a_link_in_the_place_of_a_jobs_folder_is_neither_read_nor_followed_when_it_goes(rig: Rig) -> None:
    job = rig.sh("echo mine")
    rig.drain()
    other = rig.folder / "other" / "1"
    other.mkdir(parents=True)
    (other / "output").write_text("somebody's\n")
    folder = rig.run_dir(job).parent
    folder.rename(rig.folder / "aside")
    folder.symlink_to(other.parent)
    assert rig.output(job) == "mine\n", "what the database has kept of it"
    rig.queue.prune(older_than_days=-1)
    assert not folder.is_symlink()
    assert (other / "output").read_text() == "somebody's\n"


# What a worker starts its keepers with, but that the first one dies between the spawn and its note of the pid, when
# the command has closed its descriptors, the lock among them.
DIES_BEFORE_ITS_NOTE = """
import os, sys
import queue_core.keeper.boot as boot
boot._CODE = '''import sys; sys.path.append(sys.argv[2])
import os, time
import queue_core.keeper.command as command
note_process = command.Command.note_process
def die_first(self):
    try:
        died = os.open("{died}", os.O_WRONLY | os.O_CREAT | os.O_EXCL)
        os.write(died, b"%d." % os.getpid())
    except FileExistsError:
        return note_process(self)
    while not os.path.exists("{closed}"):
        time.sleep(0.01)
    os.kill(os.getpid(), 9)
command.Command.note_process = die_first
from queue_core.keeper.main import main; main(sys.argv[1])'''
from queue_core.launch import main
sys.argv = ["runq", "work"]
sys.exit(main())
"""
CLOSES_ALL = """
import os, sys, time
os.closerange(3, 1024)
record = os.path.join(os.environ["RUNQ_HOME"], "runs", os.environ["RUNQ_JOB_ID"], "1", "record")
if {removes} and os.path.exists(record):
    os.unlink(record)
def note(what):
    log = os.open("{events}", os.O_WRONLY | os.O_CREAT | os.O_APPEND)
    os.write(log, (what + chr(10)).encode())
    os.close(log)
note("start it")
open("{closed}", "w").close()
while not os.path.exists("{gate}"):
    time.sleep(0.02)
note("end it")
"""


@pytest.mark.claim("overlap")
@pytest.mark.claim("again")
@pytest.mark.parametrize("removes", [False, True], ids=["its record stays", "its record is removed"])
def test_a_command_that_nobody_could_note_is_known_by_its_token(rig: Rig, removes: bool) -> None:
    """No pid is recorded and no lock is held; taken for dead, or never started, it would run beside itself."""
    gate = rig.gate()
    places = {"died": rig.folder / "died", "closed": rig.folder / "closed"}
    what = {"events": rig.folder / "events", "closed": places["closed"], "gate": gate.path}
    job = rig.add("--retries", "1", "--", sys.executable, "-IS", "-c", CLOSES_ALL.format(removes=removes, **what))
    rig.start_program(sys.executable, "-c", DIES_BEFORE_ITS_NOTE.format(**places))
    keeper = int(rig.wrote("died", ".").rstrip("."))
    wait_until(lambda: places["closed"].exists() and not alive(keeper), "its keeper is dead", PATIENCE)
    other = rig.sh("true")
    rig.reaches(other, "succeeded")  # the worker has another keeper
    rig.runq("status")
    assert (rig.state(job), rig.lines("events")) == ("running", ["start it"])
    gate.open()
    rig.reaches(job, "succeeded")
    assert rig.lines("events") == ["start it", "end it"] * 2
    assert rig.outcomes(job) == [("lost", None), ("exited", 0)]
    claims.tried("overlap", kills=1)

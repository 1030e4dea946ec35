"""Reboot, power loss and another pid namespace: what ran is judged by what is certain, and nothing is made up.

The commands, keepers and workers are real ones that were killed; then the boot id in what they have left is changed,
as a machine that has started again finds it.
"""

from __future__ import annotations

import os
import shutil
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path

import pytest

from queue_core.keeper import protocol, records, started, verdict
from queue_core.keeper.records import End, Record, Start
from queue_core.value import replace
from tests import claims
from tests.helpers import wait_until

from .conftest import PATIENCE, ROOT, Rig, alive

ANOTHER = "00000000-0000-4000-8000-000000000000"


def reboot(rig: Rig) -> None:
    """Kill all that runs, and have all that it left come from another boot."""

    def all_dead() -> bool:
        living = [*rig.queue.live_workers().values(), *rig.keepers(), *rig.commands()]
        for pid in living:
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGKILL)
        return not living

    wait_until(all_dead, "all is dead", PATIENCE)
    for path in rig.home.glob("keepers/*/" + protocol.BOOT):
        path.write_text(ANOTHER)
    for path in rig.home.glob("runs/*/*/" + records.RECORD):
        record = records.read(str(path.parent))
        assert record and record.start
        _rewrite(path, replace(record.start, boot_id=ANOTHER), record.end)


def _rewrite(path: Path, start: Start, end: End | None) -> None:
    """The record that a keeper of that boot would have left."""
    folder = path.parent.parent.parent / "rewritten" / str(start.job) / str(start.claim)
    files = records.ClaimFiles(str(folder), start)
    if end:
        files.write_end(records.text_of(end))
    files.close()
    shutil.copyfile(folder / records.RECORD, path)
    shutil.rmtree(folder.parent.parent)


@pytest.mark.claim("sleep")
@pytest.mark.claim("again")
def test_after_a_reboot_what_had_ended_counts_and_what_ran_is_lost(rig: Rig) -> None:
    """The lost ones follow their retry rule; without retries they are dead letters, and are not run again unasked."""
    wait = rig.gate(pause="0.1").wait
    ended = rig.sh(f"{rig.gate('early').wait}; echo done; exit 5", "--retries", "0")
    retried = rig.sh(f"echo retried >> runs; [ -e second ] || {{ touch second; {wait}; }}", "--retries", "1")
    once = rig.sh(f"echo once >> runs; {wait}", "--retries", "0")
    cancelled = rig.sh(f"echo cancelled >> runs; {wait}")
    worker = rig.worker(RUNQ_PARALLELISM="6")
    wait_until(lambda: len(rig.lines("runs")) == 3, "they run", PATIENCE)
    pid = rig.pid_of(ended)
    (keeper,) = rig.keepers()
    rig.stop(worker)
    rig.gate("early").open()
    wait_until(lambda: (r := records.read(str(rig.run_dir(ended)))) and r.end, "its end is recorded", PATIENCE)
    assert not alive(pid)
    os.kill(keeper, signal.SIGSTOP)
    worker.signal(signal.SIGCONT)  # it claims once more, and its keeper does not see that any more
    unseen = rig.sh("echo unseen >> runs", "--retries", "0")
    rig.reaches(unseen, "running")
    rig.reaches(ended, "dead", "running")
    rig.queue.store.cancel([cancelled], by=rig.queue.origin(), now=rig.queue.clock())
    reboot(rig)
    rig.status()
    assert rig.outcomes(ended) == [("exited", 5)]
    assert rig.outcomes(once) == rig.outcomes(unseen) == rig.outcomes(cancelled) == [("lost", None)]
    assert {rig.state(one) for one in (once, unseen)} == {"dead"}
    assert rig.state(cancelled) == "cancelled"
    assert rig.state(retried) in ("scheduled", "available")
    rig.worker()
    rig.reaches(retried, "succeeded")
    assert rig.outcomes(retried) == [("lost", None), ("exited", 0)]
    assert sorted(rig.lines("runs")) == ["cancelled", "once", "retried", "retried"]
    claims.tried("sleep", reboots=1, kills=7)


def damaged(whole: bytes) -> dict[str, bytes]:
    """What a power loss may leave of a record: a beginning of it, or blocks and pages of zeros."""
    cuts = {f"{at} bytes": whole[:at] for at in range(0, len(whole), 61)}
    holes = {
        f"{size} zeros at {at}": whole[:at] + bytes(size) + whole[at + size :]
        for size in (512, 1024, 2048, 4096)
        for at in range(0, len(whole), size)
    }
    return cuts | holes


@pytest.mark.claim("sleep")
@pytest.mark.claim("truth")
@pytest.mark.parametrize("boot", ["another boot", "the same boot"])
def test_a_record_that_is_half_there_never_makes_up_a_result(tmp_path: Path, boot: str) -> None:
    """The true end, or none: then the attempt is lost, even where nothing of its start can be read any more."""
    boot_id = ANOTHER if boot == "another boot" else verdict.processes.boot_id()
    keeper = tmp_path / "keepers" / "k1"
    keeper.mkdir(parents=True)
    (keeper / protocol.BOOT).write_text(boot_id)
    start = Start(job=3, claim=1, keeper="k1", boot_id=boot_id, pid_namespace=1, started_at=1.5, pid=99, ticks=7)
    (keeper / started.FILE).write_text("2 1 98 7 1 1.0\n3 1 99 7 1 1.5\n33 1 5 7 1 1.0\n")
    end = End(status=0x500, ended_at=2.5, output_bytes=10)
    files = records.ClaimFiles(str(tmp_path / "runs" / "3" / "1"), start)
    files.spawned(99, 7)
    files.write_end(records.text_of(end))
    files.close()
    path = tmp_path / "runs" / "3" / "1" / records.RECORD
    seen: dict[str, int] = {}
    torn = damaged(path.read_bytes())
    for name, content in torn.items():
        path.write_bytes(content)
        what, record = verdict.look(str(path.parent), str(keeper), None)
        assert what in (verdict.SETTLE, verdict.LOST), name
        assert (what == verdict.SETTLE) == bool(record and record.end), name
        assert not (record and record.end) or record.end == end, name
        seen[what] = seen.get(what, 0) + 1
    assert min(seen.values()) > 3 and len(seen) == 2
    path.unlink()
    assert verdict.look(str(path.parent), str(keeper), None) == (
        verdict.LOST,
        Record(start=replace(start, boot_id=boot_id)),
    )
    claims.tried("sleep", torn_records=len(torn))


CAN_UNSHARE = not subprocess.run(
    ["unshare", "-rpf", "--mount-proc", "true"], capture_output=True, check=False
).returncode
namespaces = pytest.mark.skipif(not CAN_UNSHARE, reason="this user may make no namespaces here")


@namespaces
@pytest.mark.claim("sleep")
@pytest.mark.claim("overlap")
def test_a_container_that_is_started_anew_on_the_same_volume_finds_what_ran_lost(rig: Rig) -> None:
    """Its pids mean nothing outside. While one command there lives, its lock says so; when all are dead it is lost."""
    job = rig.sh(f"echo start >> events; {rig.gate(pause='0.1').wait}", "--retries", "0")
    alone = ["unshare", "-rpf", "--mount-proc", "--kill-child", sys.executable, "-m", "queue_core.launch", "work"]
    container = rig.start_program(*alone)
    rig.wrote("events", "start\n")
    rig.pid_of(job)
    record = records.read(str(rig.run_dir(job)))
    assert record and record.start and record.start.pid_namespace != verdict.processes.pid_namespace()
    inside = [pid for pid in rig.commands() if leads_its_session(pid)]
    workers = [pid for pid in inside_of(container.pid) if b"queue_core.launch" in _cmdline(pid)]
    keepers = rig.keepers()
    for pid in keepers:
        os.kill(pid, signal.SIGKILL)
    wait_until(lambda: not any(map(alive, keepers)), "the keeper is dead", PATIENCE)
    folder = str(rig.home / "keepers" / record.start.keeper)
    assert verdict.look(str(rig.run_dir(job)), folder, None)[0] == verdict.ALONE
    assert workers and inside and alive(inside[0])
    container.kill()
    wait_until(lambda: not any(map(alive, [*inside, *workers])), "the container is gone", PATIENCE)
    rig.drain()
    assert (rig.outcomes(job), rig.state(job)) == ([("lost", None)], "dead")
    assert rig.lines("events") == ["start"]


def inside_of(pid: int) -> list[int]:
    """The processes below this one."""
    with suppress(OSError):  # one that comes and goes, as what a command pauses with
        below = [int(name) for name in Path(f"/proc/{pid}/task/{pid}/children").read_text().split()]
        return below + [other for one in below for other in inside_of(one)]
    return []


def leads_its_session(pid: int) -> bool:
    with suppress(ProcessLookupError):
        return os.getsid(pid) == pid
    return False


def _cmdline(pid: int) -> bytes:
    with suppress(OSError):
        return Path(f"/proc/{pid}/cmdline").read_bytes()
    return b""


# In a pid namespace of its own pids can be chosen: the pid of a dead command is given to somebody else.
REUSED = """
import os, signal, subprocess, sys, time
sys.path.append(sys.argv[2])
from queue_core.keeper import boot, ending, processes, protocol, records, verdict
home = sys.argv[1]
keeper_dir, run_dir = home + "/keepers/k1", home + "/runs/1/1"
started = boot.start(keeper_dir)
job = dict(job=1, claim=1, token="token", dir=run_dir, program="/bin/sleep", argv=["sleep", "99"], cwd=home, env={},
           stdin=None, timeout=None, grace=0.1, cap=None, confined=False)
started.socket.sendall(protocol.encode(protocol.spawn([job])))
while not ((record := records.read(run_dir)) and record.start and record.start.pid):
    time.sleep(0.01)
assert verdict.look(run_dir, keeper_dir, None)[0] == verdict.ASK_KEEPER
pid = record.start.pid
os.kill(started.pid, signal.SIGKILL)
os.waitpid(started.pid, 0)
assert verdict.look(run_dir, keeper_dir, None)[0] == verdict.ALONE
os.kill(pid, signal.SIGKILL)
assert os.waitpid(pid, 0)[0] == pid  # its keeper is dead: it is ours, who are the first process here
time.sleep(0.05)
with open("/proc/sys/kernel/ns_last_pid", "w") as file:
    file.write(str(pid - 1))
other = subprocess.Popen(["sleep", "99"], start_new_session=True)
assert other.pid == pid, (other.pid, pid)
assert verdict.look(run_dir, keeper_dir, None)[0] == verdict.LOST
assert not records.process_alive(record.start)
assert not ending.end_orphan(record.start, grace=0.0)
assert ending.Tree(pid, record.start.ticks, "token", records.lock_of(run_dir)).pids() == []
assert other.poll() is None
print("spared")
"""


@namespaces
@pytest.mark.claim("processes")
def test_who_has_got_the_pid_of_a_dead_command_is_not_taken_for_it(tmp_path: Path) -> None:
    done = subprocess.run(
        ["unshare", "-rpf", "--mount-proc", sys.executable, "-c", REUSED, str(tmp_path), str(ROOT)],
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.stdout == "spared\n", done.stderr

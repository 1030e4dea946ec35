"""What a nasty command can do to itself, its streams, its children and its own files, through a real worker and keeper.

Each runs beside a bystander, under one worker and one keeper, which have to be the same ones afterwards.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from queue_core.keeper import records
from tests import claims
from tests.helpers import TIME_OUTS, short_folder, wait_until

from .conftest import CLI, PATIENCE, Rig, alive

if TYPE_CHECKING:
    from collections.abc import Iterator

pytestmark = pytest.mark.claim("processes")

PYTHON = [sys.executable, "-I", "-S", "-c"]
JOB = '"$RUNQ_HOME/runs/$RUNQ_JOB_ID"'
RUN = f"{JOB}/$RUNQ_CLAIM"
IGNORED = {signal.SIGCHLD, signal.SIGCONT, signal.SIGURG, signal.SIGWINCH}
# Without a terminal and with no parent in its session, a command's process group is an orphan: these do nothing.
OF_TERMINALS = {signal.SIGTSTP, signal.SIGTTIN, signal.SIGTTOU}


@pytest.fixture(scope="module")
def home() -> Iterator[Rig]:
    with short_folder() as folder:
        made = Rig(folder)
        made.sh(made.gate("bystander", "0.5").wait, "--queue", "other", "--retries", "0")
        made.worker(RUNQ_PARALLELISM="70", RUNQ_MAX_RUNNING="70", RUNQ_GRACE="0.3", RUNQ_OUTPUT_CAP_MB="4")
        made.pid_of(1)
        yield made
        made.close()


@pytest.fixture
def rig(home: Rig) -> Iterator[Rig]:
    """Whatever the test's commands do: the keeper, the worker and the bystander live on."""
    keepers, workers = home.keepers(), home.queue.live_workers()
    yield home
    assert (home.keepers(), home.queue.live_workers()) == (keepers, workers)
    assert home.state(1) == "running"
    assert alive(home.pid_of(1))


def ends(rig: Rig, argv: list[str], **more: Any) -> tuple[int, list[tuple[str, int | None]]]:
    """Run this to its end: its job, and how its attempts ended."""
    (job,) = rig.add_all([{"argv": argv, "retries": 0, **more}])
    rig.reaches(job, "succeeded", "dead", "cancelled")
    return job, rig.outcomes(job)


def written(rig: Rig, job: int) -> bytes:
    return (rig.run_dir(job) / "output").read_bytes()


def test_each_signal_is_recorded_as_the_one_that_it_was(rig: Rig) -> None:
    numbers = sorted(int(n) for n in signal.valid_signals() - {signal.SIGSTOP})
    script = "import os, sys; n = int(sys.argv[1]); "
    script += "__import__('ctypes').CDLL(None).kill(os.getpid(), n); os._exit(7)"
    first = "import signal; [signal.signal(n, signal.SIG_DFL) for n in signal.valid_signals() - {9, 19}]; "
    jobs = rig.add_all([{"argv": [*PYTHON, first + script, str(n)], "retries": 0} for n in numbers])
    for job, number in zip(jobs, numbers, strict=True):
        rig.reaches(job, "dead")
        lives = number in IGNORED | OF_TERMINALS
        assert rig.outcomes(job) == [("exited", 7) if lives else ("signalled", number)], signal.strsignal(number)
    claims.tried("processes", signals=len(numbers))
    claims.tried("truth", signals=len(numbers))


@pytest.mark.parametrize(("value", "code"), [("256 + 3", 3), ("-1", 255), ("65535", 255), ("256", 0)])
def test_a_huge_exit_value_is_what_the_system_makes_of_it(rig: Rig, value: str, code: int) -> None:
    assert ends(rig, [*PYTHON, f"import os; os._exit({value})"])[1] == [("exited", code)]


def test_a_core_dump_is_the_signal_that_it_was(rig: Rig) -> None:
    script = "import os, resource; h = resource.getrlimit(4)[1]; resource.setrlimit(4, (h, h)); os.abort()"
    assert ends(rig, [*PYTHON, script])[1] == [("signalled", signal.SIGABRT)]


STREAMS = {
    "closed": ("exec >&- 2>&- <&-; echo gone; exit 3", 3, b""),
    "all descriptors, the lock with them": (
        f"{sys.executable} -I -S -c 'import os; os.closerange(0, 1000); os._exit(4)'",
        4,
        b"",
    ),
    "the flock let go": (f"{sys.executable} -I -S -c 'import fcntl; fcntl.flock(198, 8); raise SystemExit(5)'", 5, b""),
    "silent": ("exit 6", 6, b""),
    "NUL and no UTF-8": (r"printf '\000\377\300\200\r\033[2J'; exit 7", 7, b"\0\xff\xc0\x80\r\x1b[2J"),
    "exec after exec": (f"exec sh -c 'exec {sys.executable} -I -S -c \"import os; os._exit(8)\"'", 8, b""),
    "no terminal": ("(: </dev/tty) 2>&1 | grep -c tty; exit 9", 9, b"1\n"),
    "a file that is full": ("exec >/dev/full; echo x || exit 10", 10, None),
}


@pytest.mark.parametrize("name", STREAMS)
def test_what_it_does_to_its_streams_is_its_own_affair(rig: Rig, name: str) -> None:
    script, code, output = STREAMS[name]
    job, outcomes = ends(rig, ["sh", "-c", script])
    assert outcomes == [("exited", code)]
    assert output in (None, written(rig, job))


# What a command may do to runq's own files about it; each then exits with 6.
FILES = {
    "record truncated": f": > {RUN}/record",
    "record overwritten": f"printf forged > {RUN}/record",
    "record removed": f"rm {RUN}/record",
    "record replaced by a copy": f"cp {RUN}/record x.$$; mv x.$$ {RUN}/record",
    "record made a link": f"rm {RUN}/record; ln -s /dev/zero {RUN}/record",
    "record made a FIFO": f"rm {RUN}/record; mkfifo {RUN}/record",
    "record made a folder": f"rm {RUN}/record; mkdir {RUN}/record; touch {RUN}/record/x",
    "output truncated": f"echo much; : > {RUN}/output",
    "output removed": f"rm {RUN}/output",
    "output made a FIFO": f"rm {RUN}/output; mkfifo {RUN}/output",
    "output made a folder": f"rm {RUN}/output; mkdir {RUN}/output",
    "output made a link": f"rm {RUN}/output; ln -s /etc/passwd {RUN}/output",
    "folder removed": f"rm -rf {RUN}",
    "folder made a file": f"rm -rf {RUN}; echo x > {RUN}",
    "folder made a link": f"mv {RUN} moved.$$; ln -s $PWD/moved.$$ {RUN}",
    "job's folder removed": f"rm -rf {JOB}",
    "job's folder made a link": f"mv {JOB} jobs.$$; ln -s $PWD/jobs.$$ {JOB}",
    "nothing may be written": f"chmod 0 {RUN}",
}


@pytest.mark.parametrize("name", FILES)
def test_what_it_does_to_its_own_files_changes_no_result_and_holds_up_nobody(rig: Rig, name: str) -> None:
    job, outcomes = ends(rig, ["sh", "-c", f"{FILES[name]}; exit 6"])
    assert outcomes == [("exited", 6)]
    assert rig.status(job)["output_tail"] in ("", "much\n")
    record = records.read(str(rig.run_dir(job)))
    assert record and record.end and record.end.status is not None
    assert os.waitstatus_to_exitcode(record.end.status) == 6, "the true record is put back"


CHILDREN = {
    "zombies": (
        "import os, time\nfor _ in range(50):\n    if not os.fork(): os._exit(0)\n"
        "print('up', flush=True)\ntime.sleep(99)"
    ),
    "a subreaper with orphans": (
        "import ctypes, os, time\nctypes.CDLL(None).prctl(36, 1)\n"
        "if not os.fork():\n    os.setsid()\n    os.fork() or time.sleep(99)\n    os._exit(0)\n"
        "print('up', flush=True)\ntime.sleep(99)"
    ),
    "PDEATHSIG": "import ctypes, time\nctypes.CDLL(None).prctl(1, 9)\nprint('up', flush=True)\ntime.sleep(99)",
    "a storm of forks": (
        "import os, time\nfor _ in range(120):\n    if not os.fork():\n        os.setsid()\n        time.sleep(99)\n"
        "print('up', flush=True)\ntime.sleep(99)"
    ),
    "other process groups": (
        "import os, time\nfor _ in range(5):\n    if not os.fork():\n        os.setpgid(0, 0)\n        time.sleep(99)\n"
        "print('up', flush=True)\ntime.sleep(99)"
    ),
    "every signal blocked": (
        "import os, signal, time\nsignal.pthread_sigmask(signal.SIG_BLOCK, signal.valid_signals())\n"
        "os.fork()\nprint('up', flush=True)\ntime.sleep(99)"
    ),
    "every signal ignored": (
        "import os, signal, time\n[signal.signal(n, 1) for n in signal.valid_signals() - {9, 19}]\n"
        "os.fork()\nprint('up', flush=True)\ntime.sleep(99)"
    ),
    "stopped, children too": (
        "import os, time\nos.fork()\nprint('up', flush=True)\nos.kill(os.getpid(), 19)\ntime.sleep(99)"
    ),
    "stopped like a terminal's": (
        "import os, time\nif not os.fork():\n    os.setpgid(0, 0)\n    os.kill(0, 20)\n"
        "print('up', flush=True)\ntime.sleep(99)"
    ),
    "a daemon, forked twice": (
        "import os, time\nif not os.fork():\n    os.setsid()\n    if os.fork(): os._exit(0)\n"
        "    os.closerange(0, 1000)\n    time.sleep(99)\nprint('up', flush=True)\ntime.sleep(99)"
    ),
    "a daemon that drops its environment": (
        "import os, sys, time\nif not os.fork():\n    os.setsid()\n    if os.fork(): os._exit(0)\n"
        "    os.execve(sys.executable, [sys.executable, '-c', 'import time; time.sleep(99)', 'RUNQ_STRAY'], {})\n"
        "print('up', flush=True)\ntime.sleep(99)"
    ),
    "children that grow back": (
        "import os, signal, time\nsignal.signal(15, lambda *_: os.fork())\nos.fork()\nprint('up', flush=True)\n"
        "while True: time.sleep(9)"
    ),
}


def of_job(rig: Rig, job: int) -> list[int]:
    """Whatever runs for a job: in its session, with its lock or its token; zombies do not."""
    session = rig.pid_of(job)
    lock = os.stat(rig.run_dir(job) / "record")
    names = {f"RUNQ_JOB_ID={job}".encode(), f"RUNQ_HOME={rig.queue.home.data}".encode()}  # others' jobs have ids, too
    found: list[int] = []
    for name in filter(str.isdigit, os.listdir("/proc")):
        with suppress(OSError):
            fd = Path(f"/proc/{name}/fd/198")
            ours = fd.exists() and (fd.stat().st_ino, fd.stat().st_dev) == (lock.st_ino, lock.st_dev)
            ours = ours or os.getsid(int(name)) == session
            ours = ours or names <= {*Path(f"/proc/{name}/environ").read_bytes().split(b"\0")}
            if ours and alive(int(name)):
                found.append(int(name))
    return found


def is_up(rig: Rig, job: int) -> bool:
    """Wait until it has said so, or was ended before it could."""

    def says() -> bool:
        return (rig.run_dir(job) / "output").exists() and bool(written(rig, job))

    wait_until(lambda: rig.state(job) not in ("available", "running") or says(), "it is up", PATIENCE)
    return says()


@pytest.mark.parametrize("how", ["cancel", "time-out"])
@pytest.mark.parametrize("name", CHILDREN)
def test_a_cancel_and_a_time_out_end_all_of_it(rig: Rig, name: str, how: str) -> None:
    job, members = 0, list[int]()
    for more in [{"timeout": seconds} for seconds in TIME_OUTS] if how == "time-out" else [{}]:
        (job,) = rig.add_all([{"argv": [*PYTHON, CHILDREN[name]], "retries": 0, **more}])
        members = of_job(rig, job) if is_up(rig, job) else []
        if how == "cancel":
            rig.runq("cancel", str(job))
        ended = rig.reaches(job, "cancelled", "dead")
        assert ended.outcome == ("timed_out" if how == "time-out" else "cancelled")
        if members:  # it was up by then
            break
    assert members
    wait_until(lambda: not any(map(alive, members)) and not of_job(rig, job), f"{members} are gone", PATIENCE)
    claims.tried("processes", ended=len(members))


def test_what_drops_session_token_and_lock_escapes_and_harms_nobody(rig: Rig) -> None:
    """Not promised: nothing names it any more. It is the command's own child, and holds up no other."""
    script = (
        "import os, sys, time\nif not os.fork():\n    os.setsid()\n    if os.fork(): os._exit(0)\n"
        "    f = open('escaped', 'w'); f.write(str(os.getpid())); f.flush(); os.closerange(0, 1000)\n"
        "    os.execve('/bin/sleep', ['sleep', '99'], {})\n"
        "while not os.path.exists('escaped') or not open('escaped').read(): time.sleep(0.01)\n"
        "print('up', flush=True)\ntime.sleep(99)"
    )
    (job,) = rig.add_all([{"argv": [*PYTHON, script], "retries": 0}])
    wait_until(lambda: (rig.run_dir(job) / "output").exists() and written(rig, job), "it is up", PATIENCE)
    pid = int((rig.folder / "escaped").read_text())
    try:
        wait_until(lambda: b"sleep" in Path(f"/proc/{pid}/cmdline").read_bytes(), "it has changed", PATIENCE)
        rig.runq("cancel", str(job))
        assert rig.reaches(job, "cancelled").outcome == "cancelled"
        assert alive(pid)
    finally:
        os.kill(pid, signal.SIGKILL)


def test_a_flood_is_held_near_its_cap_and_ends_with_its_cancel(rig: Rig) -> None:
    (job,) = rig.add_all([{"argv": ["yes"], "retries": 0}])
    path = rig.run_dir(job) / "output"
    wait_until(lambda: path.exists() and path.stat().st_size > 16 << 20, "it floods", PATIENCE)
    rig.runq("cancel", str(job))
    rig.reaches(job, "cancelled")
    assert path.stat().st_size < 5 << 20
    assert set(path.read_bytes()[:1000]) == set(b"y\n")


def test_a_folder_in_the_way_of_the_next_attempt_costs_its_own_job_alone(rig: Rig) -> None:
    """Others are claimed at once, and go on being claimed; a replay has another number and runs."""
    job = rig.sh(f"[ $RUNQ_CLAIM -gt 2 ] || mkdir {JOB}/2; exit 1", "--retries", "3", "--backoff-base", "0.05")
    ended = rig.reaches(job, "dead")
    assert rig.outcomes(job) == [("exited", 1), ("spawn_failed", None)]
    assert f"runs/{job}/2 is in the way" in (ended.reason or "")
    log = rig.log()
    assert "was not started" not in log[log.index(f"job {job} claim 2") :], "the worker takes no rest"
    rig.runq("dead", "retry", str(job))
    wait_until(lambda: ("exited", 1) in rig.outcomes(job)[2:], "it has run again", PATIENCE)


@pytest.mark.parametrize("planted", ["link", "file", "stdin"])
def test_what_is_planted_as_the_jobs_folder_or_input_is_never_followed(rig: Rig, planted: str) -> None:
    elsewhere = rig.folder / f"elsewhere.{planted}"
    elsewhere.mkdir()
    plant = {
        "link": f"mv {JOB} gone.$$; ln -s {elsewhere} {JOB}",
        "file": f"mv {JOB} gone.$$; : > {JOB}",
        "stdin": f"mkdir -p {JOB}/2.stdin/x",
    }[planted]
    # Left behind by the command, and later than its end: what it plants itself, its keeper clears away then.
    gate = rig.gate(f"gate.{planted}")
    script = f"({gate.wait}; {plant}; touch planted.{planted}) > /dev/null 2>&1 & exit 1"
    job = rig.sh(script, "--retries", "1", "--backoff-base", "600", "--stdin", "-", input="read me")
    rig.reaches(job, "scheduled")
    gate.open()
    rig.wrote(f"planted.{planted}")
    rig.make_due(job)
    ended = rig.reaches(job, "dead")
    assert rig.outcomes(job) == [("exited", 1), ("spawn_failed", None)]
    assert "is in the way" in (ended.reason or "")
    assert list(elsewhere.iterdir()) == []


def test_a_command_in_a_terminal_gets_none(rig: Rig, tmp_path: Path) -> None:
    """Run by hand in a real terminal: no controlling terminal, none among its descriptors, none to be had."""
    other = Rig(tmp_path)
    try:
        look = "import os; print(sum(os.isatty(n) for n in (0, 1, 2)), flush=True); open('/dev/tty')"
        job = other.add("--retries", "0", "--", *PYTHON, look)
        line = " ".join([*CLI, "process-queue"])
        subprocess.run(
            ["script", "-qec", line, "/dev/null"],
            env=other.env,
            cwd=other.folder,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            check=True,
            timeout=60,
        )
        assert other.outcomes(job) == [("exited", 1)]
        shown = (other.run_dir(job) / "output").read_text()
        assert shown.startswith("0\n") and "No such device or address: '/dev/tty'" in shown
    finally:
        other.close()

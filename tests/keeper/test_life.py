"""Who dies when: nothing that happens to a worker or a connection reaches a command."""

import os
import resource
import signal
import socket
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from queue_core.keeper import boot, protocol, verdict
from queue_core.keeper.protocol import KeeperError, KeeperGone
from tests.helpers import descriptors, wait_until

from .conftest import Rig, alive

UNTIL_GO = "echo ready; while [ ! -e go ]; do sleep 0.02; done; echo done; exit 9"


def go(rig: Rig) -> None:
    (rig.home / "go").touch()


def test_a_keeper_without_work_leaves_with_its_worker(rig: Rig) -> None:
    rig.socket.close()
    rig.wait()
    assert not protocol.alive(rig.dir)
    assert not os.path.exists(os.path.join(rig.dir, "socket"))
    with pytest.raises(KeeperGone):
        protocol.connect(rig.dir)


def test_a_worker_that_dies_does_not_reach_its_command(rig: Rig) -> None:
    rig.sh(1, UNTIL_GO)
    rig.said(1, b"ready")
    rig.socket.close()
    assert verdict.look(str(rig.run_dir(1)), rig.dir)[0] == verdict.ASK_KEEPER
    go(rig)
    rig.wait()  # the keeper leaves as the last command has ended
    found, record = verdict.look(str(rig.run_dir(1)), rig.dir)
    assert found == verdict.SETTLE
    assert record and record.end and record.end.status is not None
    assert os.waitstatus_to_exitcode(record.end.status) == 9
    assert rig.output(1) == b"ready\ndone\n"


def test_what_a_dead_worker_had_still_asked_for_is_done(rig: Rig) -> None:
    os.kill(rig.pid, signal.SIGSTOP)
    rig.sh(1, "exit 4")
    rig.socket.close()
    os.kill(rig.pid, signal.SIGCONT)
    rig.wait()
    assert (end := rig.record(1).end) and end.status is not None and os.WEXITSTATUS(end.status) == 4


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGINT, signal.SIGTERM])
def test_signals_of_a_session_that_ends_do_not_end_the_keeper(rig: Rig, number: int) -> None:
    os.kill(rig.pid, number)
    rig.sh(1, "exit 0")
    assert rig.end(1).status == 0
    assert os.getsid(rig.pid) == rig.pid


def test_an_adopted_command_is_told_of_and_ended_over_the_second_connection(rig: Rig) -> None:
    rig.sh(1, UNTIL_GO)
    rig.sh(2, "echo ready; sleep 60")
    rig.said(1, b"ready"), rig.said(2, b"ready")
    rig.socket.close()
    second = rig.other()
    second.send(protocol.watch([(1, 1), (2, 1), (2, 7)]))
    answer = second.next("watching")
    assert (answer["running"], answer["unknown"]) == ([[1, 1], [2, 1]], [[2, 7]])
    go(rig)
    status = second.end(1).status
    assert status is not None and os.WEXITSTATUS(status) == 9
    second.send(protocol.end((2, 1), "interrupted"))
    assert second.end(2).reason == "interrupted"
    second.socket.close()
    rig.wait()


def test_a_claim_that_has_ended_is_told_to_who_watches_it(rig: Rig) -> None:
    rig.sh(1, "exit 3")
    first = rig.end(1)
    second = rig.other()
    second.send(protocol.watch([(1, 1)]))
    assert second.next("watching") == {"op": "watching", "running": [], "unknown": []}
    assert second.end(1) == first


def test_unknown_is_a_promise(rig: Rig) -> None:
    second = rig.other()
    second.send(protocol.watch([(1, 1)]))
    assert second.next("watching")["unknown"] == [[1, 1]]
    rig.sh(1, "echo never")
    assert "given up" in rig.next("refused", 1)["error"]
    assert not rig.run_dir(1).exists()
    rig.sh(1, "echo the next claim", claim=2)
    assert rig.end(1).status == 0


def test_a_command_that_lost_its_keeper_lives_on_alone_and_is_lost_when_it_ends(rig: Rig) -> None:
    rig.sh(1, UNTIL_GO)
    rig.said(1, b"ready")
    rig.kill()
    assert verdict.look(str(rig.run_dir(1)), rig.dir)[0] == verdict.ALONE
    go(rig)
    wait_until(lambda: verdict.look(str(rig.run_dir(1)), rig.dir)[0] == verdict.LOST, "the command ends")
    assert rig.output(1) == b"ready\ndone\n"


def test_a_command_that_closed_its_lock_is_still_seen_alone_by_its_pid(rig: Rig) -> None:
    rig.python(1, "import os; print('ready', flush=True); os.closerange(0, 1000); os.kill(os.getpid(), 19)")
    rig.said(1, b"ready")
    start = wait_until(lambda: rig.record(1).start, "the start")
    pid = wait_until(lambda: (s := rig.record(1).start) and s.pid, "the process is recorded")
    wait_until(lambda: " T " in Path(f"/proc/{pid}/stat").read_text(), "all is closed")
    rig.kill()
    assert start and verdict.look(str(rig.run_dir(1)), rig.dir)[0] == verdict.ALONE
    os.kill(pid, signal.SIGKILL)
    wait_until(lambda: verdict.look(str(rig.run_dir(1)), rig.dir)[0] == verdict.LOST, "the command ends")


def test_what_a_command_left_behind_does_not_hide_its_end(rig: Rig) -> None:
    rig.sh(1, "sleep 60 &")
    rig.end(1)
    rig.kill()
    assert verdict.records.locked(str(rig.run_dir(1)))
    assert verdict.look(str(rig.run_dir(1)), rig.dir)[0] == verdict.SETTLE


def test_a_claim_that_its_dead_keeper_never_saw_was_never_started(rig: Rig) -> None:
    rig.kill()
    assert verdict.look(str(rig.run_dir(1)), rig.dir)[0] == verdict.NEVER_STARTED


def test_a_claim_without_a_record_from_before_the_machine_restarted_is_lost(rig: Rig) -> None:
    rig.kill()
    Path(rig.dir, "boot").write_text("another boot")
    assert verdict.look(str(rig.run_dir(1)), rig.dir)[0] == verdict.LOST


def test_a_stopped_keeper_is_alive(rig: Rig) -> None:
    os.kill(rig.pid, signal.SIGSTOP)
    assert protocol.alive(rig.dir)
    with pytest.raises(KeeperError, match="did not answer"):
        protocol.ask(rig.dir, {"op": "hello"}, timeout=0.05)
    os.kill(rig.pid, signal.SIGCONT)
    assert protocol.ask(rig.dir, {"op": "hello"})["pid"] == rig.pid


@pytest.mark.parametrize("garbage", [b"\xff\xfe\n", b"[]\n", b"{\n", b"[" * 100_000 + b"\n", b"null\n"])
def test_garbage_closes_its_own_connection_only(rig: Rig, garbage: bytes) -> None:
    second = rig.other()
    second.socket.sendall(garbage)
    assert second.hung_up()
    rig.sh(1, "exit 0")
    assert rig.end(1).status == 0


@pytest.mark.parametrize("message", [{}, {"op": "dance"}, {"op": []}, {"op": "spawn"}, {"op": "watch", "claims": 1}])
def test_a_message_without_sense_is_answered(rig: Rig, message: dict[str, object]) -> None:
    assert protocol.ask(rig.dir, message)["op"] == "error"
    assert protocol.ask(rig.dir, {"op": "hello"})["running"] == 0


def test_who_does_not_read_is_given_up_and_the_others_are_served(rig: Rig) -> None:
    slow = rig.other()
    slow.socket.settimeout(20)
    try:
        for _ in range(100):
            slow.socket.sendall(protocol.encode({"op": "hello"}) * 5000)
    except (ConnectionError, BrokenPipeError):
        pass
    assert slow.hung_up()
    rig.sh(1, "exit 0")
    assert rig.end(1).status == 0


def test_half_a_message_waits_for_its_other_half(rig: Rig) -> None:
    second = rig.other()
    wire = protocol.encode({"op": "hello"})
    second.socket.sendall(wire[:5])
    assert protocol.ask(rig.dir, {"op": "hello"})
    second.socket.sendall(wire[5:])
    assert second.next("hello")


def test_a_path_that_is_too_long_for_a_socket_is_no_hindrance(tmp_path: Path) -> None:
    keeper_dir = str(tmp_path / ("a" * 100) / ("b" * 100) / "k")
    started = boot.start(keeper_dir)
    with started.socket:
        assert protocol.ask(keeper_dir, {"op": "hello"})["pid"] == started.pid
        with socket.socket(socket.AF_UNIX) as connection:
            protocol._connect_through_link(connection, keeper_dir)  # the way without /proc
            assert connection.getpeername()
    os.waitpid(started.pid, 0)


def test_a_directory_that_is_in_use_starts_no_second_keeper(rig: Rig) -> None:
    with pytest.raises(KeeperError, match="new folder"):
        boot.start(rig.dir)


def test_a_keeper_that_does_not_come_up_says_why(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot, "_CODE", "raise SystemExit('broken on purpose')")
    with pytest.raises(KeeperError, match="broken on purpose"):
        boot.start(str(tmp_path / "keepers" / "k1"))
    monkeypatch.setattr(sys, "executable", "/no/such/python")
    with pytest.raises(KeeperError, match="/no/such/python"):
        boot.start(str(tmp_path / "keepers" / "k2"))


def test_a_keeper_that_can_write_nothing_says_that(tmp_path: Path) -> None:
    """Not even why it ends: its complaint has no room either. (A limit stands for a full disk, and needs no root.)"""
    script = (
        "import resource, sys; from queue_core.errors import KeeperError; from queue_core.keeper import boot\n"
        "resource.setrlimit(resource.RLIMIT_FSIZE, (0, 0))\n"
        "try: boot.start(sys.argv[1])\n"
        "except KeeperError as error: print(error)\n"
    )
    folder = tmp_path / "k1"
    done = subprocess.run([sys.executable, "-c", script, str(folder)], capture_output=True, text=True, check=True)
    assert done.stdout == f"The keeper did not start: nothing can be written to {folder} (File too large).\n"


def test_a_keeper_that_says_nothing_is_put_down(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(boot, "_CODE", "import time; time.sleep(60)")
    with pytest.raises(KeeperError, match="did not start in time"):
        boot.start(str(tmp_path / "k1"), timeout=0.1)


def test_a_keeper_inherits_nothing_from_its_worker(tmp_path: Path) -> None:
    """Neither descriptors, nor variables, nor blocked signals."""
    script = (
        "import os, signal, sys; from queue_core.keeper import boot\n"
        "signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGCHLD, signal.SIGTERM]); os.dup2(0, 77)\n"
        "started = boot.start(sys.argv[1]); print(started.pid, flush=True); sys.stdin.read()"
    )
    environment = os.environ | {"SECRET": "x", "PYTHONPATH": str(Path(__file__).parents[2])}
    worker = subprocess.Popen(
        [sys.executable, "-c", script, str(tmp_path / "k")],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        env=environment,
    )
    assert worker.stdin and worker.stdout
    pid = int(worker.stdout.readline())
    links = descriptors(pid)
    assert 77 not in links
    assert links[0] == links[1] == "/dev/null" and links[2].endswith("/log")
    assert b"SECRET" not in Path(f"/proc/{pid}/environ").read_bytes()
    assert "SigBlk:\t0000000000000000" in Path(f"/proc/{pid}/status").read_text()
    worker.communicate()
    wait_until(lambda: not alive(pid), "the keeper leaves")


def test_a_log_that_cannot_be_written_does_not_end_the_keeper(rig: Rig) -> None:
    rig.sh(1, "echo ready; exec sleep 60")
    rig.said(1, b"ready")
    limit = resource.prlimit(rig.pid, resource.RLIMIT_FSIZE, (0, resource.RLIM_INFINITY))
    rig.send(protocol.end((1, 1), "cancelled"))
    assert rig.end(1).reason == "cancelled"  # told, though neither record nor log took it
    resource.prlimit(rig.pid, resource.RLIMIT_FSIZE, limit)
    assert rig.record(1).end is None and os.path.getsize(os.path.join(rig.dir, "log")) == 0
    assert protocol.ask(rig.dir, {"op": "hello"})["running"] == 0


def test_a_keeper_is_lean(rig: Rig) -> None:
    """What a keeper costs while commands run: memory, modules, threads, processor time when idle."""
    rig.sh(1, UNTIL_GO, cap=1000, timeout=60.0)
    rig.said(1, b"ready")
    status = dict(line.split(":", 1) for line in Path(f"/proc/{rig.pid}/status").read_text().splitlines())
    assert int(status["VmRSS"].split()[0]) < 16_000
    assert int(status["Threads"]) == 1
    go(rig)
    rig.end(1)


def test_a_keeper_imports_no_heavy_module() -> None:
    code = "import sys; sys.path.append(sys.argv[1]); import queue_core.keeper.main; print(*sys.modules)"
    root = str(Path(__file__).parents[2])
    run = subprocess.run([sys.executable, "-I", "-S", "-c", code, root], capture_output=True, text=True, check=True)
    heavy = "json re enum signal socket selectors asyncio subprocess threading dataclasses typing ctypes sqlite3"
    assert not set(run.stdout.split()) & set(heavy.split())
    assert "resource" in run.stdout.split()  # or else the first wait4 imports it
    assert len([name for name in run.stdout.split() if name.startswith("queue_core")]) < 20


def test_the_socket_is_out_of_reach_of_other_users(rig: Rig) -> None:
    assert stat.S_IMODE(os.stat(rig.dir).st_mode) & 0o077 == 0

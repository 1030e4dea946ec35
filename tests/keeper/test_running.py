"""A command runs as if nobody had started it: true ends, nothing added, nothing inherited."""

import os
import signal
import stat
from pathlib import Path

import pytest

from queue_core.keeper import protocol, records, verdict
from tests.helpers import wait_until

from .conftest import Rig, alive

pytestmark = pytest.mark.claim("processes")


def test_an_exit_code_is_told_as_it_was(rig: Rig) -> None:
    rig.sh(1, "exit 37")
    end = rig.end(1)
    assert end.status is not None
    assert os.waitstatus_to_exitcode(end.status) == 37
    assert (end.reason, end.error) == (None, None)


def test_a_signal_is_not_mistaken_for_an_exit_code(rig: Rig) -> None:
    rig.sh(1, "kill -SEGV $$")
    rig.sh(2, "exit 139")
    killed, exited = rig.end(1).status, rig.end(2).status
    assert killed is not None and os.WIFSIGNALED(killed) and os.WTERMSIG(killed) == signal.SIGSEGV
    assert exited is not None and os.WEXITSTATUS(exited) == 139


def test_the_record_on_disk_says_what_the_message_said(rig: Rig) -> None:
    rig.sh(7, "echo hello")
    end = rig.end(7)
    record = rig.record(7)
    assert record.end == end
    assert record.start is not None
    assert (record.start.job, record.start.claim, record.start.keeper) == (7, 1, "k1")
    assert record.start.started_at <= end.ended_at
    assert end.output_bytes == 6 and end.cut_bytes == 0 and end.max_rss > 0


def test_arguments_and_environment_pass_through_unchanged_even_if_they_are_no_text(rig: Rig) -> None:
    odd = b"\xff\xfe 'quoted' $HOME\n\xc3\xa9 \xed\xa0\x80".decode("utf-8", "surrogateescape")
    env = {"ODD": odd, "é": "1", "EMPTY": ""}
    script = "import sys,os; w=sys.stdout.buffer.write; w(repr(sys.orig_argv[0]).encode()); "
    script += "w(b'|'.join(map(os.fsencode, sys.argv[1:]))); w(b'#'); w(open('/proc/self/environ','rb').read())"
    job = rig.job(1, "/proc/self/exe", env=env, token=None)
    job["program"] = os.path.realpath(os.sys.executable)  # type: ignore[attr-defined]
    job["argv"] = ["my name", "-I", "-S", "-c", script, odd, "", "--x=y"]
    rig.send(protocol.spawn([job]))
    assert rig.end(1).status == 0
    name_and_args, _, environ = rig.output(1).partition(b"#")
    raw = os.fsencode(odd)
    assert name_and_args == b"'my name'" + raw + b"||--x=y"
    assert sorted(environ.split(b"\0")[:-1]) == sorted([b"ODD=" + raw, "é=1".encode(), b"EMPTY="])


def test_the_claims_token_is_in_the_commands_environment(rig: Rig) -> None:
    rig.sh(1, 'printf %s "$RUNQ_CLAIM_TOKEN"', token="abc", env={"RUNQ_CLAIM_TOKEN": "of an outer job"})
    rig.end(1)
    assert rig.output(1) == b"abc"


def test_the_working_directory_is_the_commands_alone(rig: Rig, tmp_path: Path) -> None:
    inner = tmp_path / os.fsdecode(b"\xff dir")
    inner.mkdir()
    rig.sh(1, "pwd -P", cwd=str(inner))
    rig.sh(2, "pwd -P", cwd="/")
    assert rig.end(1).status == 0 and rig.end(2).status == 0
    assert rig.output(1) == os.fsencode(inner) + b"\n"
    assert rig.output(2) == b"/\n"
    assert os.readlink(f"/proc/{rig.pid}/cwd") == rig.dir


def test_stdin_is_the_null_device_or_a_file(rig: Rig, tmp_path: Path) -> None:
    (tmp_path / "in").write_bytes(b"\x00\xff bytes\n")
    rig.spawn(1, "/bin/cat", stdin=str(tmp_path / "in"))
    rig.spawn(2, "/bin/cat")
    rig.end(1), rig.end(2)
    assert rig.output(1) == b"\x00\xff bytes\n"
    assert rig.output(2) == b""


def test_a_stdin_file_blocks_as_any_other(rig: Rig) -> None:
    (rig.home / "in").touch()
    rig.python(1, "import os; print(os.get_blocking(0))", stdin=str(rig.home / "in"))
    rig.end(1)
    assert rig.output(1) == b"True\n"


def test_the_keeper_lets_go_of_a_claim_that_has_ended(rig: Rig) -> None:
    def descriptors() -> set[str]:
        return set(os.listdir(f"/proc/{rig.pid}/fd"))

    before = descriptors()
    for job in range(5):
        rig.sh(job, "echo x", cap=1000)
        rig.end(job)
        assert not records.locked(str(rig.run_dir(job)))
    rig.spawn(9, "/no/such/program")
    rig.end(9)
    assert descriptors() == before
    assert "198" in before  # taken, so that no file of the keeper's own ever gets the lock's number


def test_output_and_errors_share_one_file_in_the_order_they_were_written(rig: Rig) -> None:
    rig.sh(1, "echo one; echo two >&2; echo three")
    rig.end(1)
    assert rig.output(1) == b"one\ntwo\nthree\n"


def test_only_stdio_and_the_lock_are_inherited(rig: Rig) -> None:
    rig.sh(5, "sleep 30")  # so that the keeper has other claims' files open
    rig.python(1, "import os; print(*sorted(map(int, os.listdir('/proc/self/fd'))))")
    rig.end(1)
    numbers = {int(number) for number in rig.output(1).split()}
    assert numbers - {3} == {0, 1, 2, 198}  # 3 is the directory that it lists


def test_the_lock_that_a_command_inherits_cannot_write_the_record(rig: Rig) -> None:
    rig.python(1, "import os; os.write(198, b'forged')")
    assert rig.end(1).status != 0
    assert b"Bad file descriptor" in rig.output(1)


def test_a_command_has_a_session_of_its_own_and_no_terminal(rig: Rig) -> None:
    rig.python(1, "import os; print(os.getpid(), os.getsid(0), os.getpgrp(), flush=True)\nopen('/dev/tty')")
    assert rig.end(1).status != 0
    numbers = rig.output(1).split(b"\n")[0].split()
    assert len(set(numbers)) == 1
    assert b"/dev/tty" in rig.output(1)


def test_no_signal_is_blocked_or_ignored(rig: Rig) -> None:
    rig.spawn(1, "/bin/grep", "-E", "^Sig(Blk|Ign)", "/proc/self/status")
    rig.end(1)
    real_ones = (1 << 31) - 1  # the C library keeps 32 and 33 to itself
    assert [int(line.split()[1], 16) & real_ones for line in rig.output(1).splitlines()] == [0, 0]


def test_files_of_a_claim_are_the_users_alone(rig: Rig) -> None:
    rig.sh(1, "true")
    rig.end(1)
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in rig.run_dir(1).iterdir()}
    assert modes == {"record": 0o600, "output": 0o600}
    assert stat.S_IMODE(rig.run_dir(1).stat().st_mode) == 0o700
    assert stat.S_IMODE(os.stat(rig.dir).st_mode) == 0o700


def test_a_grandchild_that_keeps_the_output_open_does_not_delay_the_end(rig: Rig) -> None:
    rig.sh(1, "sleep 60 & echo $!")
    assert rig.end(1).status == 0
    assert Path(f"/proc/{int(rig.output(1))}").exists()  # and a normal exit leaves it alone


def test_a_thousand_commands_in_batches_all_end_once(rig: Rig) -> None:
    ended: list[int] = []
    for first in range(0, 1000, 50):
        jobs = [rig.job(job, "/bin/true", cap=1000, timeout=60.0) for job in range(first, first + 50)]
        rig.send(protocol.spawn(jobs))
        ended += [rig.next("ended")["job"] for _ in jobs]
    assert sorted(ended) == list(range(1000))
    assert all((end := rig.record(job).end) and end.status == 0 for job in range(1000))


@pytest.mark.parametrize("confined", [False, True])
def test_a_command_that_wants_to_die_with_its_parent_lives_as_long_as_its_keeper(rig: Rig, confined: bool) -> None:
    """To the kernel the parent is the thread that has spawned it: an agent's command was killed when that ended."""
    many = 60
    for job in range(many):
        rig.spawn(job, "/usr/bin/setpriv", "--pdeathsig", "KILL", "true", confined=confined)
    assert [rig.end(job).status for job in range(many)] == [0] * many
    rig.spawn(many, "/usr/bin/setpriv", "--pdeathsig", "KILL", "sh", "-c", "echo up; exec sleep 60", confined=confined)
    rig.said(many, b"up")
    pid = wait_until(lambda: (s := rig.record(many).start) and s.pid, "the process is recorded")
    rig.kill()
    wait_until(lambda: not alive(pid or 0), "it dies with its keeper")
    assert verdict.look(str(rig.run_dir(many)), rig.dir, None)[0] == verdict.LOST

"""Time-outs and cancels reach the whole tree, and say so only if they came first."""

import os
import resource
import signal
from pathlib import Path

import pytest

from queue_core.keeper import ending, processes, protocol, records, verdict
from queue_core.value import replace
from tests.helpers import TIME_OUTS, wait_until

from .conftest import Rig, alive

pytestmark = pytest.mark.claim("processes")

FAR_PAST = 0.05  # a time-out that has passed before the command is looked at


def pids_in(rig: Rig, job: int, count: int) -> list[int]:
    """The pids that a command printed, once it has printed so many."""
    rig_says = lambda: rig.output(job).endswith(b"\n") and rig.output(job).split()  # noqa: E731
    words = wait_until(lambda: len(rig_says() or []) >= count and rig_says(), f"job {job} prints {count} pids")
    return [int(word) for word in words or []]


def test_a_command_that_ends_on_term_is_timed_out(rig: Rig) -> None:
    rig.sh(1, "sleep 60", timeout=FAR_PAST)
    end = rig.end(1)
    assert end.reason == "timed_out"
    assert end.status is not None and os.WTERMSIG(end.status) == signal.SIGTERM


def test_a_command_may_use_its_grace_to_end_in_its_own_way(rig: Rig) -> None:
    rig.sh(1, "trap 'echo bye; exit 3' TERM; echo ready; while :; do sleep 0.02; done")
    rig.said(1, b"ready")
    rig.send(protocol.end((1, 1), "interrupted"))
    assert rig.next("ending", 1)
    end = rig.end(1)
    assert end.reason == "interrupted"
    assert end.status is not None and os.WEXITSTATUS(end.status) == 3
    assert rig.output(1).endswith(b"bye\n")


def test_a_command_that_ignores_term_is_killed_after_its_grace(rig: Rig) -> None:
    rig.sh(1, "trap '' TERM; echo ready; while :; do sleep 0.02; done", grace=0.1)
    rig.said(1, b"ready")
    rig.send(protocol.end((1, 1), "cancelled"))
    end = rig.end(1)
    assert end.reason == "cancelled"
    assert end.status is not None and os.WTERMSIG(end.status) == signal.SIGKILL


def test_a_stopped_command_gets_to_see_its_term(rig: Rig) -> None:
    rig.sh(1, "trap 'echo bye; exit 0' TERM; echo $$; kill -STOP $$; while :; do sleep 0.02; done")
    pid = pids_in(rig, 1, 1)[0]
    wait_until(lambda: " T " in Path(f"/proc/{pid}/stat").read_text(), "the command is stopped")
    rig.send(protocol.end((1, 1), "cancelled"))
    assert rig.end(1).status == 0
    assert b"bye" in rig.output(1)


def test_a_command_whose_first_thread_has_ended_is_not_taken_for_dead(rig: Rig) -> None:
    script = "import ctypes, _thread, time; _thread.start_new_thread(time.sleep, (60,))"
    rig.python(1, f"{script}; print('ready', flush=True); ctypes.CDLL(None).pthread_exit(None)")
    rig.said(1, b"ready")
    pid = wait_until(lambda: (s := rig.record(1).start) and s.pid, "the process is recorded")
    wait_until(lambda: ") Z " in Path(f"/proc/{pid}/stat").read_text(), "the first thread has ended")
    assert records.process_alive(rig.record(1).start)
    rig.send(protocol.end((1, 1), "cancelled"))
    assert rig.end(1).reason == "cancelled"


def test_children_of_the_session_end_with_it(rig: Rig) -> None:
    rig.sh(1, "trap '' TERM; sleep 60 & echo $! $$; wait; wait", grace=0.1)
    child, command = pids_in(rig, 1, 2)
    rig.send(protocol.end((1, 1), "cancelled"))
    rig.end(1)
    assert not alive(child) and not alive(command)


def test_a_grandchild_in_a_session_of_its_own_is_found_by_the_token(rig: Rig) -> None:
    rig.sh(1, "setsid sh -c 'echo $$; exec sleep 60' & sleep 60")
    stray = pids_in(rig, 1, 1)[0]
    wait_until(lambda: os.getsid(stray) == stray, "the stray has its session")
    rig.send(protocol.end((1, 1), "cancelled"))
    rig.end(1)
    assert not alive(stray)


def test_what_is_left_of_a_timed_out_command_is_killed_before_its_end_is_told(rig: Rig) -> None:
    script = "(trap '' TERM; while :; do sleep 0.02; done) & echo $!; sleep 60"
    left: list[bytes] = []
    for job, time_out in enumerate(TIME_OUTS):
        rig.sh(job, script, timeout=time_out, grace=0.2)
        assert rig.end(job).reason == "timed_out"
        if left := rig.output(job).split():  # it was up by then
            break
    assert len(left) == 1 and not alive(int(left[0]))


def test_the_reason_stays_away_from_a_command_that_ended_by_itself(rig: Rig) -> None:
    rig.sh(1, "exit 5")
    rig.end(1)
    rig.send(protocol.end((1, 1), "cancelled"))
    assert rig.end(1).reason is None  # the answer is its end, not a second one
    assert (end := rig.record(1).end) and end.reason is None


def test_a_cancel_that_came_after_the_exit_is_no_reason_even_if_both_are_seen_at_once(rig: Rig) -> None:
    rig.sh(1, "echo $$; while [ ! -e go ]; do sleep 0.02; done; exit 6")
    pid = pids_in(rig, 1, 1)[0]
    os.kill(rig.pid, signal.SIGSTOP)
    (rig.home / "go").touch()
    wait_until(lambda: not alive(pid), "the command exits")
    rig.send(protocol.end((1, 1), "cancelled"))
    os.kill(rig.pid, signal.SIGCONT)
    end = rig.end(1)
    assert end.reason is None
    assert end.status is not None and os.WEXITSTATUS(end.status) == 6


def test_the_first_reason_stays(rig: Rig) -> None:
    rig.sh(1, "trap '' TERM; echo ready; while :; do sleep 0.02; done", grace=0.3)
    rig.said(1, b"ready")
    rig.send(protocol.end((1, 1), "interrupted"))
    rig.send(protocol.end((1, 1), "cancelled"))
    assert rig.end(1).reason == "interrupted"


def test_ending_an_unknown_claim_is_answered(rig: Rig) -> None:
    rig.send(protocol.end((99, 1), "cancelled"))
    assert rig.next("unknown", 99)["claim"] == 1


def test_another_commands_processes_are_left_alone(rig: Rig) -> None:
    rig.sh(1, "sleep 60", token="one")
    rig.sh(2, "echo $$; exec sleep 60", token="one two")
    other = pids_in(rig, 2, 1)[0]
    rig.send(protocol.end((1, 1), "cancelled"))
    rig.end(1)
    assert alive(other)


def test_a_keeper_without_descriptors_still_ends_its_commands(rig: Rig) -> None:
    rig.sh(1, "echo $$; exec sleep 60")
    pids_in(rig, 1, 1)
    before = resource.prlimit(rig.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(rig.pid, resource.RLIMIT_NOFILE, (5, before[1]))
    rig.send(protocol.end((1, 1), "cancelled"))
    rig.next("ending", 1)
    resource.prlimit(rig.pid, resource.RLIMIT_NOFILE, before)
    os.kill(pids_in(rig, 1, 1)[0], signal.SIGTERM)  # which the keeper could not send
    assert rig.end(1).reason == "cancelled"


def orphan(rig: Rig, script: str) -> tuple[records.Start, list[int]]:
    """A command that has lost its keeper, and the two pids that it printed."""
    rig.sh(1, script)
    pids = pids_in(rig, 1, 2)
    wait_until(lambda: (s := rig.record(1).start) and s.pid, "the process is recorded")
    rig.kill()
    start = rig.record(1).start
    assert start is not None and start.pid == pids[0]
    return start, pids


def test_an_orphan_is_ended_with_its_session(rig: Rig) -> None:
    start, pids = orphan(rig, "trap '' TERM; sleep 60 & echo $$ $!; wait; wait")
    assert verdict.look(str(rig.run_dir(1)), rig.dir)[0] == verdict.ALONE
    assert ending.end_orphan(start, grace=0.1)
    assert not any(map(alive, pids))
    assert verdict.look(str(rig.run_dir(1)), rig.dir)[0] == verdict.LOST


def test_what_an_orphan_left_behind_is_ended_by_its_token(rig: Rig) -> None:
    start, pids = orphan(rig, "setsid sh -c 'sleep 60' & echo $$ $!; exec sleep 60")
    wait_until(lambda: os.getsid(pids[1]) == pids[1], "it has a session of its own")
    os.kill(pids[0], signal.SIGKILL)
    wait_until(lambda: not alive(pids[0]), "the command is gone")
    assert not ending.end_orphan(start, grace=0.1)  # nothing names what is left
    assert ending.end_orphan(start, rig.job(1)["token"], grace=0.1)
    assert not any(map(alive, pids))


@pytest.mark.parametrize("change", [{"boot_id": "other"}, {"pid_namespace": 1}, {"ticks": 1}, {"pid": None}])
def test_a_process_that_may_be_another_one_gets_no_signal(rig: Rig, change: dict[str, object]) -> None:
    start, pids = orphan(rig, "sleep 60 & echo $$ $!; wait")
    assert not ending.end_orphan(replace(start, **change), grace=0.0)
    assert all(map(alive, pids))


def test_a_session_whose_number_is_somebody_elses_by_now_has_no_members(rig: Rig) -> None:
    rig.sh(1, "echo $$; exec sleep 60")
    session = pids_in(rig, 1, 1)[0]
    ticks = processes.start_ticks(session)
    assert ticks is not None
    assert ending.Tree(session, ticks, None).pids() == [session]
    assert ending.Tree(session, ticks - 1, None).pids() == []

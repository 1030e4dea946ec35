"""How commands end, and what becomes of their jobs: what is recorded is what happened."""

import json
import os
import signal

import pytest

from tests.helpers import TIME_OUTS, wait_until

from .conftest import PATIENCE, Rig, alive

pytestmark = pytest.mark.claim("truth")


@pytest.mark.parametrize("code", [0, 1, 2, 126, 127, 137, 255])
def test_exit_codes_are_the_commands_own(rig: Rig, code: int) -> None:
    job = rig.sh(f"exit {code}", "--retries", "0")
    rig.drain()
    shown = rig.status(job)
    assert (shown["outcome"], shown["exit_code"], shown["signal"]) == ("exited", code, None)
    assert shown["state"] == ("succeeded" if code == 0 else "dead")
    assert [one["exit_code"] for one in shown["attempts"]] == [code]


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGKILL, signal.SIGSEGV])
def test_a_signal_is_no_exit_code(rig: Rig, number: signal.Signals) -> None:
    job = rig.sh(f"kill -{int(number)} $$", "--retries", "0")
    rig.drain()
    shown = rig.status(job)
    assert (shown["state"], shown["outcome"], shown["exit_code"], shown["signal"]) == (
        "dead",
        "signalled",
        None,
        number,
    )


def test_both_streams_are_kept_in_the_order_of_writing(rig: Rig) -> None:
    job = rig.sh("echo one; echo two >&2; printf three")
    rig.drain()
    assert rig.output(job) == "one\ntwo\nthree"
    assert rig.status(job)["output_tail"] == "one\ntwo\nthree"
    assert rig.status(job)["attempts"][0]["output_bytes"] == 13


def test_arguments_are_passed_as_they_are(rig: Rig) -> None:
    words = ["a b", "", "$HOME", "*", "'", '"', "--", "-x", "ü€", "new\nline"]
    job = rig.add("--", "printf", "%s|", *words)
    rig.drain()
    assert rig.output(job) == "".join(word + "|" for word in words)


def test_arguments_and_output_need_not_be_utf_8(rig: Rig) -> None:
    job = int(rig.runq("add", "--", "printf", "%s", os.fsdecode(b"\xff\xfe"), env={"LC_ALL": "C.UTF-8"}).stdout)
    other = rig.sh(r"printf '\303\050 ok'")
    rig.drain()
    assert (rig.run_dir(job) / "output").read_bytes() == b"\xff\xfe"
    assert (rig.run_dir(other) / "output").read_bytes() == b"\xc3\x28 ok"
    assert rig.status(other)["output_tail"] == "�( ok"


def test_a_failed_job_runs_again_when_its_backoff_is_over(rig: Rig) -> None:
    job = rig.sh("[ -e second ] || { touch second; exit 7; }", "--retries", "2", "--backoff-base", "600")
    said = rig.drain().stderr
    waiting = rig.job(job)
    assert "1 scheduled" in said
    (first,) = waiting.attempts
    assert (waiting.state, waiting.attempt, waiting.failures) == ("scheduled", 1, 1)
    assert waiting.due_at is not None and first.finished_at is not None
    assert waiting.due_at - first.finished_at >= 600
    inner = rig.inner()
    rig.reaches(rig.sh("true"), "succeeded")
    assert rig.state(job) == "scheduled"
    real, ahead = inner.queue.clock, waiting.due_at - inner.queue.clock()
    inner.queue.clock = lambda: real() + ahead
    inner.portal.call(inner.worker.wake)
    assert rig.reaches(job, "succeeded").attempt == 2
    assert rig.outcomes(job) == [("exited", 7), ("exited", 0)]
    second = rig.job(job).attempts[1]
    assert second.started_at is not None and second.started_at >= waiting.due_at


@pytest.mark.parametrize(
    ("backoff", "delays"),
    [("immediate", [0, 0, 0]), ("linear", [0.1, 0.2, 0.3]), ("exponential", [0.1, 0.2, 0.4])],
)
def test_each_retry_waits_for_its_own_due_time(rig: Rig, backoff: str, delays: list[float]) -> None:
    job = rig.sh("exit 1", "--retries", "3", "--backoff", backoff, "--backoff-base", "0.1")
    rig.worker()
    attempts = rig.reaches(job, "dead").attempts
    assert len(attempts) == 4
    for before, after, delay in zip(attempts, attempts[1:], delays, strict=False):
        assert before.finished_at is not None and after.started_at is not None
        assert after.started_at - before.finished_at >= delay


def test_a_dead_letter_is_kept_until_it_is_replayed(rig: Rig) -> None:
    gate = rig.gate()
    job = rig.sh(f"[ -e {gate.path} ]", "--retries", "1")
    rig.worker()
    assert rig.reaches(job, "dead").attempt == 2
    assert [one["id"] for one in json.loads(rig.runq("dead", "list", "--json").stdout)["jobs"]] == [job]
    gate.open()
    rig.runq("dead", "retry", str(job))
    again = rig.reaches(job, "succeeded")
    assert (again.attempt, again.max_attempts, again.failures) == (3, 4, 0)
    assert rig.outcomes(job) == [("exited", 1), ("exited", 1), ("exited", 0)]


def test_a_program_removed_after_it_was_added_is_dead_at_once(rig: Rig) -> None:
    program = rig.folder / "tool"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o700)
    job = rig.add("--retries", "5", "--", str(program))
    program.unlink()
    rig.drain()
    shown = rig.status(job)
    assert (shown["state"], shown["outcome"], shown["attempt"]) == ("dead", "spawn_failed", 1)
    assert str(program) in shown["error"] and "does not exist" in shown["error"]


def test_a_folder_removed_after_it_was_added_is_dead_at_once(rig: Rig) -> None:
    folder = rig.folder / "project"
    folder.mkdir()
    job = rig.add("--retries", "5", "--cwd", str(folder), "--", "true")
    folder.rmdir()
    rig.drain()
    shown = rig.status(job)
    assert (shown["state"], shown["outcome"], shown["attempt"]) == ("dead", "spawn_failed", 1)
    assert str(folder) in shown["error"]


def test_a_time_out_ends_the_whole_tree_even_if_it_ignores_term(rig: Rig) -> None:
    """Under a setsid grandchild and a child that ignores TERM, the time-out is the job's and counts as failed."""
    script = (
        "trap '' TERM; setsid sh -c 'trap \"\" TERM; echo $$ >> tree; while :; do sleep 0.05; done' &"
        " echo $$ >> tree; while :; do sleep 0.05; done"
    )
    rig.worker(RUNQ_GRACE="0.1")
    job, pids = 0, list[str]()
    for time_out in TIME_OUTS:
        (rig.folder / "tree").unlink(missing_ok=True)
        job = rig.sh(script, "--timeout", str(time_out), "--retries", "0")
        ended = rig.reaches(job, "dead")
        assert ended.reason == "ran longer than its time-out"
        if len(pids := rig.lines("tree")) == 2:  # it was up by then
            break
    assert rig.outcomes(job) == [("timed_out", signal.SIGKILL)]
    assert len(pids) == 2 and not any(alive(int(pid)) for pid in pids)


def test_a_time_out_is_retried_like_any_failure(rig: Rig) -> None:
    job = rig.sh("[ $RUNQ_CLAIM = 2 ] || exec sleep 60", "--timeout", "1.5", "--retries", "1")
    rig.worker()
    rig.reaches(job, "succeeded")
    assert rig.outcomes(job) == [("timed_out", signal.SIGTERM), ("exited", 0)]


def test_what_a_command_leaves_behind_holds_nobody_up(rig: Rig) -> None:
    gate = rig.gate()
    job = rig.sh(f"({gate.wait}) & echo done")
    rig.drain()
    assert rig.state(job) == "succeeded"
    assert rig.output(job) == "done\n"
    assert rig.commands()
    gate.open()
    wait_until(lambda: not rig.commands(), "the daemon is gone", PATIENCE)


def test_a_permanent_exit_code_is_not_retried(rig: Rig) -> None:
    permanent, passing = rig.sh("exit 64"), rig.sh("exit 65", "--backoff-base", "600")
    rig.drain(env={"RUNQ_PERMANENT_EXIT_CODES": "64,78"})
    assert rig.state(permanent) == "dead"
    assert rig.state(passing) == "scheduled"


def test_a_dead_job_hands_over_once_for_each_death(rig: Rig) -> None:
    hand_over = json.dumps(["sh", "-c", "echo dead >> deaths"])
    job = rig.sh("exit 1", "--retries", "1", "--on-dead", hand_over)
    rig.worker()
    rig.reaches(job, "dead")
    rig.wrote("deaths", "dead")
    rig.runq("dead", "retry", str(job))
    wait_until(lambda: len(rig.lines("deaths")) == 2, "the second death was told", PATIENCE)
    handed = [one for one in (rig.job(job + 1), rig.job(job + 2)) if one.escalated_from == job]
    assert [one.argv[-1] for one in handed] == ["echo dead >> deaths"] * 2
    assert rig.job(job).attempt == 4


def test_a_running_command_reports_its_progress(rig: Rig) -> None:
    gate = rig.gate()
    job = rig.sh(f"printf 'one third\\ntwo thirds\\n' >\"$RUNQ_PROGRESS\"; {gate.wait}")
    rig.worker()
    wait_until(lambda: rig.status(job)["progress"] == "two thirds", "the progress is shown", PATIENCE)
    assert "two thirds" in rig.runq("status", str(job)).stdout
    gate.open()
    rig.reaches(job, "succeeded")
    assert rig.status(job)["progress"] is None


def test_a_progress_file_that_is_none_holds_nobody_up(rig: Rig) -> None:
    gate = rig.gate()
    job = rig.sh(f'mkfifo "$RUNQ_PROGRESS"; touch made; {gate.wait}')
    rig.worker()
    wait_until((rig.folder / "made").exists, "the command runs", PATIENCE)
    assert rig.status(job)["progress"] is None
    gate.open()
    rig.reaches(job, "succeeded")

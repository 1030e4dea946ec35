"""How workers leave: told by signals, by `runq work --stop`, or because nothing is left to do."""

import json
import os
import signal
import subprocess

import pytest

from queue_core.sqlite import ballast
from queue_core.worker.options import Options
from tests.helpers import wait_until

from .conftest import CLI, PATIENCE, Rig, alive


def nothing_is_left(rig: Rig) -> None:
    """No process, no row, no file that only the living need."""
    wait_until(lambda: not rig.keepers(), "the keeper has left", PATIENCE)
    assert rig.queue.store.workers() == []
    for folder in ("bells", "workers", "keepers"):
        assert os.listdir(rig.home / folder) == [], folder


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
def test_a_signal_lets_running_commands_end(rig: Rig, number: signal.Signals) -> None:
    gate = rig.gate()
    running = rig.sh(f"{gate.wait}; exit 5", "--retries", "0")
    worker = rig.worker()
    rig.pid_of(running)
    worker.signal(number)
    wait_until(lambda: not rig.queue.live_workers(claiming=True), "it claims no more", PATIENCE)
    waiting = rig.sh("true")
    gate.open()
    assert worker.left()[0] == 0
    assert (rig.state(running), rig.outcomes(running)) == ("dead", [("exited", 5)])
    assert rig.state(waiting) == "available"
    nothing_is_left(rig)


@pytest.mark.parametrize("numbers", [(signal.SIGINT, signal.SIGINT), (signal.SIGQUIT,)])
def test_a_second_interrupt_or_quit_puts_the_jobs_back(rig: Rig, numbers: tuple[signal.Signals, ...]) -> None:
    job = rig.sh("echo $$ >> pids; exec sleep 60", "--retries", "0")
    worker = rig.worker()
    pid = rig.pid_of(job)
    for number in numbers:
        worker.signal(number)
        wait_until(lambda: not rig.queue.live_workers(claiming=True), "it has heard", PATIENCE)
    assert worker.left()[0] == 0
    back = rig.job(job)
    assert (back.state, back.attempt, back.failures) == ("available", 0, 0)
    assert not alive(pid)
    nothing_is_left(rig)


def test_what_was_put_back_runs_again_in_full(rig: Rig) -> None:
    job = rig.sh("[ -e second ] || { touch second; exec sleep 60; }", "--retries", "0")
    worker = rig.worker()
    rig.wrote("second")
    worker.signal(signal.SIGQUIT)
    worker.left()
    rig.drain()
    assert (rig.state(job), rig.job(job).attempt) == ("succeeded", 1)
    assert [one.outcome for one in rig.job(job).attempts] == ["interrupted", "exited"]


def test_work_stop_lets_running_commands_end(rig: Rig) -> None:
    gate = rig.gate()
    job = rig.sh(gate.wait)
    workers = [rig.worker(), rig.worker()]
    rig.pid_of(job)
    stopping = rig.start("work", "--stop")
    wait_until(lambda: not rig.queue.live_workers(claiming=True), "nobody claims", PATIENCE)
    assert stopping.popen.poll() is None
    gate.open()
    assert stopping.left()[0] == 0
    assert [worker.left()[0] for worker in workers] == [0, 0]
    assert rig.state(job) == "succeeded"
    nothing_is_left(rig)


def test_work_stop_now_puts_the_jobs_back(rig: Rig) -> None:
    job = rig.sh("exec sleep 60")
    worker = rig.worker()
    rig.pid_of(job)
    assert "1 worker has left" in rig.runq("work", "--stop", "--now").stderr
    assert worker.left()[0] == 0
    assert (rig.state(job), rig.job(job).attempt) == ("available", 0)
    nothing_is_left(rig)


def test_work_stop_without_a_worker_is_fine(rig: Rig) -> None:
    assert "No worker is up" in rig.runq("work", "--stop").stderr


def test_process_queue_says_what_remains(rig: Rig) -> None:
    rig.sh("true")
    failing = rig.sh("exit 1", "--backoff-base", "60")
    rig.sh("true", "--after", str(failing))
    rig.sh("true", "--delay", "60")
    said = json.loads(rig.drain("--json").stdout)
    assert said == {
        "ended": {"succeeded": 1},
        "retried": 1,
        "put_back": 0,
        "lost": 0,
        "remaining": {"scheduled": 2, "blocked": 1},
        "dead": 0,
    }
    words = rig.drain().stderr
    assert "2 scheduled" in words and "1 blocked" in words
    nothing_is_left(rig)


def test_process_queue_counts_attempts_that_are_tried_again_apart_from_ends(rig: Rig) -> None:
    rig.sh("true")
    rig.sh("exit 1", "--backoff-base", "60")
    rig.sh("exit 1", "--retries", "0")
    words = rig.drain("--parallelism", "1").stderr  # ends are told in the order in which they came
    assert words.startswith("Done: 1 succeeded, 1 dead; 1 failed attempt is tried again later. Remaining: 1 scheduled.")


@pytest.mark.parametrize(
    ("cause", "line"),
    [
        ("paused", "2 jobs wait in the paused queue default: `runq resume default`."),
        ("handler", "Jobs wait for the handler transcribe, which no worker has: `runq work --app MODULE:QUEUE`."),
        ("lock", "Jobs wait for the lock gpu, which others hold."),
        ("place", "The queue default has no free place: 1 of 1 are taken."),
    ],
)
def test_process_queue_says_why_nothing_could_run(rig: Rig, cause: str, line: str) -> None:
    if cause in ("lock", "place"):
        gate = rig.gate()
        first = rig.sh(gate.wait, "--lock", "gpu")
        rig.worker(RUNQ_PARALLELISM="1" if cause == "place" else "4")
        rig.pid_of(first)
    if cause == "paused":
        rig.runq("pause", "default")
    for _ in range(2):
        if cause == "handler":
            rig.runq("add", "--handler", "transcribe")
        else:
            rig.sh("true", *(("--lock", "gpu") if cause == "lock" else ()))
    words = rig.drain().stderr
    assert words.startswith("Done: nothing could run. Remaining: 2 available")
    assert line in words.splitlines()


def test_process_queue_with_nothing_to_do_says_so(rig: Rig) -> None:
    assert rig.drain().stderr == "Done: nothing. Remaining: nothing.\n"
    rig.sh("true", "--delay", "60")
    assert rig.drain().stderr.startswith("Done: nothing was due. Remaining: 1 scheduled.")


def test_an_interrupt_is_answered_with_what_it_waits_for(rig: Rig) -> None:
    job = rig.sh("exec sleep 60")
    worker = rig.worker()
    rig.pid_of(job)
    worker.signal(signal.SIGINT)
    assert worker.popen.stderr is not None
    said = worker.popen.stderr.readline()
    assert said == "Finishing 1 running command; Ctrl-C again ends it and puts its job back.\n"
    worker.signal(signal.SIGINT)
    said = worker.left()[2]
    assert said.startswith("Ending 1 running command and putting its job back.\nDone: nothing. Put back: 1.")


def test_work_stop_says_what_it_waits_for(rig: Rig) -> None:
    gate = rig.gate()
    job = rig.sh(gate.wait)
    rig.worker()
    rig.pid_of(job)
    stopping = rig.start("work", "--stop")
    assert stopping.popen.stderr is not None
    assert stopping.popen.stderr.readline() == "Waiting for 1 worker (1 command runs; --now ends it) ...\n"
    gate.open()
    assert stopping.left() == (0, "", "1 worker has left.\n")


def test_process_queue_runs_what_its_commands_add(rig: Rig) -> None:
    adding = " ".join([*CLI, "add", "--", "sh", "-c", "'echo inner > inner'"])
    rig.sh(adding)
    rig.drain()
    assert rig.lines("inner") == ["inner"]


def test_a_worker_whose_reader_has_gone_works_on(rig: Rig) -> None:
    rig.add_all([{"argv": ["sh", "-c", f"echo {n} >> ran"]} for n in range(5)])
    popen = subprocess.Popen([*CLI, "process-queue"], env=rig.env, stdout=subprocess.PIPE, stderr=subprocess.PIPE)
    assert popen.stdout and popen.stderr
    popen.stdout.close()
    said = popen.stderr.read()
    popen.stderr.close()
    assert (popen.wait(PATIENCE), b"Traceback" in said) == (0, False)
    assert len(rig.lines("ran")) == 5


def test_a_worker_that_cannot_start_says_why(rig: Rig) -> None:
    (rig.home / "keepers").write_text("in the way")
    done = rig.drain(code=1)
    assert done.stderr.startswith("runq: ") and "keepers" in done.stderr
    assert "Traceback" not in done.stderr
    assert rig.queue.store.workers() == [] and os.listdir(rig.home / "workers") == []


def test_a_command_that_lives_on_alone_keeps_nobody_from_stopping_now(rig: Rig) -> None:
    """Its keeper is dead, nobody can ask it to end: it is left to the next worker, which waits for it."""
    gate = rig.gate()
    job = rig.sh(f"echo ran >> ran; {gate.wait}", "--retries", "1")
    worker = rig.worker()
    rig.wrote("ran")
    rig.kill_keepers()
    wait_until(lambda: len(rig.keepers()) == 1, "the worker has another keeper", PATIENCE)
    worker.signal(signal.SIGQUIT)
    assert worker.left()[0] == 0
    assert (rig.state(job), rig.lines("ran")) == ("running", ["ran"])
    gate.open()
    rig.worker()
    rig.reaches(job, "succeeded")
    assert [one.outcome for one in rig.job(job).attempts] == ["lost", "exited"]


@pytest.mark.claim("full")
def test_who_runs_what_is_there_waits_for_no_room_on_the_disk(rig: Rig, monkeypatch: pytest.MonkeyPatch) -> None:
    """While the ballast is spent nothing is claimed, so there is nothing that it could run."""
    job = rig.sh("true")
    monkeypatch.setattr(ballast, "lay", lambda _: False)
    (rig.home / "ballast").touch()  # spent
    inner = rig.inner(Options(until_empty=True))
    assert inner.left() is None
    assert rig.state(job) == "available"

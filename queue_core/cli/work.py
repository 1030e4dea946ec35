"""`runq work` and `runq process-queue`: a worker in this terminal or service."""

from __future__ import annotations

import os
import sys
import time
from typing import TYPE_CHECKING

from queue_core import changes
from queue_core.cli.options import JSON, Given, Option, Verb
from queue_core.errors import UsageError, WorkerError
from queue_core.liveness import ask_to_leave, worker_lives
from queue_core.service import Queue

if TYPE_CHECKING:
    from collections.abc import Callable

    from queue_core.worker.loop import Worker
    from queue_core.worker.options import Settled

_OPTIONS = (
    Option(name="parallelism", metavar="N", kind="int", help="at most so many commands of this worker at once"),
    JSON,
)
VERBS = {
    "work": Verb(
        name="work",
        summary="Run queued commands until told to stop. TERM or Ctrl-C lets running commands end; a second Ctrl-C"
        "\nends them and puts their jobs back.",
        options=(
            Option(name="app", metavar="MODULE[:NAME]", help="run the handlers of this Python program, too"),
            Option(name="until-empty", help="end when nothing is claimable or running; wait for no backoff"),
            Option(name="stop", help="ask all workers of this host to finish what runs and leave"),
            Option(name="now", help="with --stop: end running commands and put their jobs back"),
            *_OPTIONS,
        ),
        example="runq work\nrunq work --app jobs:queue\nrunq work --until-empty --parallelism 2\nrunq work --stop",
    ),
    "process-queue": Verb(
        name="process-queue",
        summary="Run what is there, then end: nothing claimable, nothing running. Waits for no backoff,\n"
        "says what remains.",
        options=_OPTIONS,
        example="runq process-queue",
    ),
}
STOP_PATIENCE = 30.0  # seconds until `--stop` says that workers are still busy


def run_work(given: Given) -> int:
    """`runq work`."""
    if given.get("now") and not given.get("stop"):
        raise UsageError("--now goes with --stop: runq work --stop --now")
    if given.get("stop"):
        return _stop(now=bool(given.get("now")))
    return _work(given, until_empty=bool(given.get("until_empty")))


def run_process_queue(given: Given) -> int:
    """`runq process-queue`."""
    return _work(given, until_empty=True)


def _work(given: Given, *, until_empty: bool) -> int:
    import anyio

    from queue_core.logs import log_to_home
    from queue_core.worker.loop import Worker
    from queue_core.worker.main import run
    from queue_core.worker.options import Options

    parallelism = given.get("parallelism")
    if parallelism is not None and parallelism < 1:
        raise UsageError(f"--parallelism is at least 1, not {parallelism}")
    queue = _queue_of_app(given.get("app")) if given.get("app") else Queue.open()
    log_to_home(queue.home, queue.settings.log_level)
    tally = Tally()
    worker = Worker(queue, Options(parallelism=parallelism, until_empty=until_empty))
    with _display(worker, tally, quiet=bool(given.get("json"))):
        anyio.run(run, worker)
    _say_end(queue, tally, given, until_empty=until_empty)
    return 0


def _queue_of_app(where: str) -> Queue:
    """The queue for which a program has declared handlers: `MODULE:NAME`, or MODULE if it uses `queue_core.handler`."""
    from importlib import import_module

    from queue_core import Background, get_queue

    module_name, _, name = where.partition(":")
    sys.path.insert(0, os.getcwd())  # as `python -m` would find it
    try:
        module = import_module(module_name)
        found: object = getattr(module, name) if name else get_queue()
    except Exception as error:
        raise UsageError(f"--app {where} could not be loaded ({type(error).__name__}: {error})") from error
    queue = found.queue if isinstance(found, Background) else found
    if not isinstance(queue, Queue):
        raise UsageError(f"--app {where} is a {type(found).__name__}; name a Queue or a Background of the program")
    if not queue.handlers:
        raise UsageError(f"--app {where} declares no handlers; decorate its functions with @queue.handler(NAME)")
    return queue


class Tally:
    """What this worker has brought to an end so far."""

    def __init__(self) -> None:
        self.by_state: dict[str, int] = {}

    def count(self, settled: Settled) -> None:
        """One more attempt has ended."""
        state = settled.state or "lost lease"
        self.by_state[state] = self.by_state.get(state, 0) + 1


def _display(worker: Worker, tally: Tally, *, quiet: bool) -> _Display:
    on_terminal = sys.stdout.isatty() and not quiet
    return _Display(worker, tally, bar=on_terminal, lines=not on_terminal and not quiet)


class _Display:
    """A progress bar on a terminal, a line for each job in a pipe."""

    def __init__(self, worker: Worker, tally: Tally, *, bar: bool, lines: bool) -> None:
        self._tally = tally
        self._update: Callable[[Settled], None] = lambda _: None
        self._close: Callable[[], None] = lambda: None
        if bar:
            self._show_bar(worker)
        elif lines:
            self._update = _write_line
        worker.on_settled = self._on_settled

    def _on_settled(self, settled: Settled) -> None:
        self._tally.count(settled)
        self._update(settled)

    def _show_bar(self, worker: Worker) -> None:
        from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn

        bar = Progress(
            TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn(), transient=True
        )
        task = bar.add_task("working", total=_to_do(worker.queue))
        ended: set[int] = set()

        def update(settled: Settled) -> None:
            if settled.state in ("succeeded", "dead", "cancelled"):
                ended.add(settled.job)
            total = len(ended) + _to_do(worker.queue)
            bar.update(task, completed=len(ended), total=total, description=f"running {worker.running}")

        bar.start()
        self._update, self._close = update, bar.stop

    def __enter__(self) -> None:
        return None

    def __exit__(self, *_: object) -> None:
        self._close()


def _write_line(settled: Settled) -> None:
    try:
        sys.stdout.write(f"{settled.job}\t{settled.state or 'lost lease'}\t{settled.outcome}\n")
        sys.stdout.flush()
    except BrokenPipeError:  # whoever read has seen enough; the work goes on
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())


def _to_do(queue: Queue) -> int:
    from queue_core import views

    counts = views.counts(queue.store.queues())
    return counts["available"] + counts["scheduled"] + counts["running"]


def _say_end(queue: Queue, tally: Tally, given: Given, *, until_empty: bool) -> None:
    counts = {state: n for state, n in queue.status_view()["counts"].items() if n}
    remains = {
        state: counts[state] for state in ("available", "scheduled", "blocked", "held", "running") if state in counts
    }
    if given.get("json"):
        from queue_core.fastjson import dumps

        sys.stdout.write(dumps({"ended": tally.by_state, "remaining": remains, "dead": counts.get("dead", 0)}) + "\n")
        return
    done = ", ".join(f"{n} {state}" for state, n in tally.by_state.items()) or "nothing was due"
    left = ", ".join(f"{n} {state}" for state, n in remains.items()) or "nothing"
    sys.stderr.write(f"Done: {done}. Remaining: {left}.\n")
    if until_empty and "scheduled" in remains:
        sys.stderr.write("Scheduled jobs run when they are due, by any worker: `runq work`, or a session's own.\n")
    if until_empty and "available" in remains and (wait := _until_next_start(queue)) is not None:
        sys.stderr.write(f"The starts a minute are used up: the next comes in {wait:.0f} s, by any worker.\n")


def _until_next_start(queue: Queue) -> float | None:
    """Seconds until another job may be started, where the limits of starts are what is waited for."""
    from queue_core.quotas import rest_end

    now, queues = queue.clock(), queue.store.queues()
    rests = [queue.store.rest_of_all(), *(one.rests_until for one in queues if one.counts["available"])]
    return min((end - now for until in rests if (end := rest_end(until, now)) is not None), default=None)


def _stop(*, now: bool) -> int:
    """Ask this host's workers to leave, and wait until they have."""
    queue = Queue.open()
    here = _of_this_host(queue)
    if not here:
        sys.stderr.write("No worker is up.\n")
        return 0
    for worker in here:
        ask_to_leave(queue.home, worker, now=now)
    changes.ring(queue.home, "work")
    if _have_left(queue, here):
        sys.stderr.write(f"{len(here)} worker{'s have' if len(here) > 1 else ' has'} left.\n")
        return 0
    raise WorkerError("workers still wait for their running commands; `runq work --stop --now` ends those")


def _of_this_host(queue: Queue) -> set[str]:
    """The ids of the workers that live here."""
    return {
        worker.id
        for worker in queue.store.workers()
        if worker.host == queue.host and worker_lives(queue.home, worker.id)
    }


def _have_left(queue: Queue, asked: set[str]) -> bool:
    bell = changes.Bell(queue.home, "watch")
    try:
        give_up = time.monotonic() + STOP_PATIENCE
        while time.monotonic() < give_up:
            bell.clear()
            if not any(worker_lives(queue.home, worker) for worker in asked):
                return True
            _wait_for_ring(bell, 0.5)
    finally:
        bell.close()
    return False


def _wait_for_ring(bell: changes.Bell, seconds: float) -> None:
    import select

    select.select([bell], [], [], seconds)

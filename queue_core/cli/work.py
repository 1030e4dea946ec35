"""`runq work` and `runq process-queue`: a worker in this terminal or service."""

from __future__ import annotations

import os
import sys
import time
from functools import partial
from typing import TYPE_CHECKING

from queue_core import changes
from queue_core.cli.closing import Tally, say_end
from queue_core.cli.context import refuse_agents
from queue_core.cli.options import JSON, Given, Option, Verb
from queue_core.cli.text import number_of
from queue_core.errors import StoreError, UsageError, WorkerError
from queue_core.home import locate
from queue_core.liveness import ask_to_leave, living_workers, worker_lives
from queue_core.service import Queue

if TYPE_CHECKING:
    from collections.abc import Callable

    from queue_core.home import Home
    from queue_core.worker.loop import Worker
    from queue_core.worker.options import Mode, Settled

_OPTIONS = (
    Option(
        name="parallelism", metavar="N", kind="int", least=1, help="at most so many commands of this worker at once"
    ),
    JSON,
)
VERBS = {
    "work": Verb(
        name="work",
        summary="Run queued commands until told to stop. TERM or Ctrl-C lets running commands end; a second Ctrl-C "
        "ends them and puts their jobs back.",
        options=(
            Option(name="app", metavar="MODULE[:NAME]", help="run the handlers of this Python program, too"),
            Option(name="until-empty", help="end when nothing is claimable or running; wait for no backoff"),
            Option(name="stop", help="ask all workers of this host to finish what runs and leave, and wait for that"),
            Option(name="now", help="with --stop: end running commands and put their jobs back"),
            *_OPTIONS,
        ),
        example="runq work\nrunq work --app jobs:queue\nrunq work --until-empty --parallelism 2\nrunq work --stop",
    ),
    "process-queue": Verb(
        name="process-queue",
        summary="Run what is there, then end: nothing claimable, nothing running. Waits for no backoff, "
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
        refuse_agents(locate(os.environ), "stop workers, which run others' jobs as well")
        return _stop(now=bool(given.get("now")))
    return _work(given, until_empty=bool(given.get("until_empty")))


def run_process_queue(given: Given) -> int:
    """`runq process-queue`."""
    return _work(given, until_empty=True)


def _work(given: Given, *, until_empty: bool) -> int:
    if not given.get("app"):  # whose handlers may speak to anybody
        from queue_core.worker.no_tls import leave_tls_out

        leave_tls_out()
    import anyio

    from queue_core.logs import log_to_home
    from queue_core.worker.loop import Worker
    from queue_core.worker.main import run
    from queue_core.worker.options import Options

    parallelism = given.get("parallelism")
    if given.get("app"):
        refuse_agents(locate(os.environ), "start a worker with a program of its choice")
    queue = _queue_of_app(given.get("app")) if given.get("app") else Queue.open()
    log_to_home(queue.home, queue.settings.log_level)
    tally = Tally()
    worker = Worker(queue, Options(parallelism=parallelism, until_empty=until_empty))
    with _display(worker, tally, quiet=bool(given.get("json"))):
        anyio.run(partial(run, worker, on_signal=lambda mode: _answer(worker, mode)))
    say_end(queue, tally, given, until_empty=until_empty)
    return 0


def _answer(worker: Worker, mode: Mode) -> None:
    """Tell whoever has sent a signal what it has brought about, if that takes a while."""
    count = worker.running
    if not count:
        return
    jobs = number_of(count, "running job" if worker.queue.handlers else "running command")
    them, whose = ("it", "its job") if count == 1 else ("them", "their jobs")
    if mode == "finish":
        sys.stderr.write(f"Finishing {jobs}; Ctrl-C again ends {them} and puts {whose} back.\n")
    else:
        sys.stderr.write(f"Ending {jobs} and putting {whose} back.\n")


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
        searched = f"from {os.getcwd()} or the packages of {sys.prefix}"
        advice = "; run it in the program's folder" if _is_missing(module_name, error) else ""
        why = f"({type(error).__name__}: {error}){advice}"
        raise UsageError(f"--app {where} could not be loaded {searched} {why}") from error
    queue = found.queue if isinstance(found, Background) else found
    if not isinstance(queue, Queue):
        raise UsageError(f"--app {where} is a {type(found).__name__}; name a Queue or a Background of the program")
    if not queue.handlers:
        raise UsageError(f"--app {where} declares no handlers; decorate its functions with @queue.handler(NAME)")
    return queue


def _is_missing(module_name: str, error: Exception) -> bool:
    """Whether the program itself was not found, rather than something that it imports."""
    return isinstance(error, ModuleNotFoundError) and error.name == module_name.partition(".")[0]


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
            from queue_core.cli.progress import Working

            shown = Working(worker)
            self._update, self._close = shown.settled, shown.stop
        elif lines:
            self._update = _write_line
        worker.on_settled = self._on_settled

    def _on_settled(self, settled: Settled) -> None:
        self._tally.count(settled)
        self._update(settled)

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


def _stop(*, now: bool) -> int:
    """Ask this host's workers to leave, and wait until they have."""
    home = locate(os.environ)
    here = living_workers(home)  # as their locks tell, also when the database can tell nothing any more
    if here and os.path.exists(home.database):
        here -= _of_other_hosts()
    if not here:
        sys.stderr.write("No worker is up.\n")
        return 0
    for worker in here:
        ask_to_leave(home, worker, now=now)
    changes.ring(home, "work")
    if os.path.exists(home.database):
        _say_what_is_waited_for(here, now=now)
    if _have_left(home, here):
        sys.stderr.write(f"{len(here)} worker{'s have' if len(here) > 1 else ' has'} left.\n")
        return 0
    raise WorkerError("workers still wait for their running commands; `runq work --stop --now` ends those")


def _say_what_is_waited_for(asked: set[str], *, now: bool) -> None:
    """Workers with nothing to do leave at once; those that run something are worth a word."""
    try:
        queue = Queue.open()
        running = sum(claim.worker in asked for claim in queue.store.running(queue.host))
    except StoreError:
        return
    if not running:
        return
    workers, jobs = number_of(len(asked), "worker"), number_of(running, "command")
    them = "it" if running == 1 else "them"
    runs = f"to end {jobs}" if now else f"({jobs} {'runs' if running == 1 else 'run'}; --now ends {them})"
    sys.stderr.write(f"Waiting for {workers} {runs} ...\n")
    sys.stderr.flush()


def _of_other_hosts() -> set[str]:
    """The ids of the workers that live elsewhere; none if the database does not tell."""
    try:
        queue = Queue.open()
        return {worker.id for worker in queue.store.workers() if worker.host != queue.host}
    except StoreError:
        return set()


def _have_left(home: Home, asked: set[str]) -> bool:
    bell = changes.Bell(home, "watch")
    try:
        give_up = time.monotonic() + STOP_PATIENCE
        while time.monotonic() < give_up:
            bell.clear()
            if not any(worker_lives(home, worker) for worker in asked):
                return True
            _wait_for_ring(bell, 0.5)
    finally:
        bell.close()
    return False


def _wait_for_ring(bell: changes.Bell, seconds: float) -> None:
    import select

    select.select([bell], [], [], seconds)

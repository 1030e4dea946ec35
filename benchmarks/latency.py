"""From the commit of a job to the start of its command, and what waiting for it costs."""

from __future__ import annotations

import os
import random
import statistics
import subprocess
import sys
import time
from collections.abc import Callable, Generator
from contextlib import ExitStack, contextmanager
from functools import partial
from typing import Any

from benchmarks.ground import BIN, Ground
from benchmarks.inside import command
from benchmarks.measure import How, distribution, percentile, tell, why
from benchmarks.peers import python_queues, tsp
from benchmarks.processes import cpu_seconds, family, running, until
from benchmarks.results import Curve, Result, Row, Target
from benchmarks.server import BARE as BARE_SERVER
from queue_core import Queue

TITLE = "From commit to start, and at rest"
SAYS = (
    "Milliseconds from the commit in another process until the command, `date +%s%N`, says what time it is; a worker is"
    " up and has been idle for 20 to 60 ms. The loading of `date` itself is in it: the floor is spawning it directly. "
    " Below: what a worker and a server use of a core while nothing happens."
)
STARTS = 250
LONELY = 15  # starts after a longer rest
IDLE = 20.0  # seconds
RUNQ, FLOOR = "runq, commit to start", "spawned directly"
PROBE = ("date", "+%s%N")
NAP = (0.02, 0.06)  # seconds of quiet before each
LONG_NAP = (0.5, 1.5)  # in which those who look again and again have begun to look more rarely
SETTLED = 30.0  # seconds at the most until what was started has come to rest


def run(how: How) -> Result:
    """Starts first, then rest."""
    rows: list[Row] = []
    curve = Curve("From commit to start", "per cent of all", "ms", {}, log_up=True)
    for name, durability, measure, count in (
        (FLOOR, "nothing is stored", _spawned, how.count(STARTS)),
        (RUNQ, "synced", _runq, how.count(STARTS)),
        ("tsp, its spawn to start", "in its server's memory", _tsp, how.count(STARTS)),
        ("runq, after 0.5 to 1.5 s of rest", "synced", partial(_runq, nap=LONG_NAP), how.count(LONELY) + 2),
        ("huey, after 0.5 to 1.5 s of rest", "synced", _huey, how.count(LONELY) + 2),
    ):
        tell(f"  {name} ...")
        try:
            took = measure(how.ground, count)
            rows.append(_row(name, durability, took, rows))
            curve.lines[name] = distribution(took)
        except Exception as error:
            rows.append(Row(name, durability, "ms", missing=why(error)))
    rest, targets = _at_rest(how)
    found = next((row for row in rows if row.name == RUNQ and row.median is not None), None)
    targets = [
        Target("commit to start, p50", 5, found and found.median, "ms"),
        Target("commit to start, p99", 20, found and float(found.more["p99 (ms)"]), "ms"),
        *targets,
    ]
    return Result(TITLE, SAYS, FLOOR, rows + rest, targets, [curve])


def _row(name: str, durability: str, took: list[float], before: list[Row]) -> Row:
    median = statistics.median(took)
    floor = before[0].median if before else median
    more = {"p99 (ms)": f"{percentile(took, 0.99):.1f}", "starts": str(len(took))}
    return Row(name, durability, "ms", median, median / floor if floor else None, min(took), max(took), more)


def _spawned(ground: Ground, count: int) -> list[float]:
    del ground

    def once() -> float:
        began = time.time_ns()
        return _since(began, subprocess.run(PROBE, stdout=subprocess.PIPE, check=True).stdout)

    return [_rested(once) for _ in range(count)]


def _rested(once: Callable[[], float], nap: tuple[float, float] = NAP) -> float:
    time.sleep(random.uniform(*nap))
    return once()


def _since(began: int, said: bytes | str) -> float:
    """Milliseconds from then to the nanoseconds that a command has printed."""
    return (int(said) - began) / 1e6


@contextmanager
def _worker(ground: Ground) -> Generator[tuple[Queue, int]]:
    """A worker that is up, and a queue to put something into from here."""
    env = ground.environ()
    os.chdir(env["HOME"])
    queue = Queue.open(env)
    with running([f"{BIN}/runq", "work"], env) as process:
        until(lambda: queue.live_workers(claiming=True), "the worker is up")
        try:
            yield queue, process.pid
        finally:
            queue.close()


def _runq(ground: Ground, count: int, nap: tuple[float, float] = NAP) -> list[float]:
    with _worker(ground) as (queue, _):
        committed = _noting_commits(queue)
        _start(queue, committed)  # the first one finds caches empty
        return [_rested(lambda: _start(queue, committed), nap) for _ in range(count)]


def _noting_commits(queue: Queue) -> list[int]:
    """When each enqueue was durable: a list that grows. Nobody has been told of the job at that moment."""
    committed: list[int] = []
    store: Any = queue.store
    enqueue = store.enqueue

    def noted(*args: Any, **kwargs: Any) -> Any:
        receipts = enqueue(*args, **kwargs)
        committed.append(time.time_ns())
        return receipts

    store.enqueue = noted
    return committed


def _start(queue: Queue, committed: list[int]) -> float:
    job = queue.submit(PROBE).id
    until(lambda: queue.states_of([job])[job] == "succeeded", f"job {job} has succeeded")
    return _since(committed[-1], queue.output(job).read())


def _tsp(ground: Ground, count: int) -> list[float]:
    with tsp.spooler(ground) as env:

        def once() -> float:
            began = time.time_ns()
            job = tsp.tsp(env, *PROBE)
            tsp.tsp(env, "-w", job)
            with open(tsp.tsp(env, "-o", job)) as file:
                return _since(began, file.read())

        return [_rested(once) for _ in range(count)]


def _huey(ground: Ground, count: int) -> list[float]:
    env = python_queues.huey_environ(ground)
    os.environ["BENCH_DB"] = env["BENCH_DB"]
    sys.modules.pop("benchmarks.inside.huey_queue", None)  # it opens its database when it is imported
    from benchmarks.inside import huey_queue

    def once() -> float:
        result = huey_queue.note()
        began = time.time_ns()
        return _since(began, str(result(blocking=True, timeout=30)))

    with running(command("huey_queue", "consume"), env):
        once()
        return [_rested(once, LONG_NAP) for _ in range(count)]


def _at_rest(how: How) -> tuple[list[Row], list[Target]]:
    """What each uses of a core while nothing happens, all at the same time."""
    seconds = 3.0 if how.quick else IDLE
    tell(f"  {seconds:g} s of rest ...")
    wanted: list[tuple[str, int]] = []
    rows: list[Row] = []
    with ExitStack() as stack:
        _, worker = stack.enter_context(_worker(how.ground))
        wanted.append(("runq's worker and keeper, at rest", worker))
        for name, argv in (("runq-mcp, at rest", [f"{BIN}/runq-mcp"]), ("a bare SDK server, at rest", _bare())):
            server = stack.enter_context(running(argv, how.ground.environ(), keep_stdin=True))
            wanted.append((name, server.pid))
        try:
            env = python_queues.huey_environ(how.ground)
            consumer = stack.enter_context(running(command("huey_queue", "consume"), env))
            wanted.append(("huey's consumer, at rest", consumer.pid))
        except Exception as error:
            rows.append(Row("huey's consumer, at rest", "", "% of a core", missing=why(error)))
        _come_to_rest([pid for _, pid in wanted])
        before = {name: cpu_seconds(family(pid)) for name, pid in wanted}
        time.sleep(seconds)
        used = {name: (cpu_seconds(family(pid)) - before[name]) / seconds * 100 for name, pid in wanted}
    rows = [Row(name, "", "% of a core", share) for name, share in used.items()] + rows
    return rows, [
        Target(name, 0.05, used.get(name), "% of a core")
        for name in ("runq's worker and keeper, at rest", "runq-mcp, at rest")
    ]


def _come_to_rest(pids: list[int]) -> None:
    """Wait until all have come up: none has used a hundredth of a core for a second."""
    end, used = time.monotonic() + SETTLED, [0.0] * len(pids)
    while time.monotonic() < end:
        now = [cpu_seconds(family(pid)) for pid in pids]
        if all(0 < after - before < 0.01 or after == before > 0 for before, after in zip(used, now, strict=True)):
            return
        used = now
        time.sleep(1)


def _bare() -> list[str]:
    return [sys.executable, "-c", BARE_SERVER]

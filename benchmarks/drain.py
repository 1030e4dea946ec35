"""Running many short commands, four at once: jobs a second, the start-up taken off."""

from __future__ import annotations

import json
import statistics
from collections.abc import Callable
from dataclasses import dataclass, field

from benchmarks.ground import BIN, Ground, runq
from benchmarks.measure import Contestant, How, alternate, tell
from benchmarks.peers import bunqueue, nq, plain, python_queues, tsp
from benchmarks.processes import timed
from benchmarks.results import Result, Row, Target

TITLE = "Drain short commands, four at once"
SAYS = (
    "Commands (`true`) a second, from a queue that has been filled before, until the last has ended. What draining a"
    " single job takes is taken off: start-up is not measured here. Each round has a fresh folder. task-spooler holds"
    " 1,000 jobs at the most, so that it is given them in parts; its waiting jobs are processes that have been forked"
    " already. The slow ones are given fewer jobs."
)
ROUNDS = 4
RUNQ, TSP = "runq work --until-empty", "task-spooler, output files"
FLOOR = "Python, spawning alone"


@dataclass
class Drain:
    """One way to drain: `run(ground, jobs)` gives its seconds."""

    name: str
    durability: str
    run: Callable[[Ground, int], float]
    share: float = 1.0  # of the jobs; the slow ones get fewer
    starts: Callable[[int], int] = field(default=lambda _: 1)  # how often it starts up for so many


def run(how: How) -> Result:
    """Start-ups first, some of each; then whole drains in turn."""
    ways = _ways()
    contestants = [
        Contestant(way.name, way.durability, _Rate(way, how), {"jobs": f"{_jobs(way, how):,}"}) for way in ways
    ]
    rows = alternate(contestants, how.rounds(ROUNDS), unit="jobs/s", reference=TSP, warm_up=False)
    return Result(TITLE, SAYS, TSP, rows, _targets(rows))


def _jobs(way: Drain, how: How) -> int:
    return max(40, int(how.jobs * way.share))


class _Rate:
    """Jobs a second, what a start costs taken off: the median of three drains of a single job."""

    def __init__(self, way: Drain, how: How) -> None:
        self._way, self._how = way, how
        self._start: float | None = None

    def __call__(self) -> float:
        way, ground = self._way, self._how.ground
        if self._start is None:
            self._start = statistics.median(way.run(ground, 1) for _ in range(3))
        jobs = _jobs(way, self._how)
        starts = way.starts(jobs)
        took = way.run(ground, jobs)
        tell(f"  {way.name}: {jobs} in {took:.2f} s, {self._start:.2f} s of them to start")
        return (jobs - starts) / max(took - starts * self._start, 1e-6)


def _ways() -> list[Drain]:
    return [
        Drain(FLOOR, "nothing is stored", plain.bare_spawns),
        Drain(RUNQ, "each result synced; output file", drain_runq),
        Drain(TSP, "output file; results in its memory", lambda g, n: tsp.drain(g, n, output=True), 1, tsp.parts),
        Drain("task-spooler -n", "results in its memory", lambda g, n: tsp.drain(g, n, output=False), 1, tsp.parts),
        Drain("xargs -P4", "nothing is stored", plain.xargs),
        Drain("huey, 4 threads", "each result synced; no output kept", python_queues.huey_drain, 0.5),
        Drain("bunqueue, concurrency 4", "results written later, not synced; no output kept", bunqueue.drain, 0.5),
        Drain("GNU parallel -j4", "output in temporary files; no record", plain.parallel, 0.2),
        Drain("nq, 4 queues", "output file; no record but that", nq.drain, 0.1),
    ]


def drain_runq(ground: Ground, jobs: int) -> float:
    """Seconds of a worker that ends when the queue is empty."""
    env = ground.environ(RUNQ_CAPACITY="1000000")
    path = f"{env['HOME']}/jobs"
    with open(path, "w") as file:
        file.writelines(json.dumps({"argv": ["true"]}) + "\n" for _ in range(jobs))
    runq(env, "add", "--file", path)
    took = timed([f"{BIN}/runq", "work", "--until-empty", "--parallelism", "4"], env, cwd=env["HOME"])
    counts = json.loads(runq(env, "status", "--json"))["counts"]
    assert counts["succeeded"] == jobs, counts
    return took


def _targets(rows: list[Row]) -> list[Target]:
    found = {row.name: row for row in rows if row.median is not None}
    runq_row = found.get(RUNQ)

    def to(name: str) -> float | None:
        other = found.get(name)
        if runq_row is None or other is None:
            return None
        return statistics.median(a / b for a, b in zip(runq_row.rounds, other.rounds, strict=True))

    return [
        Target("draining, to task-spooler with output files", 0.8, to(TSP), "×", at_most=False),
        Target("draining, past task-spooler with output files", 1.0, to(TSP), "×", at_most=False),
        Target("draining, past huey", 1.0, to("huey, 4 threads"), "×", at_most=False),
        Target("draining, past bunqueue", 1.0, to("bunqueue, concurrency 4"), "×", at_most=False),
    ]

"""Queueing 100,000 jobs from one file."""

from __future__ import annotations

import json
import os

from benchmarks.ground import BIN, ROOT
from benchmarks.inside import command
from benchmarks.measure import Contestant, How, alternate
from benchmarks.peers import bunqueue
from benchmarks.processes import timed
from benchmarks.results import Result, Target

TITLE = "Queue 100,000 jobs from a file"
SAYS = (
    "Jobs a second of a whole process, its start-up counted. The floor is Python that parses the same lines and writes"
    " a row each into a table without an index, in one commit. bunqueue is given the same jobs by `addBulk`, without"
    " a file to parse."
)
ROUNDS = 3
JOBS = 100_000
RUNQ, FLOOR = "runq add --file", "Python and SQLite alone"


def run(how: How) -> Result:
    """One file for all."""
    jobs = how.count(JOBS)
    path = f"{how.ground.fresh()}/jobs"
    with open(path, "w") as file:
        file.writelines(json.dumps({"argv": ["true", str(number)]}) + "\n" for number in range(jobs))

    def floor() -> float:
        env = {"PATH": os.environ["PATH"], "PYTHONPATH": ROOT}
        return jobs / timed(command("floors", "lines", f"{how.ground.fresh()}/floor.db", path), env)

    def add() -> float:
        env = how.ground.environ(RUNQ_CAPACITY="10000000")
        return jobs / timed([f"{BIN}/runq", "add", "--file", path], env, cwd=env["HOME"])

    contestants = [
        Contestant(FLOOR, "synced before the answer", floor),
        Contestant(RUNQ, "synced before the answer; all or none", add),
        Contestant("bunqueue addBulk", "written, not synced", lambda: jobs / bunqueue.bulk(how.ground, jobs)),
    ]
    rows = alternate(contestants, how.rounds(ROUNDS), unit="jobs/s", reference=FLOOR, warm_up=False)
    measured = next(row.median for row in rows if row.name == RUNQ)
    target = Target(f"`runq add --file` of {jobs:,} lines", 40_000, measured, "jobs/s", at_most=False)
    return Result(TITLE, SAYS, FLOOR, rows, [target])

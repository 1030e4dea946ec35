"""Eight processes that add, while four workers drain."""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
from contextlib import ExitStack

from benchmarks.ground import BIN, ROOT, runq
from benchmarks.inside import command
from benchmarks.measure import How, distribution, percentile, tell, why
from benchmarks.processes import running
from benchmarks.results import Curve, Result, Row, Target

TITLE = "Eight add while four workers drain"
SAYS = (
    "Milliseconds of one add, by eight processes at once, while four workers run what they have added. `runq add` is a"
    " whole process each time: on few cores most of it is waiting for a processor, which the interpreter that does"
    " nothing shows in the same crowd. From within a program it is the store alone. An error is any exit but 0, any"
    " word on standard error, and any job missing in the end."
)
ADDERS, WORKERS = 8, 4
COUNT = 50  # adds of each
ADD, WITHIN = "`runq add`, whole process", "`Queue.submit`, from within"
CROWD = "an interpreter that does nothing, in the same crowd"
ALONE = "`runq add`, alone"


def run(how: How) -> Result:
    """Alone, in the crowd, from within."""
    count = how.count(COUNT)
    rows: list[Row] = []
    curve = Curve("One add while eight add and four workers drain", "per cent of all", "ms", {}, log_up=True)
    wrong: list[str] = []
    add, bare = [f"{BIN}/runq", "add", "--", "true"], [sys.executable, "-I", "-S", "-c", "pass"]
    for name, way, argv, adders, workers in (
        (ALONE, "processes", add, 1, 0),
        (CROWD, "processes", bare, ADDERS, WORKERS),
        (ADD, "processes", add, ADDERS, WORKERS),
        (WITHIN, "within", [], ADDERS, WORKERS),
    ):
        tell(f"  {name} ...")
        try:
            took, trouble = _crowd(how, way, argv, adders, workers, count)
            wrong += trouble
            rows.append(_row(name, took, trouble, rows))
            curve.lines[name.replace("`", "")] = distribution(took)
        except Exception as error:
            rows.append(Row(name, "synced", "ms", missing=why(error)))
            wrong.append(why(error))
    return Result(TITLE, SAYS, ALONE, rows, _targets(rows, wrong), [curve])


def _crowd(how: How, way: str, argv: list[str], adders: int, workers: int, count: int) -> tuple[list[float], list[str]]:
    """What each add took in milliseconds, and what went wrong."""
    env = {**how.ground.environ(RUNQ_CAPACITY="1000000"), "PYTHONPATH": ROOT}
    runq(env, "add", "--", "true")
    adding = command("adder", way, count, *argv)
    if argv[:1] == [sys.executable]:  # others crowd the machine, and this one only starts
        busy = command("adder", "processes", count, f"{BIN}/runq", "add", "--", "true")
        everybody = [adding, *[busy] * (adders - 1)]
    else:
        everybody = [adding] * adders
    with ExitStack() as stack:
        for _ in range(workers):
            stack.enter_context(running([f"{BIN}/runq", "work"], env))
        processes = [subprocess.Popen(one, env=env, stdout=subprocess.PIPE) for one in everybody]
        found = [json.loads(process.communicate(timeout=300)[0]) for process in processes]
        if workers:
            runq(env, "wait", "--all", timeout=120)
    heard = found[:1] if argv[:1] == [sys.executable] else found
    wrong = [one for each in found for one in each["wrong"]]
    if argv[:1] != [sys.executable]:
        wrong += _missing(env, adders * count + 1)
    return [seconds * 1000 for each in heard for seconds in each["took"]], wrong


def _missing(env: dict[str, str], wanted: int) -> list[str]:
    stored = sum(json.loads(runq(env, "status", "--json"))["counts"].values())
    return [] if stored == wanted else [f"{wanted} jobs were added and {stored} are there"]


def _row(name: str, took: list[float], wrong: list[str], before: list[Row]) -> Row:
    median = statistics.median(took)
    alone = before[0].median if before else median
    more = {"p99 (ms)": f"{percentile(took, 0.99):.0f}", "adds": str(len(took)), "errors": str(len(wrong))}
    return Row(name, "synced", "ms", median, median / alone if alone else None, min(took), max(took), more)


def _targets(rows: list[Row], wrong: list[str]) -> list[Target]:
    found = {row.name: row for row in rows if row.median is not None}

    def p99(name: str) -> float | None:
        return float(found[name].more["p99 (ms)"]) if name in found else None

    idle = found[ALONE].median if ALONE in found else None
    add = p99(ADD)
    beyond = f"{add - idle:.0f} ms beyond an add alone; bare Python there: {p99(CROWD)} ms" if add and idle else ""
    return [
        Target("errors while eight add and four drain", 0, float(len(wrong)), "errors", note="; ".join(wrong[:2])),
        Target("`runq add` there, p99, whole process", 100, add, "ms", note=beyond),
        Target("`Queue.submit` there, p99", 100, p99(WITHIN), "ms"),
    ]

"""What queueing one job costs as a whole process, beside the same interpreter doing nothing."""

from __future__ import annotations

import json
import sys
from contextlib import ExitStack

from benchmarks.ground import BIN, runq
from benchmarks.inside import command
from benchmarks.measure import Contestant, How, NotHere, alternate, why
from benchmarks.peers import bunqueue, nq, python_queues, tsp
from benchmarks.processes import seconds_of
from benchmarks.results import Result, Row, Target

TITLE = "Queue one job, as a process of its own"
SAYS = (
    "Milliseconds from the spawn of the program to its exit, when the job is stored. The floor is the same Python doing"
    " nothing. `runq hook` reads a hook's JSON and fills in a template besides."
)
ROUNDS = 40
PAYLOAD = {"session_id": "bench", "hook_event_name": "Stop", "cwd": "/", "stop_hook_active": False}
BARE = "python -I -S -c pass"
DURABLE = "synced before the answer"


def run(how: How) -> Result:
    """All of them, one after the other, again and again."""
    env = how.ground.environ()
    payload = f"{env['HOME']}/payload.json"
    with open(payload, "w") as file:
        json.dump(PAYLOAD, file)
    with ExitStack() as stack:
        contestants = [
            Contestant(BARE, "nothing is stored", lambda: _ms([sys.executable, "-I", "-S", "-c", "pass"], env)),
            Contestant("runq add -- true", DURABLE, lambda: _ms([f"{BIN}/runq", "add", "--", "true"], env)),
            Contestant("runq hook -- true", DURABLE, lambda: _ms([f"{BIN}/runq", "hook", "--", "true"], env, payload)),
        ]
        missing: list[Row] = []
        for peer in (_spooler, _nq, _bunqueue, _huey):
            try:
                contestants.append(peer(how, stack))
            except Exception as error:  # a peer that is not here
                missing.append(Row(peer.__doc__ or "", "", missing=why(error)))
        rows = alternate(contestants, how.rounds(ROUNDS), unit="ms", reference=BARE)
    runq(env, "health")
    return Result(TITLE, SAYS, BARE, rows + missing, _targets(rows))


def _ms(argv: list[str], env: dict[str, str], stdin: str = "/dev/null") -> float:
    return seconds_of(argv, env, stdin) * 1000


def _spooler(how: How, stack: ExitStack) -> Contestant:
    """tsp true"""
    env = stack.enter_context(tsp.spooler(how.ground))
    return Contestant("tsp true", "in its server's memory", lambda: _ms([tsp.found(), "true"], env))


def _nq(how: How, stack: ExitStack) -> Contestant:
    """nq true"""
    del stack
    env, path = nq.environ(how.ground), nq.found()
    return Contestant("nq true", "a file, not synced; a process waits", lambda: _ms([path, "true"], env))


def _bunqueue(how: How, stack: ExitStack) -> Contestant:
    """bunqueue push"""
    push, env = stack.enter_context(bunqueue.server(how.ground))
    seconds_of(push, env)
    return Contestant("bunqueue push", "its server's batch, up to 10 ms later", lambda: _ms(push, env))


def _huey(how: How, stack: ExitStack) -> Contestant:
    """a program that enqueues in huey"""
    del stack
    python_queues.need("huey")
    env = python_queues.huey_environ(how.ground)
    return Contestant("a program that enqueues in huey", DURABLE, lambda: _ms(command("huey_queue", "add"), env), {})


def _targets(rows: list[Row]) -> list[Target]:
    found = {row.name: row.ratio for row in rows}
    if BARE not in found:
        raise NotHere("the floor was not measured")
    return [
        Target(f"`{name}`, whole process, to bare Python", limit, found.get(name), "×")
        for limit in (1.8, 1.6)
        for name in ("runq add -- true", "runq hook -- true")
    ]

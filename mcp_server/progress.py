"""What a client is told while a call of its waits: that it is still at it, and how far the jobs say they are.

The SDK sends it only to those who asked (a progressToken), in both eras.
"""

from __future__ import annotations

import math
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import NamedTuple

import anyio.to_thread

from mcp_server.replies import counted
from mcp_server.session import Session
from mcp_server.text import escaped
from queue_core import outcomes
from queue_core.errors import QueueError
from queue_core.jobs import Job
from queue_core.model import ENDED

STILL = 4.0  # seconds after which it is told again, though nothing has changed: behind looks once a second, 5
LOOK = 0.9  # seconds between looks at what running jobs say of themselves
MOST_FOLLOWED = 3  # of the running jobs
LONGEST_LINE = 100  # characters of what a command says

Report = Callable[[float, float | None, str | None], Awaitable[None]]


class Running(NamedTuple):
    """A running job, for how many seconds it has been, and the last line of its RUNQ_PROGRESS."""

    id: int
    seconds: float
    line: str | None


class Progress:
    """The news of one call, told through `report`; `ids` are the jobs that it waits for, none for any."""

    def __init__(self, session: Session, report: Report, ids: Sequence[int] = ()) -> None:
        self._session = session
        self._report = report
        self._ids = ids
        self._told = -1.0
        self._key: object = None
        self._at = self._looked = -math.inf
        self._running: list[Running] = []
        self._rows: dict[int, tuple[float, Job]] = {}

    async def tell(self, states: Mapping[int, str]) -> None:
        """Say how the jobs stand, if that is news or has not been said for a while."""
        now = time.monotonic()
        running = [job_id for job_id in self._ids if states.get(job_id) == "running"][:MOST_FOLLOWED]
        if running != [one.id for one in self._running] or now - self._looked >= LOOK:
            self._looked = now
            self._running = await self._seen(running) if running else []
        key = (dict(states), [one.line for one in self._running])
        if key == self._key and now - self._at < STILL:
            return
        self._key, self._at = key, now
        self._told = next_value(self._told, ended(self._ids, states))
        await self._report(self._told, len(self._ids) or None, message(self._ids, states, self._running))

    async def _seen(self, ids: Sequence[int]) -> list[Running]:
        return await anyio.to_thread.run_sync(lambda: self._look(ids), abandon_on_cancel=True)

    def _look(self, ids: Sequence[int]) -> list[Running]:
        """What these say of themselves; which files that is, the queue is asked now and then only."""
        found: list[Running] = []
        queue, now = self._session.queue, time.monotonic()
        for job_id in ids:
            try:
                seen, job = self._rows.get(job_id, (-math.inf, None))
                if job is None or job.started_at is None or now - seen >= STILL:
                    job = queue.job(job_id)
                    self._rows[job_id] = now, job
            except QueueError:  # pruned meanwhile, or busy: the wait itself will say
                continue
            secrets = outcomes.secrets_of(job.env, queue.settings)
            line = outcomes.progress_of(queue.home.run(job_id, job.claim), secrets=secrets)
            found.append(Running(job_id, queue.clock() - (job.started_at or queue.clock()), line))
        return found


def ended(ids: Sequence[int], states: Mapping[int, str]) -> int:
    """How many of them have; one that is not known any more has been pruned, so it had."""
    return sum(states.get(job_id, "pruned") in (*ENDED, "pruned") for job_id in ids)


def next_value(told: float, done: int) -> float:
    """How far it is, after `told`: more each time, as the protocol has it, and the next whole one only when it is."""
    return float(done) if done > told else told + (math.floor(told) + 1 - told) / 10


def message(ids: Sequence[int], states: Mapping[int, str], running: Sequence[Running]) -> str:
    """How it stands, in a line for a person."""
    if not ids:
        return "nothing has ended yet"
    if len(ids) == 1:
        return _alone(ids[0], states.get(ids[0], "pruned"), running)
    done = ended(ids, states)
    rest = counted(state for state in states.values() if state not in ENDED)
    told = "; ".join([f"{done} of {len(ids)} ended", *([_listed(rest)] if rest else [])])
    lines = [f"job {one.id}: {_shortened(one.line)}" for one in running if one.line]
    return f"{told} ({'; '.join(lines)})" if lines else told


def _alone(job_id: int, state: str, running: Sequence[Running]) -> str:
    if state == "running" and running:
        said = f": {_shortened(running[0].line)}" if running[0].line else ""
        return f"job {job_id} running for {_span(running[0].seconds)}{said}"
    return f"job {job_id} {'has ended: ' if state in ENDED else 'is ' if state != 'running' else ''}{state}"


def _listed(counts: Mapping[str, int]) -> str:
    return ", ".join(f"{count} {state}" for state, count in counts.items())


def _span(seconds: float) -> str:
    whole = max(0, int(seconds))
    return f"{whole} s" if whole < 120 else f"{whole // 60} min"


def _shortened(line: str | None) -> str:
    """What a command says, which may be anything: on one line, and no longer than it should."""
    shown = escaped(" ".join((line or "").split()))
    return shown if len(shown) <= LONGEST_LINE else shown[: LONGEST_LINE - 1] + "…"

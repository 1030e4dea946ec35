"""Escalation in the store: a job that has died hands over to the next command of its chain.

The chain lies with the job as JSON, `[[after, executable, argv0, argument, ...], ...]`: one list a step, `after`
being the failures of the job before it (null: when its retries are used up). Whoever takes over carries the
rest of the chain, so that a chain needs no look at any settings while it runs.
"""

from __future__ import annotations

from os.path import realpath

from queue_core.escalation import ID
from queue_core.fastjson import dumps
from queue_core.sqlite import audit
from queue_core.sqlite.reads import SUCCESSORS

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Sequence
    from typing import Any

    from queue_core.model import JobState, Step

# It needs whatever the dead one needed. A person who approved that one was shown the chain, and approved it with it;
# any other agent's is judged when it is claimed.
_HAND_OVER = """
INSERT INTO jobs (state, queue, priority, sequential, argv, program, executable, cwd, env, own_env, timeout, retry,
  retries, locks, on_dead, escalated_from, schedule, name, meta, caller, session, project, client, approved_at,
  created_at, ready_at)
SELECT 'available', queue, priority, sequential, :argv, iif(approved_at IS NULL, :program, :executable), :executable,
  cwd, env, own_env, timeout, retry, retries, locks, :rest, id, schedule, name, meta, caller, session, project,
  client, approved_at, :now, :now
FROM jobs WHERE id = :id"""
_PREDECESSORS = """
WITH RECURSIVE earlier (id) AS (
  SELECT escalated_from FROM jobs WHERE id = ? AND escalated_from IS NOT NULL
  UNION ALL
  SELECT j.escalated_from FROM earlier JOIN jobs j ON j.id = earlier.id WHERE j.escalated_from IS NOT NULL)
SELECT j.id, j.state FROM earlier JOIN jobs j ON j.id = earlier.id"""


def store(tx: sqlite3.Connection, job_id: int, steps: Sequence[Step]) -> None:
    """Keep a new job's chain with it, the job's id in its place."""
    chain = [[step.after, step.executable, *(word.replace(ID, str(job_id)) for word in step.argv)] for step in steps]
    tx.execute("UPDATE jobs SET on_dead = ? WHERE id = ?", (dumps(chain), job_id))


def hand_over(tx: sqlite3.Connection, job_id: int, chain: Sequence[Sequence[Any]], now: float) -> None:
    """Queue the first step of a dead job's chain: once for each death, in the transaction that settles it."""
    (_, executable, *argv), *rest = chain
    names = {"program": realpath(executable), "executable": executable, "argv": dumps(argv)}
    parameters = {"id": job_id, "now": now, "rest": dumps(rest) if rest else None, **names}
    audit.note_handed_over(tx, tx.execute(_HAND_OVER, parameters).lastrowid or 0, now)


def successors(tx: sqlite3.Connection, job_id: int) -> list[JobState]:
    """The states of all jobs that this one was handed over to, and those were, and so on."""
    return [row[0] for row in tx.execute(SUCCESSORS, (job_id,)).fetchall()]


def predecessors(tx: sqlite3.Connection, job_id: int) -> list[tuple[int, JobState]]:
    """The jobs from which this one took over, nearest first, each with its state."""
    return tx.execute(_PREDECESSORS, (job_id,)).fetchall()

"""The fifth step: the same rules, at the price of what a statement has changed.

The usual moves of a job (it comes in, a command is claimed, it succeeds) change two to four counters of twelve; the
rest is counted only when something else has happened. A list of three or more values makes SQLite build a b-tree
every time it is asked (5 µs each, a dozen in an UPDATE of jobs), and alternatives do not. And no trigger runs before
the row is there: SQLite would look for it a second time.
"""

from __future__ import annotations

from queue_core.lifecycle import ENTRY_STATES, TRANSITIONS
from queue_core.model import STATES
from queue_core.sqlite.schema.third import DEEDS

_STATE_LIST = ", ".join(f"'{state}'" for state in STATES)
_USUAL = "new.state = 'available' AND new.handler IS NULL AND new.parked IS NULL"
_PARKED = "new.state = 'available' AND new.parked IS NOT NULL"  # no other state is parked
_COUNTED = {
    **{state: f"({{row}}.state = '{state}')" for state in STATES},
    "ready": "({row}.state = 'available' AND {row}.parked IS NULL AND {row}.handler IS NULL)",
    "handled": "({row}.state = 'available' AND {row}.parked IS NULL AND {row}.handler IS NOT NULL)",
    "barred": "({row}.state = 'running' AND {row}.sequential)",
}
_ENTERED = ", ".join(
    f"{name} = {name} + {what.format(row='new')}"
    for name, what in _COUNTED.items()
    if name in (*ENTRY_STATES, "ready", "handled")
)
_MOVED = ", ".join(
    f"{name} = {name} + {what.format(row='new')} - {what.format(row='old')}" for name, what in _COUNTED.items()
)
# A command that is no barrier is claimed, or succeeds.
_USUAL_MOVE = (
    "new.handler IS NULL AND NOT new.sequential AND new.parked IS NULL AND old.parked IS NULL"
    " AND ((old.state = 'available' AND new.state = 'running') OR (old.state = 'running' AND new.state = 'succeeded'))"
)
_USUALLY_MOVED = (
    "available = available - (old.state = 'available'), ready = ready - (old.state = 'available'),"
    " running = running + (new.state = 'running') - (old.state = 'running'),"
    " succeeded = succeeded + (new.state = 'succeeded')"
)


def _any(column: str, *values: str) -> str:
    """The column has one of these values, as alternatives."""
    return "(" + " OR ".join(f"{column} = '{value}'" for value in values) + ")"


def _moves_from(state: str) -> list[str]:
    return sorted({target for (source, _), to in TRANSITIONS.items() if source == state for target in to})


_ALLOWED = " ".join(f"{state}>{target}" for state in STATES for target in _moves_from(state))
_WAITING = _any("state", "held", "blocked", "scheduled", "available")
_PARK_UNMANNED = """UPDATE jobs SET parked = '@' || new.handler  -- until a worker that has its handler claims
    WHERE id = new.id AND new.state = 'available' AND new.handler IS NOT NULL AND new.parked IS NULL
    AND NOT EXISTS (SELECT 1 FROM worker_handlers WHERE handler = new.handler)"""

_OUTCOMES = ("exited", "signalled", "timed_out", "cancelled", "spawn_failed", "lost", "interrupted")

# Constraints of tables in other words: (table, as the first step has them, as alternatives). See `migrations`.
CHECKS = (
    ("jobs", f"CHECK (state IN ({_STATE_LIST}))", f"CHECK ({_any('state', *STATES)})"),
    ("jobs", "CHECK (caller IN ('person', 'hook', 'agent'))", f"CHECK ({_any('caller', 'person', 'hook', 'agent')})"),
    (
        "jobs",
        "CHECK ((state IN ('succeeded', 'dead', 'cancelled')) = (finished_at IS NOT NULL))",
        f"CHECK ({_any('state', 'succeeded', 'dead', 'cancelled')} = (finished_at IS NOT NULL))",
    ),
    (
        "attempts",
        f"CHECK (outcome IN\n    ({', '.join(repr(outcome) for outcome in _OUTCOMES)}))",
        f"CHECK {_any('outcome', *_OUTCOMES)}",
    ),
    ("audit", f"CHECK (what IN ({', '.join(map(repr, DEEDS))}))", f"CHECK {_any('what', *DEEDS)}"),
    ("audit", "CHECK (caller IN ('person', 'hook', 'agent'))", f"CHECK {_any('caller', 'person', 'hook', 'agent')}"),
)

SQL = f"""
DROP TRIGGER jobs_enter;
DROP TRIGGER jobs_added;
DROP TRIGGER jobs_added_unmanned;
DROP TRIGGER jobs_move;
DROP TRIGGER jobs_moved;
DROP TRIGGER jobs_moved_unmanned;
CREATE TRIGGER jobs_enter AFTER INSERT ON jobs WHEN NOT {_any("new.state", *ENTRY_STATES)}
BEGIN SELECT RAISE(ABORT, 'a job cannot begin in this state'); END;
CREATE TRIGGER jobs_added AFTER INSERT ON jobs WHEN {_USUAL}
BEGIN UPDATE queues SET available = available + 1, ready = ready + 1 WHERE name = new.queue; END;
CREATE TRIGGER jobs_added_parked AFTER INSERT ON jobs WHEN {_PARKED}
BEGIN UPDATE queues SET available = available + 1 WHERE name = new.queue; END;
CREATE TRIGGER jobs_added_otherwise AFTER INSERT ON jobs WHEN NOT ({_USUAL}) AND NOT ({_PARKED})
BEGIN
  UPDATE queues SET {_ENTERED} WHERE name = new.queue;
  SELECT RAISE(ABORT, 'a job for a handler that no worker has is parked') WHERE new.state = 'available'
    AND new.parked IS NULL AND NOT EXISTS (SELECT 1 FROM worker_handlers WHERE handler = new.handler);
END;
CREATE TRIGGER jobs_move AFTER UPDATE OF state ON jobs
WHEN old.state <> new.state AND NOT instr(' {_ALLOWED} ', ' ' || old.state || '>' || new.state || ' ')
BEGIN SELECT RAISE(ABORT, 'no event of the table leads to this state'); END;
CREATE TRIGGER jobs_moved AFTER UPDATE OF state ON jobs WHEN {_USUAL_MOVE}
BEGIN UPDATE queues SET {_USUALLY_MOVED} WHERE name = new.queue; END;
CREATE TRIGGER jobs_moved_otherwise AFTER UPDATE OF state, parked ON jobs
WHEN (old.state <> new.state OR old.parked IS NOT new.parked) AND NOT ({_USUAL_MOVE})
BEGIN UPDATE queues SET {_MOVED} WHERE name = new.queue; END;
CREATE TRIGGER jobs_moved_unmanned AFTER UPDATE OF state, parked ON jobs
WHEN new.state = 'available' AND new.handler IS NOT NULL AND new.parked IS NULL
BEGIN
  {_PARK_UNMANNED};
END;

DROP INDEX jobs_waiting;
DROP INDEX jobs_project;
DROP INDEX jobs_session;
DROP INDEX jobs_successors;
CREATE INDEX jobs_waiting ON jobs (state, id) WHERE {_any("state", "held", "blocked", "dead")};
CREATE INDEX jobs_project ON jobs (project) WHERE project IS NOT NULL AND {_WAITING};
CREATE INDEX jobs_session ON jobs (session) WHERE session IS NOT NULL AND {_WAITING};
CREATE INDEX jobs_successors ON jobs (escalated_from, state) WHERE escalated_from IS NOT NULL;
CREATE INDEX queues_turn ON queues (turn);         -- which was served last
"""

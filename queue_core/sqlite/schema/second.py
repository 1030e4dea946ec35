"""The second step: handlers, schedules, escalation in several steps, quotas, and what statistics are made from."""

from __future__ import annotations

_WAITING = "('held', 'blocked', 'scheduled', 'available')"


def _is_ready(row: str, kind: str) -> str:
    """Whether a row could be claimed now, as far as it alone tells; `kind` says for whom."""
    return f"({row}.state = 'available' AND {row}.parked IS NULL AND {row}.handler IS {kind})"


# The queues' counters by state, with the two of what could be claimed: commands, and jobs for handlers.
_STATES = ("held", "blocked", "scheduled", "available", "running", "succeeded", "dead", "cancelled")
_COUNTED = {
    **{state: f"({{row}}.state = '{state}')" for state in _STATES},
    "ready": _is_ready("{row}", "NULL"),
    "handled": _is_ready("{row}", "NOT NULL"),
    "barred": "({row}.state = 'running' AND {row}.sequential)",
}


def _counts(row: str, sign: str) -> str:
    """The counters' changes for one row of jobs that arrives (+) or leaves (-)."""
    return ", ".join(f"{name} = {name} {sign} {what.format(row=row)}" for name, what in _COUNTED.items())


def _moved() -> str:
    return ", ".join(
        f"{name} = {name} + {what.format(row='new')} - {what.format(row='old')}" for name, what in _COUNTED.items()
    )


# A job for a handler that no claiming worker has is parked under "@" and the handler's name, which is no lock's.
_UNMANNED = (
    "new.state = 'available' AND new.handler IS NOT NULL AND new.parked IS NULL"
    " AND NOT EXISTS (SELECT 1 FROM worker_handlers WHERE handler = new.handler)"
)
_PARK = "BEGIN UPDATE jobs SET parked = '@' || new.handler WHERE id = new.id; END"

SQL = f"""
ALTER TABLE jobs ADD COLUMN handler TEXT;          -- the name of the function that runs it, instead of argv
ALTER TABLE jobs ADD COLUMN arguments TEXT CHECK ((handler IS NULL) = (arguments IS NULL) AND
  (handler IS NULL OR argv = '[]'));
ALTER TABLE jobs ADD COLUMN schedule TEXT;         -- the schedule that queued it
ALTER TABLE jobs ADD COLUMN ready_at REAL;         -- since when nothing but its turn was in its way
ALTER TABLE jobs ADD COLUMN pinned_at REAL;
ALTER TABLE attempts ADD COLUMN waited REAL;       -- seconds from ready to started
ALTER TABLE attempts ADD COLUMN result TEXT;       -- what a handler returned, as JSON
UPDATE jobs SET ready_at = coalesce(due_at, created_at), pinned_at = iif(pinned IS NULL, NULL, created_at);
-- What a job is handed over to when it dies: now a list of steps, each with the failures after which it is due.
UPDATE jobs SET on_dead = '[[null,' || substr(on_dead, 2) || ']' WHERE on_dead IS NOT NULL;

ALTER TABLE queues ADD COLUMN handled INTEGER NOT NULL DEFAULT 0;
ALTER TABLE queues ADD COLUMN starts_per_minute INTEGER CHECK (starts_per_minute > 0);
ALTER TABLE queues ADD COLUMN rests_until REAL;    -- it has used up its starts, and hands out nothing before

CREATE TABLE worker_handlers (
  handler TEXT NOT NULL,
  worker TEXT NOT NULL,
  PRIMARY KEY (handler, worker)
) WITHOUT ROWID;

CREATE TABLE starts (                              -- of the last minute, where a limit counts them
  queue TEXT NOT NULL,                             -- '' counts all queues together
  at REAL NOT NULL,
  job INTEGER NOT NULL,
  claim INTEGER NOT NULL,
  PRIMARY KEY (queue, at, job, claim)
) WITHOUT ROWID;

CREATE TABLE schedules (
  name TEXT PRIMARY KEY,
  cron TEXT,
  every REAL CHECK (every > 0),                    -- seconds
  zone TEXT NOT NULL,                              -- of the cron line
  missed TEXT NOT NULL CHECK (missed IN ('skip', 'once', 'all')),
  job TEXT NOT NULL,                               -- what it queues, as the spool writes it
  created_at REAL NOT NULL,
  next_at REAL,                                    -- NULL: never again
  decided_at REAL NOT NULL,                        -- when that was decided
  caller TEXT NOT NULL,                            -- who added it
  last_at REAL,
  last_job INTEGER,
  paused INTEGER NOT NULL DEFAULT 0,               -- 1: by an agent or a hook, 2: by a person
  trouble TEXT,                                    -- why it could not queue its job when it was due
  retry_at REAL,                                   -- in trouble: not tried again before
  CHECK ((cron IS NULL) <> (every IS NULL))
) WITHOUT ROWID;
CREATE INDEX schedules_due ON schedules (next_at) WHERE paused = 0 AND next_at IS NOT NULL;
CREATE INDEX schedules_decided ON schedules (decided_at) WHERE paused = 0 AND next_at IS NOT NULL;

-- Queues are paused by agents and hooks (1) or by persons (2), who alone may resume those. Whose the pauses of
-- earlier versions were is not known: nobody but a person is to lift what a person may have wanted.
UPDATE queues SET paused = 2 WHERE paused = 1;
UPDATE meta SET value = 2 WHERE name = 'paused' AND value = 1;

DROP INDEX queues_ready;
CREATE INDEX queues_ready ON queues (turn)
  WHERE paused = 0 AND barred = 0 AND ready > 0 AND running < slots AND rests_until IS NULL;
CREATE INDEX queues_handled ON queues (turn)
  WHERE paused = 0 AND barred = 0 AND handled > 0 AND running < slots AND rests_until IS NULL;
CREATE INDEX queues_resting ON queues (rests_until) WHERE rests_until IS NOT NULL;

DROP INDEX jobs_parked;
CREATE INDEX jobs_parked ON jobs (parked, queue, handler, priority, id) WHERE parked IS NOT NULL;
DROP INDEX jobs_available;
CREATE INDEX jobs_available ON jobs (queue, priority, id)
  WHERE state = 'available' AND parked IS NULL AND handler IS NULL;
CREATE INDEX jobs_handled ON jobs (handler, queue, parked, priority, id)
  WHERE state = 'available' AND handler IS NOT NULL;
CREATE INDEX jobs_handled_order ON jobs (queue, priority, id)
  WHERE state = 'available' AND parked IS NULL AND handler IS NOT NULL;
CREATE INDEX jobs_barriers ON jobs (queue, priority, id)
  WHERE state = 'available' AND parked IS NULL AND sequential = 1;
CREATE INDEX jobs_successors ON jobs (escalated_from) WHERE escalated_from IS NOT NULL;
CREATE INDEX jobs_project ON jobs (project) WHERE project IS NOT NULL AND state IN {_WAITING};
CREATE INDEX jobs_session ON jobs (session) WHERE session IS NOT NULL AND state IN {_WAITING};
-- What statistics are made from: all of an attempt but its output, in the order of time.
CREATE INDEX attempts_ended ON attempts (finished_at, outcome, exit_code, started_at, waited);
CREATE INDEX jobs_pinned ON jobs (pinned, pinned_at) WHERE pinned IS NOT NULL;

DROP TRIGGER jobs_added;
DROP TRIGGER jobs_removed;
DROP TRIGGER jobs_moved;
CREATE TRIGGER jobs_added AFTER INSERT ON jobs
BEGIN UPDATE queues SET {_counts("new", "+")} WHERE name = new.queue; END;
CREATE TRIGGER jobs_removed AFTER DELETE ON jobs
BEGIN UPDATE queues SET {_counts("old", "-")} WHERE name = old.queue; END;
CREATE TRIGGER jobs_moved AFTER UPDATE OF state, parked ON jobs
WHEN old.state <> new.state OR old.parked IS NOT new.parked
BEGIN UPDATE queues SET {_moved()} WHERE name = new.queue; END;

CREATE TRIGGER jobs_added_unmanned AFTER INSERT ON jobs WHEN {_UNMANNED} {_PARK};
CREATE TRIGGER jobs_moved_unmanned AFTER UPDATE OF state, parked ON jobs WHEN {_UNMANNED} {_PARK};
"""

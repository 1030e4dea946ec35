"""What `runq digest` reads: one snapshot, few columns, no lock, and nothing that a migration has to have made."""

from __future__ import annotations

import os

from queue_core.digest import FAILURES, HELD, SUCCEEDED, Item, News
from queue_core.errors import StoreError, StoreTooNew
from queue_core.fastjson import loads
from queue_core.model import CAPTURE_QUEUE
from queue_core.sqlite.driver import sqlite3
from queue_core.sqlite.engine import SCHEMA_VERSION, identity, refuse_damaged, uri
from queue_core.told import Told
from queue_core.value import Frozen, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from queue_core.home import Home

PATIENCE = 0.3  # seconds: readers wait for nobody but a foreign program
_COUNTER = "SELECT value FROM meta WHERE name = 'ended'"
_NEWEST = "SELECT id, finished_at FROM jobs WHERE ended = ?"
# A project's jobs: those of its folder, whatever name the client has for it, and what a session's own shell
# queued elsewhere. In an agent's shell nothing names the project, so there it is the folder that it is in.
_MINE = "(project IN (:project, :real) OR session = :session)"
_ENDED = "SELECT id, state, finished_at, session, caller, queue FROM jobs"
_AFTER = f"{_ENDED} INDEXED BY jobs_completions WHERE ended > :after AND {_MINE} ORDER BY ended"
_SINCE = (
    f"{_ENDED} INDEXED BY jobs_ended WHERE finished_at IS NOT NULL AND finished_at > :after AND {_MINE}"
    " ORDER BY finished_at"
)
_HELD = (
    "SELECT id FROM jobs INDEXED BY jobs_waiting"
    f" WHERE (state = 'held' OR state = 'blocked' OR state = 'dead') AND state = 'held' AND {_MINE} ORDER BY id"
)
_RUNNING = f"SELECT count(*) FROM jobs INDEXED BY jobs_running WHERE state = 'running' AND {_MINE}"
_WAITING = (
    "SELECT (SELECT count(*) FROM jobs INDEXED BY jobs_project WHERE project IN (:project, :real)"
    " AND (state = 'held' OR state = 'blocked' OR state = 'scheduled' OR state = 'available'))"
    " + (SELECT count(*) FROM jobs INDEXED BY jobs_session WHERE session = :session"
    " AND (project IS NULL OR project NOT IN (:project, :real))"
    " AND (state = 'held' OR state = 'blocked' OR state = 'scheduled' OR state = 'available'))"
)
_ALL_WAITING = "SELECT coalesce(sum(held + blocked + scheduled + available), 0) FROM queues"
_ITEMS = (
    "SELECT id, argv, handler, outcome, exit_code, signal,"
    " (SELECT max(s.id) FROM jobs s WHERE s.escalated_from = jobs.id) FROM jobs WHERE id IN ({})"
)


class Look(Frozen):
    """What a look has found: the news, and where the session stands when it has been told them."""

    news: News
    told: Told
    anew: bool  # whether what the session was told before is of another database, or nothing at all
    changed: bool  # whether there is anything to remember


def look(
    home: Home, told: Told, *, session: str, project: str, since: float, quiet: bool, is_full: Callable[[int], bool]
) -> Look:
    """What of a project's jobs is news to a session; of one without a cursor, what ended after `since` (epoch).

    With `quiet`, a capture that went well is no news by itself. StoreError if the database cannot be read.
    """
    refuse_damaged(home)
    try:
        connection = sqlite3.connect(uri(home.database, "ro"), timeout=PATIENCE, isolation_level=None, uri=True)
        try:
            whose = {"session": session, "project": project, "real": os.path.realpath(project)}
            file = list(identity(home.database) or ())
            return _look(connection, told, file, whose, since, quiet, is_full)
        finally:
            connection.close()  # who can only read checkpoints nothing
    except (sqlite3.Error, LookupError, TypeError, ValueError) as error:
        raise StoreError(f"the queue could not be read ({error}); see `runq doctor`") from None


def _look(
    connection: sqlite3.Connection,
    told: Told,
    file: list[int],
    whose: Mapping[str, str],
    since: float,
    quiet: bool,
    is_full: Callable[[int], bool],
) -> Look:
    connection.execute("BEGIN")
    if connection.execute("PRAGMA user_version").fetchone()[0] > SCHEMA_VERSION:
        raise StoreTooNew("the database is of a newer runq; update this one")
    cursor: int = connection.execute(_COUNTER).fetchone()[0]
    is_known = told.cursor is not None and told.cursor <= cursor and _is_its(connection, told, file)
    if not is_known:
        told = replace(told, held=frozenset(), full=False)
    statement, after = (_AFTER, told.cursor) if is_known else (_SINCE, since)
    ended = connection.execute(statement, {**whose, "after": after}).fetchall()
    fresh = [row for row in ended if not told.knows(row[0], row[2], own=row[3] == whose["session"])]
    held = frozenset([row[0] for row in connection.execute(_HELD, whose)])
    asking = sorted(held - told.held)
    waiting = connection.execute(_ALL_WAITING).fetchone()[0]
    full = waiting if waiting and not told.full and is_full(waiting) else 0
    captured = [row for row in fresh if row[1] == "succeeded" and row[4:] == ("hook", CAPTURE_QUEUE)]
    newest = connection.execute(_NEWEST, (cursor,)).fetchone()
    now = replace(told, cursor=cursor, file=file, newest=newest and list(newest), held=held)
    if quiet and fresh and len(captured) == len(fresh) and not asking and not full:
        return Look(news=News(), told=told, anew=False, changed=False)  # they are told beside the next news
    news = _news(connection, fresh, asking, full, whose)
    return Look(
        news=news,
        told=replace(now, full=now.full or bool(full)),
        anew=not is_known,
        changed=bool(ended or asking or full or (told.begun and not is_known)),
    )


def _is_its(connection: sqlite3.Connection, told: Told, file: list[int]) -> bool:
    """Whether the session was told of this very database.

    Its newest completion then says it best: a restored backup keeps that, and a new file may get the old one's
    number. Where that job has gone or runs again, the file has to be the same.
    """
    newest = connection.execute(_NEWEST, (told.cursor,)).fetchone()
    if newest is not None and told.newest is not None:
        return list(newest) == told.newest
    return told.file == file


def _news(
    connection: sqlite3.Connection,
    fresh: Sequence[tuple[Any, ...]],
    asking: Sequence[int],
    full: int,
    whose: Mapping[str, str],
) -> News:
    by_state: dict[str, list[int]] = {"dead": [], "succeeded": [], "cancelled": []}
    for row in fresh:
        by_state[row[1]].append(row[0])
    dead, succeeded = by_state["dead"], by_state["succeeded"]
    return News(
        failed=len(dead),
        held=len(asking),
        succeeded=len(succeeded),
        cancelled=len(by_state["cancelled"]),
        failures=_items(connection, dead[:FAILURES]),
        waiting_for_approval=_items(connection, asking[:HELD]),
        successes=_items(connection, succeeded[:SUCCEEDED]),
        running=connection.execute(_RUNNING, whose).fetchone()[0],
        waiting=connection.execute(_WAITING, whose).fetchone()[0],
        full=full,
    )


def _items(connection: sqlite3.Connection, ids: Sequence[int]) -> tuple[Item, ...]:
    """These jobs, in their order."""
    rows = connection.execute(_ITEMS.format(", ".join("?" * len(ids))), ids).fetchall() if ids else []
    found = {row[0]: row for row in rows}
    return tuple([_item(*found[job_id]) for job_id in ids if job_id in found])


def _item(
    job_id: int,
    argv: str,
    handler: str | None,
    outcome: str | None,
    exit_code: int | None,
    signal: int | None,
    successor: int | None,
) -> Item:
    return Item(
        id=job_id,
        command=(handler,) if handler else tuple(loads(argv)),
        outcome=outcome,
        exit_code=exit_code,
        signal=signal,
        successor=successor,
    )

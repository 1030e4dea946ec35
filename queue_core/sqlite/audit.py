"""The audit trail: who did what, written in the very transaction that did it."""

from __future__ import annotations

from queue_core.fastjson import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3
    from collections.abc import Iterable, Sequence

    from queue_core.jobs import Deed, DeedFilter
    from queue_core.model import Origin
    from queue_core.sqlite.reads import Read

MOST = 500_000  # deeds that are kept
LONGEST, LONGEST_WORD, MOST_WORDS = 4096, 100, 30  # characters of a command; of a longer one what is kept
_NAMES = ("id", "at", "what", "job", "about", "caller", "client", "session", "project")
_COLUMNS = ", ".join(_NAMES)
# From the trail itself, since it outlives the jobs; it has no index by jobs, so one look for all of them.
_COMMANDS = "SELECT job, about FROM audit WHERE what IN ('queued', 'held') AND job IN (SELECT value FROM json_each(?))"
_CONCERNS = "({column} = ? OR job IN (SELECT job FROM audit WHERE what IN ('queued', 'held') AND {column} = ?))"
_INSERT = "INSERT INTO audit (at, what, job, about, caller, client, session, project) VALUES (?, ?, ?, ?, ?, ?, ?, ?)"

# Who acts in a project may act on another's job; a job that was pruned is known by the deed that queued it.
_WITHIN = (
    "project = ? AND (job IS NULL OR EXISTS (SELECT 1 FROM jobs WHERE jobs.id = audit.job AND jobs.project = ?)"
    " OR job IN (SELECT job FROM audit WHERE what IN ('queued', 'held') AND project = ?))"
)


def note(
    tx: sqlite3.Connection, what: str, by: Origin, now: float, *, job: int | None = None, about: str | None = None
) -> None:
    """Note one deed: `what` is one of the schema's words, `about` a command as JSON or the name of something."""
    tx.execute(_INSERT, (now, what, job, about, by.caller, by.client, by.session, by.project))


def command(argv: Sequence[str], written: str) -> str:
    """An argv (and as JSON) as the trail keeps it: a long one is cut, or agents could fill the disk with it."""
    if len(written) <= LONGEST:
        return written
    return dumps([*(word[:LONGEST_WORD] for word in argv[:MOST_WORDS]), f"… {len(written)} characters in all"])


def note_jobs(tx: sqlite3.Connection, what: str, jobs: Iterable[int], by: Origin, now: float) -> None:
    """Note the same deed for several jobs."""
    who = (by.caller, by.client, by.session, by.project)
    tx.executemany(_INSERT, [(now, what, job, None, *who) for job in jobs])


def note_handed_over(tx: sqlite3.Connection, job: int, now: float) -> None:
    """Note a job that took over from another: it was queued by whoever had queued that one."""
    _note_of_itself(tx, "queued", job, now)


def note_taken_back(tx: sqlite3.Connection, job: int, now: float) -> None:
    """Note a job that may not run after all, and waits for a person from now on."""
    _note_of_itself(tx, "held", job, now)


def _note_of_itself(tx: sqlite3.Connection, what: str, job: int, now: float) -> None:
    tx.execute(
        "INSERT INTO audit (at, what, job, about, caller, client, session, project)"
        f" SELECT ?, ?, id, iif(length(argv) <= {LONGEST}, argv, program),"
        " caller, client, session, project FROM jobs WHERE id = ?",
        (now, what, job),
    )


def forget(tx: sqlite3.Connection, *, before: float) -> int:
    """Forget what was noted before a time (seconds since the epoch); how many deeds went.

    Beyond `MOST` the oldest go whatever their age: what agents are refused is noted too, and shall not fill the disk.
    """
    tx.execute("DELETE FROM audit WHERE id <= (SELECT max(id) FROM audit) - ?", (MOST,))
    return tx.execute("DELETE FROM audit WHERE at < ?", (before,)).rowcount


def deeds(wanted: DeedFilter) -> Read[list[Deed]]:
    """What was done, newest first; what was done to a job is told with the command that it was queued with."""
    from queue_core.jobs import Deed  # who only adds a job notes deeds, and reads none
    from queue_core.value import replace

    conditions: list[str] = []
    parameters: list[object] = []
    for column in ("job", "what", "caller"):
        value: object = getattr(wanted, column)
        if value is not None:
            conditions.append(f"{column} = ?")
            parameters.append(value)
    for column in ("project", "session"):
        value = getattr(wanted, column)
        if value is not None:  # a person decides from anywhere: what was done to its jobs belongs to it as well
            conditions.append(_CONCERNS.format(column=column))
            parameters += [value] * 2
    if wanted.since is not None:
        conditions.append("at >= ?")
        parameters.append(wanted.since)
    if wanted.within is not None:
        conditions.append(_WITHIN)
        parameters += [wanted.within] * 3
    where = " AND ".join(conditions) or "1"
    rows = yield f"SELECT {_COLUMNS} FROM audit WHERE {where} ORDER BY id DESC LIMIT ?", (*parameters, wanted.limit)
    found = [Deed(**dict(zip(_NAMES, row, strict=True))) for row in rows]
    jobs = {deed.job for deed in found if deed.about is None and deed.job is not None}
    commands = dict((yield _COMMANDS, (dumps(list(jobs)),))) if jobs else {}
    return [deed if deed.about else replace(deed, about=commands.get(deed.job)) for deed in found]

"""Restoring a backup: what would happen, whether it may, and doing it so that nothing is lost on the way.

What the backup knows is as it was then. A command that ran then has ended since, and what became of
*that* claim is known: its record tells, as it does after a crash, so it is settled by it (lost, if
there is none). What its job did later, in claims that the backup does not know, is undone with
everything else: the job goes on from the claim that was settled, with numbers beyond all that are on disk.
"""

from __future__ import annotations

import os
import shutil
import time
from contextlib import contextmanager

from queue_core import backups, changes, recovery, safekeeping
from queue_core.errors import NotAllowed, QueueError, StoreBusy, StoreError
from queue_core.home import Home, make_folder
from queue_core.keeper import protocol, records, started
from queue_core.liveness import living_workers
from queue_core.sqlite import backup as engine
from queue_core.sqlite import damage, restore
from queue_core.sqlite.driver import sqlite3
from queue_core.sqlite.engine import Database, connect, translate
from queue_core.sqlite.flock import locked
from queue_core.sqlite.store import SqliteStore
from queue_core.value import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Generator, Iterator, Mapping
    from typing import Any, Literal

    from queue_core.model import Caller, Origin
    from queue_core.safekeeping import Listed

PATIENCE = 10.0  # seconds
FAREWELL = 2.0  # seconds that a keeper with nothing to do takes at most to leave after its worker


class Present(Frozen):
    """The database that is there now: `unusable` is damaged, or another program's."""

    condition: Literal["sound", "unusable", "missing"]
    jobs: int | None = None


class Choice(Frozen):
    """What a restore would put in place, and what a person should know before it does."""

    chosen: Listed
    warnings: tuple[str, ...] = ()


class Restored(Frozen):
    """What a restore has done."""

    backup: Listed
    kept_as: str | None  # the name under which the database from before is kept; None if there was none


class _Kept(Frozen):
    """The database from before: where it is (to be) kept, and how far it had counted."""

    condition: Literal["sound", "unusable", "missing"]
    path: str | None = None
    numbers: engine.Numbers | None = None


def choose(home: Home, wanted: str | None, *, now: float) -> Choice:
    """The backup of this name or path, or the newest good one; read from end to end. QueueError if it is of no use."""
    chosen = _newest_good(home, now) if wanted is None else _looked_at(home, wanted)
    return Choice(chosen=chosen, warnings=tuple(_warnings(home, chosen.backup, now)))


def _newest_good(home: Home, now: float) -> Listed:
    for one in backups.worth_restoring(backups.there(home), now=now):
        found = safekeeping.look(one)
        if found.error is None:
            return found
    raise QueueError("there is no good backup to restore; `runq backup list` shows those that there are")


def _looked_at(home: Home, wanted: str) -> Listed:
    found = safekeeping.look(_named(home, wanted))
    if found.error is not None:
        raise QueueError(f"{wanted} cannot be restored: {found.error}; `runq backup list` shows the others")
    return found


def _warnings(home: Home, chosen: backups.Backup, now: float) -> Iterator[str]:
    """What its date does not tell, or tells wrongly, since a clock may have been wrong."""
    if chosen.taken_at > now:
        yield f"{chosen.name} is dated in the future: this clock is wrong, or was when it was taken"
    newest, reached = chosen, _reached(chosen.path)
    for one in backups.worth_restoring(backups.there(home), now=now):
        if one.path != chosen.path and (its := _reached(one.path)) > reached:
            newest, reached = one, its
    if newest.path != chosen.path:
        yield f"{newest.name} has newer content than {chosen.name}: more jobs had been added or had ended"


def _reached(path: str) -> tuple[int, int]:
    """How far a backup had counted: in one home these numbers never go back, whatever clocks do."""
    found = engine.numbers_in(path) or engine.Numbers()
    return found.last_id, found.ended


def _named(home: Home, wanted: str) -> backups.Backup:
    path = f"{home.backups}/{wanted}" if "/" not in wanted else os.path.abspath(wanted)
    if "/" not in wanted and not os.path.exists(path):
        path = os.path.abspath(wanted)
    if not os.path.isfile(path):
        raise QueueError(f"there is no backup {wanted}; `runq backup list` shows those that there are")
    if os.path.exists(home.database) and os.path.samefile(path, home.database):
        raise QueueError(f"{wanted} is the queue's database itself; `runq backup list` shows the backups")
    return backups.described(path) or backups.Backup(path=path, kind="manual", taken_at=os.stat(path).st_mtime)


def present(home: Home) -> Present:
    """Look at the database that is there now, whatever state it is in."""
    if _is_missing(home):
        return Present(condition="missing")
    connection = None
    try:
        connection = connect(home, patience=PATIENCE)
        found = engine.examine(connection)
    except StoreBusy:
        raise
    except (sqlite3.DatabaseError, StoreError):
        return Present(condition="unusable")
    finally:
        if connection is not None:
            engine.close(home, connection)
    return Present(condition="unusable") if found.error else Present(condition="sound", jobs=found.jobs)


def _is_missing(home: Home) -> bool:
    return not os.path.exists(home.database) or not os.path.getsize(home.database)


def restore_backup(
    home: Home,
    chosen: Listed,
    by: Origin,
    *,
    clock: Callable[[], float],
    chance: Callable[[], float],
    permanent_exit_codes: Collection[int] = (),
    keep_secrets: bool = False,
) -> Restored:
    """Put a backup in the database's place, and keep the database from before. A person's alone.

    QueueError, and nothing is changed: while a worker lives or a command runs, if the database cannot be
    kept, if there is no room, if the backup is no whole queue. `clock` gives seconds since the epoch;
    `chance` is for the retries of what ran when the backup was taken.
    """
    refuse_others(by.caller)
    with safekeeping.sole(home), locked(home.write_lock, PATIENCE), _cleared_away(home.restoring):
        # Under the lock, so that no worker comes up meanwhile: it has to register first.
        newest_claims = _refuse_while_busy(home)
        now = clock()
        kept = _keep_present(home, now)
        with _undone_on_failure(home, kept):
            staging = Home(data=make_folder(home.restoring), config=home.config)
            restore.stage(chosen.backup.path, staging.database)
            _count_on(staging, kept.numbers, newest_claims)
            how = {"chance": chance, "permanent_exit_codes": permanent_exit_codes, "keep_secrets": keep_secrets}
            _settle_what_ran(staging, home, now=now, **how)
            _raise_claims(staging, newest_claims)
            _note(staging, chosen.backup.name, by, now)
            safekeeping.need_kept(home)
            if kept.condition == "sound":
                restore.overwrite(home, staging.database)
            else:
                restore.replace(home, staging.database, kept.path)
        damage.forget(home)
    changes.ring(home, "work", "watch")
    kept_as = os.path.basename(kept.path) if kept.path else None
    return Restored(backup=chosen, kept_as=kept_as)


def refuse_others(caller: Caller) -> None:
    """NotAllowed for whoever is no person: a restore undoes what happened since, approvals and refusals included."""
    if caller != "person":
        raise NotAllowed("only a person may restore a backup, from a terminal of their own; ask the user to do it")


@contextmanager
def _undone_on_failure(home: Home, kept: _Kept) -> Generator[None]:
    """Leave nothing behind of a restore that failed, and say so in words.

    An interrupt is no failure: while SQLite puts the pages in place, it is heard of when they are committed. From
    there on the copy of the database from before stays.
    """
    try:
        yield
    except BaseException as error:
        safekeeping.forget_unneeded(home)
        if isinstance(error, Exception) and kept.condition == "sound" and kept.path is not None:
            engine.remove(kept.path)  # a copy of what is still in its place
        if isinstance(error, sqlite3.DatabaseError):
            failed = StoreError(f"the backup could not be restored ({error}); nothing was changed")
            raise translate(error, home) or failed from error
        if isinstance(error, OSError):
            raise StoreError(f"the backup could not be restored ({error}); what was there is kept") from error
        raise


@contextmanager
def _cleared_away(folder: str) -> Generator[None]:
    try:
        yield
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# who is in the way


def _refuse_while_busy(home: Home) -> dict[int, int]:
    """The newest claim of each job that has files here. QueueError while a worker lives or a command runs."""
    if living_workers(home):
        raise QueueError("a worker is up: end it with `runq work --stop`, then restore; nothing was changed")
    give_up = time.monotonic() + FAREWELL
    while any(protocol.alive(home.keeper(name)) for name in _names(home.path("keepers"))):
        if time.monotonic() > give_up:
            raise QueueError(_RUNNING.format("commands still run", "them"))
        time.sleep(0.01)
    for name in _names(home.path("keepers")):
        for start in started.noted(home.keeper(name)).values():  # it may have removed its record
            if records.process_alive(start):
                raise QueueError(_RUNNING.format(f"the command of job {start.job} still runs", "it"))
    newest: dict[int, int] = {}
    for job, claim in _claims(home):
        if _runs(home.run(job, claim)):
            raise QueueError(_RUNNING.format(f"the command of job {job} still runs", "it"))
        newest[job] = max(claim, newest.get(job, 0))
    return newest


_RUNNING = (
    "{0}, without a worker: wait for the end, or start a worker and end {1} with "
    "`runq work --stop --now`, then restore; nothing was changed"
)


def _claims(home: Home) -> Iterator[tuple[int, int]]:
    for job in _names(home.path("runs")):
        if job.isdigit():
            yield from ((int(job), int(claim)) for claim in _names(home.path("runs", job)) if claim.isdigit())


def _runs(run_dir: str) -> bool:
    """Whether the command of a claim lives on; what it has left behind may hold its lock for longer."""
    record = records.read(run_dir)
    if record and record.end:
        return False
    return records.locked(run_dir) or records.process_alive(record.start if record else None)


def _names(folder: str) -> list[str]:
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []


# the steps


def _keep_present(home: Home, now: float) -> _Kept:
    """Keep the database that is there: as a backup if it is sound; else say under which name it will be kept."""
    if _is_missing(home):
        return _Kept(condition="missing")
    try:
        connection = connect(home, patience=PATIENCE)
    except StoreBusy:  # somebody uses it, so it is of use
        raise
    except StoreError:
        return _Kept(condition="unusable", path=safekeeping.new_path(home, "before-restore", now))
    path, known = safekeeping.new_path(home, "before-restore", now), engine.numbers(connection)
    try:
        safekeeping.note_kept(home, path)
        engine.copy(connection, path)
        return _Kept(condition="sound", path=path, numbers=known)
    except engine.NotSound:
        return _Kept(condition="unusable", path=path, numbers=known)
    finally:
        connection.close()


def _count_on(staging: Home, known: engine.Numbers | None, newest_claims: Mapping[int, int]) -> None:
    """Bring the copy to this runq's schema, its workers forgotten, its numbers beyond all that were given."""
    database = _migrated(staging)
    own = engine.numbers(database.connection) or engine.Numbers()
    if known is None:  # jobs that never ran have left nothing to count them by
        known = engine.Numbers(last_id=own.last_id + restore.LEAP, ended=own.ended + restore.LEAP)
    last_id = max(own.last_id, known.last_id, *newest_claims, 0)
    database.write(restore.go_on_beyond, engine.Numbers(last_id=last_id, ended=known.ended))
    database.write(restore.forget_workers)
    database.close()


_NOT_WHOLE = "the backup cannot be restored: {0}; nothing was changed. `runq backup list` shows the others"


def _migrated(staging: Home) -> Database:
    """The copy, brought to this runq's schema. QueueError if that does not make a whole queue of it."""
    try:
        database = Database(staging)
        wrong = engine.examine(database.connection).error
    except sqlite3.DatabaseError as error:
        raise QueueError(_NOT_WHOLE.format(f"it is no whole queue ({error})")) from error
    if wrong:
        database.close()
        raise QueueError(_NOT_WHOLE.format(wrong))
    return database


def _settle_what_ran(staging: Home, home: Home, **how: Any) -> None:
    """No command runs any more, so that it is certain of each what became of it."""
    store = SqliteStore(staging)
    try:
        found = recovery.recover(store, home, **how)
        if found.orphans:
            raise QueueError(_RUNNING.format("commands still run", "them"))
    finally:
        store.close()


def _note(staging: Home, name: str, by: Origin, now: float) -> None:
    store = SqliteStore(staging)
    try:
        store.note("restored", by=by, now=now, about=name)
    finally:
        store.close()


def _raise_claims(staging: Home, newest_claims: Mapping[int, int]) -> None:
    database = Database(staging)
    database.write(restore.raise_claims, newest_claims)
    database.close()

"""A backup back in the database's place, and what keeps it from being mistaken for what came after it.

The commands' files are not in a backup, and name jobs and claims that it has never heard of. So no
number that was ever used may come again: ids go on beyond all that are known, and so do the claims of
every job that has newer files than the backup knows.
"""

from __future__ import annotations

import os
import shutil
from contextlib import suppress

from queue_core.errors import StoreBusy
from queue_core.home import sync
from queue_core.sqlite.backup import Numbers, patiently, remove
from queue_core.sqlite.driver import sqlite3
from queue_core.sqlite.engine import connect, uri

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from queue_core.home import Home

# Ids that may have been given since the backup, where nothing can be read any more that would tell.
LEAP = 10_000


def go_on_beyond(tx: sqlite3.Connection, known: Numbers) -> None:
    """Ids and completions begin after these. A cursor that somebody holds finds all that ends from now on."""
    moved = tx.execute("UPDATE sqlite_sequence SET seq = max(seq, ?) WHERE name = 'jobs'", (known.last_id,))
    if not moved.rowcount:  # there has never been a job
        tx.execute("INSERT INTO sqlite_sequence VALUES ('jobs', ?)", (known.last_id,))
    tx.execute("UPDATE meta SET value = max(value, ?) WHERE name = 'ended'", (known.ended,))


def raise_claims(tx: sqlite3.Connection, on_disk: Mapping[int, int]) -> None:
    """Jobs with files of claims that they have not made yet go on after those.

    One further, at a number without files: the output of a claim that is undone is not shown as theirs.
    """
    tx.executemany(
        "UPDATE jobs SET claim = ? + 1 WHERE id = ? AND claim < ?",
        [(claim, job, claim) for job, claim in on_disk.items()],
    )


def forget_workers(tx: sqlite3.Connection) -> None:
    """All that were registered then are dead; what they could run is somebody else's to say."""
    from queue_core.sqlite.workers import forget

    forget(tx, [row[0] for row in tx.execute("SELECT id FROM workers").fetchall()])


def stage(backup: str, path: str) -> None:
    """A copy of a backup to work on, in the journal mode that the queue's database has."""
    source = sqlite3.connect(uri(backup, "ro") + "&immutable=1", uri=True)
    os.close(os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600))
    target = sqlite3.connect(uri(path, "rw"), isolation_level=None, uri=True)
    try:
        source.backup(target, progress=patiently())
        target.execute("PRAGMA journal_mode = WAL").fetchall()
    finally:
        target.close()
        source.close()


def overwrite(home: Home, staged: str) -> None:
    """Make a sound database hold what the staged one holds, in one transaction; the caller has the write lock.

    The file stays the same: whoever has it open sees the new content with its next statement. That the WAL cannot be
    emptied afterwards (a full disk) changes nothing about it.
    """
    source = sqlite3.connect(uri(staged, "rw"), isolation_level=None, uri=True)
    target = connect(home)
    try:
        source.backup(target, progress=patiently())
        with suppress(sqlite3.Error):
            target.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchall()
    finally:
        target.close()
        source.close()


def replace(home: Home, staged: str, aside: str | None) -> None:
    """Put the staged file in the place of a database that cannot be read; the caller has the write lock.

    What was there is kept as `aside`, its WAL beside it: that must never be applied to the new file.
    """
    _gather(staged)
    if aside is not None:
        try:
            os.link(home.database, aside)
        except OSError:  # another file system, or one without hard links
            shutil.copy2(home.database, aside)
    if os.path.exists(home.database + "-wal"):
        shutil.move(home.database + "-wal", aside + "-wal" if aside else staged + "-old")
    for name in ("-shm", "-journal"):
        remove(home.database + name)
    sync(staged)
    os.replace(staged, home.database)
    sync(home.data)


def _gather(staged: str) -> None:
    """Have all that was written to it in the one file that is moved: closing it says nothing of a full disk."""
    connection = sqlite3.connect(uri(staged, "rw"), isolation_level=None, uri=True)
    try:
        busy: int = connection.execute("PRAGMA wal_checkpoint(TRUNCATE)").fetchone()[0]
    finally:
        connection.close()
    if busy:
        raise StoreBusy("another program has the copy open that is to be put in place; close it and try again")

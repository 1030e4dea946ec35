"""persist-queue and litequeue: libraries that store and hand out, and run nothing."""

from __future__ import annotations

import json
import sys
from collections.abc import Callable

from benchmarks.inside.callers import seconds

ITEM = json.dumps({"argv": ["true"]})


def persist_queue(folder: str) -> Callable[[str], object]:
    """SQLiteAckQueue commits each put; SQLite's default, FULL, is never lowered."""
    from persistqueue import SQLiteAckQueue

    return SQLiteAckQueue(folder, auto_commit=True, multithreading=True).put


def lite_queue(folder: str) -> Callable[[str], object]:
    """As it comes: WAL with `synchronous = NORMAL`, so nothing is synced at a commit."""
    from litequeue import LiteQueue

    return LiteQueue(f"{folder}/lite.db").put


def lite_queue_full(folder: str) -> Callable[[str], object]:
    """The same on a connection that is told to sync."""
    from litequeue import LiteQueue

    queue = LiteQueue(f"{folder}/lite.db")
    queue.conn.execute("PRAGMA synchronous = FULL")
    return queue.put


def main() -> None:
    name, folder, count = sys.argv[1:]
    put = {"persist-queue": persist_queue, "litequeue": lite_queue, "litequeue-full": lite_queue_full}[name](folder)
    put(ITEM)
    print(json.dumps({"seconds": seconds(lambda: put(ITEM), int(count))}))

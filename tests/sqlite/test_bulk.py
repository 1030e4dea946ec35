"""Jobs that share a statement are stored as each would have been alone."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING, Any

from queue_core.home import Home
from queue_core.model import Origin
from queue_core.sqlite.store import SqliteStore
from tests.conformance.builders import admission

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from queue_core.model import Admission, Receipt

TABLES = ("jobs", "queues", "audit", "dependencies", "sqlite_sequence")


def mixed() -> list[Admission]:
    """More than a statement takes, of every kind, with those in between that cannot share one."""
    agent = Origin(caller="agent", session="s", project="/p", client="c")
    found: list[Admission] = []
    for number in range(40):
        found += [
            admission(name=f"plain {number}"),
            admission(queue=f"q{number % 3}", priority="high", sequential=True),
            admission(handler="score", arguments={"n": number}),
            admission("echo", "x" * 5000),
            admission(due_at=50.0 + number, meta={"a": "b"}),
        ]
    found[70:70] = [
        admission(unique="key"),
        admission(ref="first"),
        admission(after=("first",)),
        admission(unique="key"),
    ]
    found += [admission(origin=agent, held="why not"), admission(origin=agent)]
    return found


def stored(home: Home, batches: Sequence[Sequence[Admission]]) -> tuple[list[Receipt], dict[str, list[Any]]]:
    store = SqliteStore(home)
    receipts: list[Receipt] = []
    for batch in batches:
        receipts += store.enqueue(batch, now=60.0, capacity=10**6, parallelism=4)
    store.close()
    with closing(sqlite3.connect(home.database)) as database:
        return receipts, {table: database.execute(f"SELECT * FROM {table} ORDER BY 1").fetchall() for table in TABLES}


def test_they_are_what_they_would_be_one_by_one(tmp_path: Path) -> None:
    jobs = mixed()
    named = [number for number, one in enumerate(jobs) if one.job.ref or one.job.after]
    alone = [[one] for one in jobs]
    alone[named[0] : named[-1] + 1] = [[jobs[number] for number in named]]  # a name is known within one call only
    homes = [Home(data=str(tmp_path / name), config=str(tmp_path)) for name in ("together", "alone")]
    together, one_by_one = stored(homes[0], [jobs]), stored(homes[1], alone)
    assert together == one_by_one
    assert len({receipt.id for receipt in together[0]}) == len(jobs) - 1  # one unique key was there already


def test_an_id_is_not_used_again_when_the_newest_job_is_gone(tmp_path: Path) -> None:
    home = Home(data=str(tmp_path / "home"), config=str(tmp_path))
    first, _ = stored(home, [[admission(), admission()]])
    with closing(sqlite3.connect(home.database, isolation_level=None)) as database:
        database.execute("DELETE FROM jobs")
    second, _ = stored(home, [[admission(), admission()]])
    assert [receipt.id for receipt in first + second] == [1, 2, 3, 4]

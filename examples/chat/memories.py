"""What the chat remembers: the application's own database, which the queue knows nothing of."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Generator

PIN_CAP = 8  # pins of one owner beyond which an automatic one gives way

SCHEMA = """
CREATE TABLE IF NOT EXISTS memories (
    id INTEGER PRIMARY KEY,
    owner TEXT NOT NULL,
    text TEXT NOT NULL,
    score INTEGER,
    pinned TEXT CHECK (pinned IN ('automatic', 'person'))
)
"""
GIVE_WAY = """
UPDATE memories SET pinned = NULL
WHERE (SELECT count(*) FROM memories WHERE owner = :owner AND pinned IS NOT NULL) > :cap
AND id = (
    SELECT id FROM memories WHERE owner = :owner AND pinned = 'automatic' AND id != :memory ORDER BY id LIMIT 1
)
"""


class Memories:
    """Every method is one transaction, from any thread."""

    def __init__(self, path: str) -> None:
        self._path = path
        with self._transaction() as db:
            db.execute(SCHEMA)

    def add(self, owner: str, text: str) -> int:
        """Remember something; the memory's id."""
        with self._transaction() as db:
            return int(db.execute("INSERT INTO memories (owner, text) VALUES (?, ?)", (owner, text)).lastrowid or 0)

    def text(self, memory: int) -> str | None:
        """What was said; None if there is no such memory."""
        with self._transaction() as db:
            row = db.execute("SELECT text FROM memories WHERE id = ?", (memory,)).fetchone()
        return row[0] if row else None

    def of(self, owner: str) -> list[dict[str, Any]]:
        """All of one owner's, oldest first."""
        with self._transaction() as db:
            rows = db.execute("SELECT id, text, score, pinned FROM memories WHERE owner = ? ORDER BY id", (owner,))
            return [dict(zip(("id", "text", "score", "pinned"), row, strict=True)) for row in rows]

    def unscored(self) -> list[int]:
        """Those that nobody has scored yet."""
        with self._transaction() as db:
            return [row[0] for row in db.execute("SELECT id FROM memories WHERE score IS NULL ORDER BY id")]

    def set_score(self, memory: int, score: int) -> None:
        """Note how significant it is."""
        with self._transaction() as db:
            db.execute("UPDATE memories SET score = ? WHERE id = ?", (score, memory))

    def pin(self, memory: int) -> bool:
        """A person's pin: it never gives way. Whether there is such a memory."""
        with self._transaction() as db:
            return db.execute("UPDATE memories SET pinned = 'person' WHERE id = ?", (memory,)).rowcount == 1

    def pin_automatically(self, memory: int) -> None:
        """Pin it unless it is; beyond the cap the owner's oldest automatic pin gives way, a person's never."""
        with self._transaction() as db:
            db.execute("UPDATE memories SET pinned = 'automatic' WHERE id = ? AND pinned IS NULL", (memory,))
            owner = db.execute("SELECT owner FROM memories WHERE id = ?", (memory,)).fetchone()[0]
            db.execute(GIVE_WAY, {"owner": owner, "cap": PIN_CAP, "memory": memory})

    @contextmanager
    def _transaction(self) -> Generator[sqlite3.Connection]:
        with closing(sqlite3.connect(self._path)) as db, db:
            yield db

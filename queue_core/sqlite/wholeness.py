"""Whether a database is a whole queue: the tables, indexes and triggers of the schema, each as runq makes it, no other.

A copy that lacks one opens, and then fails whoever works with it; a trigger of somebody else's would go on
changing jobs unseen.
"""

from __future__ import annotations

import re

from queue_core.sqlite.driver import sqlite3
from queue_core.sqlite.migrations import STEPS, statements
from queue_core.sqlite.schema.fifth import CHECKS

Parts = dict[tuple[str, str], str]  # (table, index, trigger or view; name) to its SQL

# What SQLite keeps of a statement as it was written, and what makes no difference to it.
_TOKEN = re.compile(r"""--[^\n]*|/\*.*?\*/|\s+|('(?:''|[^'])*'|"(?:""|[^"])*"|\w+|.)""", re.DOTALL)
_SHOWN = 3  # names in a sentence

_made: dict[int, Parts] = {}


def fault(connection: sqlite3.Connection, version: int) -> str | None:
    """What a database of this schema lacks, or has that is not runq's, in words; None if it is whole."""
    found, expected = _parts(connection), _expected(version)
    lacking = [part for part in expected if part not in found]
    missing = [_named(part) for part in lacking if part[0] == "table"] or [_named(part) for part in lacking]
    foreign = [_named(part) for part in found if part not in expected]
    # As text, an older schema is compared when it has been brought up to date: each step may replace what was before.
    changed = [_named(part) for part in expected if part in found and found[part] != expected[part]]
    if missing:
        return f"it is no whole queue: it lacks {_listed(missing)}"
    if foreign:
        return f"it holds what is not runq's: {_listed(foreign)} (drop what was added to it)"
    if changed and version == len(STEPS):
        return f"it is no whole queue: {_listed(changed)} is not as runq makes it"
    return None


def _parts(connection: sqlite3.Connection) -> Parts:
    """All but SQLite's own: indexes of keys, statistics. Constraints are as good in their earlier words."""
    rows: list[tuple[str, str, str | None]] = connection.execute(
        "SELECT type, name, sql FROM sqlite_master WHERE substr(name, 1, 7) <> 'sqlite_' ORDER BY rowid"
    ).fetchall()
    return {(kind, name): _normal(_in_earlier_words(name, sql or "")) for kind, name, sql in rows}


def _in_earlier_words(name: str, sql: str) -> str:
    for table, before, after in CHECKS:
        if table == name:
            sql = sql.replace(after, before)
    return sql


def _expected(version: int) -> Parts:
    if version not in _made:
        connection = sqlite3.connect(":memory:", isolation_level=None)
        try:
            for step in STEPS[:version]:
                for statement in statements(step):
                    connection.execute(statement)
            _made[version] = _parts(connection)
        finally:
            connection.close()
    return _made[version]


def _normal(sql: str) -> str:
    """A statement without comments and layout."""
    return " ".join(token for token in _TOKEN.findall(sql) if token)


def _named(part: tuple[str, str]) -> str:
    return f"the {part[0]} {part[1]}"


def _listed(names: list[str]) -> str:
    more = f" and {len(names) - _SHOWN} more" if len(names) > _SHOWN else ""
    return ", ".join(names[:_SHOWN]) + more

"""Tasks: the names by which MCP clients follow jobs."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    import sqlite3


def name(tx: sqlite3.Connection, task_id: str, job: int) -> None:
    """Give a job that is being stored its task's id."""
    tx.execute("INSERT INTO tasks (id, job) VALUES (?, ?)", (task_id, job))


def answer(tx: sqlite3.Connection, task_id: str, *, answers: int, dismissed: bool) -> bool:
    """Note that the next question has been answered; False if somebody answered it before."""
    done = tx.execute(
        "UPDATE tasks SET answers = answers + 1, dismissed = ? WHERE id = ? AND answers = ?",
        (dismissed, task_id, answers),
    )
    return done.rowcount == 1

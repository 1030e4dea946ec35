"""The fourth step: tasks, the names by which MCP clients follow jobs from one server process to the next."""

from __future__ import annotations

SQL = """
CREATE TABLE tasks (
  id TEXT PRIMARY KEY,                             -- cannot be guessed: whoever has it may follow and cancel the job
  job INTEGER NOT NULL UNIQUE REFERENCES jobs ON DELETE CASCADE,
  answers INTEGER NOT NULL DEFAULT 0,              -- how many questions its client's user has been put and answered
  dismissed INTEGER NOT NULL DEFAULT 0             -- the user wants no more of them: a terminal is left
) WITHOUT ROWID;
"""

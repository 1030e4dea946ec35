"""The third step: the audit trail, which outlives the jobs it speaks of."""

from __future__ import annotations

DEEDS = (
    *("queued", "held", "denied", "approved", "rejected", "cancelled", "replayed", "discarded"),
    *("pinned", "unpinned", "paused", "resumed", "scheduled", "unscheduled", "allowed", "restored"),
)
_DEEDS = ", ".join(f"'{what}'" for what in DEEDS)

SQL = f"""
CREATE TABLE audit (                               -- who did what, and when
  id INTEGER PRIMARY KEY AUTOINCREMENT,
  at REAL NOT NULL,
  what TEXT NOT NULL CHECK (what IN ({_DEEDS})),
  job INTEGER,
  about TEXT,                                      -- a command as JSON, or a name
  caller TEXT NOT NULL CHECK (caller IN ('person', 'hook', 'agent')),
  client TEXT,
  session TEXT,
  project TEXT
);
CREATE TRIGGER audit_stands BEFORE UPDATE ON audit
BEGIN SELECT RAISE(ABORT, 'what has been done stays done'); END;
"""

"""The engine as a hook needs it: one connection, one transaction, nothing else loaded."""

from __future__ import annotations

from queue_core.sqlite.admit import admit
from queue_core.sqlite.engine import Database

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from queue_core.home import Home
    from queue_core.model import Admission, Receipt
    from queue_core.quotas import Quotas


class SqliteInlet:
    """A store into which jobs only go in."""

    def __init__(self, home: Home, patience: float) -> None:
        """Open or make the database; a write waits for others for at most `patience` seconds."""
        self._database = Database(home, patience=patience)

    def enqueue(
        self,
        admissions: Sequence[Admission],
        *,
        now: float,
        capacity: int,
        parallelism: int,
        quotas: Quotas | None = None,
        within: str | None = None,
    ) -> Sequence[Receipt]:
        """Store jobs, all or none; durable when it returns."""
        return self._database.write(
            admit, admissions, now=now, capacity=capacity, parallelism=parallelism, quotas=quotas, within=within
        )

    def leave_tidy(self) -> None:
        """Nobody stays here who would keep the WAL short."""
        self._database.shorten_wal()

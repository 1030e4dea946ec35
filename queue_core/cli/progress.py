"""Progress bars on a terminal: over jobs that are waited for, and over those that a worker runs."""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeElapsedColumn
from rich.text import Text

from queue_core.cli.tables import coloured, console
from queue_core.cli.text import command_of, result
from queue_core.errors import QueueError
from queue_core.model import ENDED

if TYPE_CHECKING:
    from queue_core.service import Queue
    from queue_core.views import View
    from queue_core.worker.loop import Worker
    from queue_core.worker.options import Settled

REFRESH = 0.5  # seconds between two looks at what has started, and at what others have added


class Working:
    """A progress bar over what a worker has ended and what is still to do."""

    def __init__(self, worker: Worker) -> None:
        self._worker = worker
        self._ended: set[int] = set()
        self._over = threading.Event()
        self._bar = Progress(
            *(TextColumn("{task.description}"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()),
            transient=True,
        )
        self._task = self._bar.add_task("working", total=_to_do(worker.queue))
        self._timer = threading.Thread(target=self._keep_up, name="runq-bar", daemon=True)
        self._bar.start()
        self._timer.start()

    def settled(self, settled: Settled) -> None:
        """One more attempt has ended."""
        if settled.state in ENDED:
            self._ended.add(settled.job)
        self._refresh()

    def stop(self) -> None:
        """Take the bar away."""
        self._over.set()
        self._timer.join()
        self._bar.stop()

    def _keep_up(self) -> None:
        while not self._over.wait(REFRESH):
            self._refresh()

    def _refresh(self) -> None:
        with suppress(QueueError):  # a store that is busy is asked the next time
            done = len(self._ended)
            total = done + _to_do(self._worker.queue)
            self._bar.update(self._task, completed=done, total=total, description=f"running {self._worker.running}")


def _to_do(queue: Queue) -> int:
    counts = queue.store.totals().counts
    return counts["available"] + counts["scheduled"] + counts["running"]


class Waiting:
    """A progress bar over jobs that are waited for, with a line above it for each that has ended."""

    def __init__(self, total: int) -> None:
        self._bar = Progress(
            *(TextColumn("waiting"), BarColumn(), MofNCompleteColumn(), TimeElapsedColumn()),
            console=console(),
            transient=True,
        )
        self._task = self._bar.add_task("waiting", total=total)
        self._bar.start()

    def ended(self, job: View) -> None:
        """One more has ended."""
        how = result(job)
        line = Text.assemble(f"Job {job['id']} ", coloured(job["state"]), f" ({how})" if how else "")
        if job.get("argv") or job.get("handler"):
            line.append(f"  {command_of(job)}", "dim")
        if job.get("escalated_to"):
            line.append(f", handed over to {job['escalated_to']}")
        self._bar.console.print(line, overflow="ellipsis", no_wrap=True)
        self._bar.advance(self._task)

    def stop(self) -> None:
        """Take the bar away; the lines stay."""
        self._bar.stop()

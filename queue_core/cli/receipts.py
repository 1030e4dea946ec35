"""What `runq add` says when an id alone does not do: on a terminal, as JSON, and when a job is held."""

from __future__ import annotations

import sys

from queue_core.cli.text import called, quoted
from queue_core.fastjson import dumps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from queue_core.cli.options import Given
    from queue_core.model import NewJob, Receipt


def say(given: Given, receipts: Sequence[Receipt], jobs: Sequence[NewJob]) -> None:
    """Say what became of each job."""
    if given.get("json"):
        shown = [{"id": one.id, "state": one.state, "existing": one.existing} for one in receipts]
        sys.stdout.write(dumps(shown[0] if given.get("file") is None and shown else shown) + "\n")
        return
    if not receipts:
        sys.stderr.write(
            "The queue is busy: the job is in the spool, and queued as soon as the queue can be written to.\n"
        )
    for receipt, job in zip(receipts, jobs, strict=False):  # fewer, when they went to the spool
        if sys.stdout.isatty():
            sys.stdout.write(_sentence(receipt, job) + "\n")
        else:
            sys.stdout.write(f"{receipt.id}\n")
            if receipt.state == "held":
                sys.stderr.write(_sentence(receipt, job) + "\n")


def _sentence(receipt: Receipt, job: NewJob) -> str:
    command = called(job.handler, job.arguments) if job.handler else quoted(job.argv)
    if receipt.state == "held" and job.on_dead:
        command += "; if it fails: " + "; then ".join(quoted(argv) for argv in job.on_dead)
    if receipt.existing:
        return f"Job {receipt.id} with the same unique key is {receipt.state}; nothing was added."
    if receipt.state == "held":
        approve = f"look with `runq approve --show {receipt.id}`, then `runq approve {receipt.id}`"
        return f"Job {receipt.id} waits for a person's approval: {approve} ({command})"
    return f"Queued job {receipt.id} ({receipt.state}): {command}. `runq status {receipt.id}` tells how it goes."

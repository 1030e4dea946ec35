"""What became of a claim whose worker is dead."""

from __future__ import annotations

import os

from queue_core.keeper import processes, protocol, records, started

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Final

SETTLE: Final = "settle"  # the record is complete: write its end into the database
ASK_KEEPER: Final = "ask_keeper"  # adopt it through the keeper's socket (`watch`)
ALONE: Final = "alone"  # the command lives on without a keeper: nothing else may run for that job
LOST: Final = "lost"  # it was, or may have been, started, and nobody knows how it ended
NEVER_STARTED: Final = "never_started"  # put it back, no attempt is counted


def decide(
    record: records.Record | None,
    *,
    same_boot: bool,
    keeper_alive: bool,
    locked: bool,
    process_alive: bool,
) -> str:
    """One of the verdicts above, from the facts; the order of the questions is what makes it right.

    A complete record counts even while something that the command left behind holds the lock. After a
    restart of the machine a missing record proves nothing, since records are not fsynced: hence lost.
    """
    if record and record.end:
        return SETTLE
    if not same_boot:
        return LOST
    if keeper_alive or locked:
        return ASK_KEEPER if keeper_alive else ALONE
    if not (record and record.start):
        return NEVER_STARTED
    # It may live without the lock: a program can close all its descriptors.
    return ALONE if process_alive else LOST


def look(run_dir: str, keeper_dir: str, token: str | None = None) -> tuple[str, records.Record | None]:
    """Gather the facts and decide; the record that decided comes along. `token` is the claim's.

    Signs of life are read before the record: whoever is seen dead writes nothing more, while a record
    that is read first may be completed by a keeper that then leaves.
    """
    keeper_alive = protocol.alive(keeper_dir)
    locked = records.locked(run_dir)
    before = record_of(run_dir, keeper_dir)
    process_alive = _lives(before.start if before else None, token, asked=not (keeper_alive or locked))
    record = record_of(run_dir, keeper_dir)
    verdict = decide(
        record,
        same_boot=_boot_of(record, keeper_dir) == processes.boot_id(),
        keeper_alive=keeper_alive,
        locked=locked,
        process_alive=process_alive,
    )
    return verdict, record


def look_at_promised(run_dir: str, keeper_dir: str) -> tuple[str, records.Record | None]:
    """The same for a claim of which its living keeper says that it does not run, nor ever will."""
    record = record_of(run_dir, keeper_dir)
    return decide(record, same_boot=True, keeper_alive=False, locked=False, process_alive=False), record


def record_of(run_dir: str, keeper_dir: str) -> records.Record | None:
    """The claim's own record; where its start is gone, what the keeper has noted of it elsewhere."""
    record = records.read_own(run_dir, os.path.basename(keeper_dir))
    start = record.start if record else None
    noted = started.find(keeper_dir, *records.claim_of(run_dir)) if start is None or start.pid is None else None
    return records.Record(start=noted, end=record.end if record else None) if noted else record


def _lives(start: records.Start | None, token: str | None, *, asked: bool) -> bool:
    """Does the command live? Its keeper may have died after the spawn and before it could note the pid.

    Then it is known by its token alone, which takes a look at all processes: not where other signs tell (`asked`).
    """
    if not (asked and start and start.pid is None and token):
        return records.process_alive(start)
    return processes.HAVE_PROC and records.same_place(start) and bool(processes.members(0, token))


def _boot_of(record: records.Record | None, keeper_dir: str) -> str | None:
    """The boot id of a claim: from its record, or from its keeper, who noted it before the claim was made."""
    if record and record.start:
        return record.start.boot_id
    try:
        with open(os.path.join(keeper_dir, protocol.BOOT), encoding="ascii") as file:
            return file.read()
    except FileNotFoundError:
        return None  # the keeper's directory is gone: nobody can say that the command was not started

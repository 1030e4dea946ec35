"""An install or its undo: planned as a change of each file, shown, and written with a record of what was there."""

from __future__ import annotations

import os

from queue_core.clients import files, records, splices
from queue_core.clients.files import Change, Target
from queue_core.clients.records import Record
from queue_core.clients.splices import Splice
from queue_core.errors import QueueError
from queue_core.value import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from queue_core.home import Home

    Stages = Sequence[str]  # a text after each of the edits that lead to the last, for `splices.of_stages`


class Part(Frozen):
    """What runq has in one file, and how it gets in and out. The functions raise QueueError."""

    target: Target
    empty: str  # what a file has to hold before anything can be put in
    insert: Callable[[str], Stages]  # the text with ours in it; nothing if all is in place
    gist: Callable[[str], str]  # a text with nothing of the user's in it, which `withdraw` can take for the text
    withdraw: Callable[[str, str | None], Stages]  # without ours; of what was there before, if known, all stays
    has_nothing: Callable[[str], bool]  # whether nothing at all is left in a text

    def text(self, content: bytes) -> str:
        """A file's content as text. QueueError if it is no UTF-8."""
        try:
            return content.decode("utf-8")
        except UnicodeDecodeError as error:
            line = content.count(b"\n", 0, error.start) + 1
            raise QueueError(
                f"{self.target.path}, line {line}: not UTF-8, so nothing was changed; save the file as UTF-8"
            ) from None


class Plan(Frozen):
    """Changes that belong together, with what is to be known of each file afterwards."""

    changes: tuple[Change, ...]
    records: tuple[Record, ...] = ()  # of an install; an undo forgets those that there are


def install(parts: Sequence[Part], home: Home) -> Plan:
    """How runq's parts get in; no changes if all is in place."""
    changes: list[Change] = []
    kept: list[Record] = []
    for part in parts:
        before = files.read(part.target)
        text = part.empty if before is None else part.text(before)
        stages = part.insert(text)
        if stages or before is None:
            after = stages[-1] if stages else text
            parting = splices.of_stages("" if before is None else text, stages if before is not None else [after])
            change = Change(target=part.target, before=before, after=after.encode("utf-8"), splices=parting)
            changes.append(change)
            kept.append(_record(part, change, home))
    return Plan(changes=tuple(changes), records=tuple(kept))


def undo(parts: Sequence[Part], home: Home) -> Plan:
    """How they get out: as the files were, if nobody has written them since, else taken out of what is there."""
    changes: list[Change] = []
    for part in parts:
        before = files.read(part.target)
        if before is not None:
            after, parting = _without(part, before, home)
            if after != before:
                changes.append(Change(target=part.target, before=before, after=after, splices=parting))
    return Plan(changes=tuple(changes))


def carry_out(plan: Plan, home: Home) -> None:
    """Write the files of a plan: all, or none. QueueError."""
    earlier = {change.target.real: records.find(home, change.target.real) for change in plan.changes}
    _keep(plan.records, home)  # first: a file without its record could not be restored
    try:
        files.commit(plan.changes)
    except QueueError:
        for record in plan.records:
            records.forget(home, record.path)
        _keep([record for record in earlier.values() if record is not None], home)
        raise
    for change in plan.changes:
        record = earlier[change.target.real]
        if not plan.records:
            records.forget(home, change.target.real)
            if change.after is None and record is not None:
                _remove(record.folders)


def difference(change: Change) -> list[str]:
    """The diff of a file, a line each, without line ends; no line around what changes, which may hold secrets."""
    named = change.target.path if change.target.real == os.path.abspath(change.target.path) else change.target.real
    before, after = (os.devnull if content is None else named for content in (change.before, change.after))
    return [f"--- {before}", f"+++ {after}", *splices.shown((change.before or b"").decode("utf-8"), change.splices)]


def _record(part: Part, change: Change, home: Home) -> Record:
    """What an undo will need. Of an update, what was there before the first install."""
    real, now = change.target.real, change.before
    earlier = records.find(home, real)
    if earlier is None or now is None or not part.withdraw(part.text(now), None):
        return _written(part, change, now, tuple(files.missing_folders(real)), change.splices)
    first = earlier.restored(now)
    if first is not None or (earlier.before is None and earlier.after == records.sum_of(now)):
        parting = splices.joined(earlier.splices, part.text(now), change.splices)
        return _written(part, change, first, earlier.folders, parting)
    return Record(path=real, before=earlier.before, known=earlier.known, folders=earlier.folders, after="")


def _written(
    part: Part, change: Change, before: bytes | None, folders: tuple[str, ...], parting: tuple[Splice, ...]
) -> Record:
    """The record of a file that held this, and holds what the change says."""
    path, after = change.target.real, change.after or b""
    if before is None:
        return Record(path=path, before=None, known="", folders=folders, after=records.sum_of(after))
    text = part.text(before)
    return Record(
        path=path,
        before=records.sum_of(before),
        known=part.gist(text),
        folders=folders,
        after=records.sum_of(after),
        splices=parting,
    )


def _without(part: Part, now: bytes, home: Home) -> tuple[bytes | None, tuple[Splice, ...]]:
    """What a file is to hold after an undo, and what parts that from what it holds."""
    record, text = records.find(home, part.target.real), part.text(now)
    removed = (Splice(start=0, old=text, new=""),)
    if record is not None and record.before is None and record.after == records.sum_of(now):
        return None, removed
    if record is not None and (first := record.restored(now)) is not None:
        return first, splices.backwards(record.splices)
    stages = part.withdraw(text, record.known if record and record.before is not None else None)
    left = stages[-1] if stages else text
    if record is not None and record.before is None and part.has_nothing(left):
        return None, removed
    return left.encode("utf-8"), splices.of_stages(text, stages)


def _keep(kept: Sequence[Record], home: Home) -> None:
    try:
        for record in kept:
            records.keep(home, record)
    except OSError as error:
        raise QueueError(f"{home.path('installs')} could not be written ({error.strerror}); make room there") from None


def _remove(folders: Sequence[str]) -> None:
    """Remove the folders that an install had made, as far as nothing else is in them."""
    for folder in folders:
        try:
            os.rmdir(folder)
        except OSError:
            return

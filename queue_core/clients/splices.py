"""What parts a text from another, piece by piece: what was added is known without the text around it.

A client's file holds other people's tokens. What an install shows, and what it keeps for an undo, are these pieces.
"""

from __future__ import annotations

import re
from difflib import SequenceMatcher

from queue_core.value import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_TOKEN = re.compile(r'"(?:[^"\\\n]|\\.)*"|\w+|\s|.', re.DOTALL)
_OUR_KEY = re.compile(r'\s*"?command"?\s*[:=]\s*')
_CLOSING = re.compile(r"[\s\]},]*")
ELSEWHERE = "…"  # for the rest of a line, which is the user's


class Splice(Frozen):
    """At `start` (characters of the old text) the old text has `old`, and the new one `new` instead."""

    start: int
    old: str
    new: str


def of_stages(text: str, stages: Iterable[str]) -> tuple[Splice, ...]:
    """What parts a text from the last of its stages, each of which differs from the one before in one place.

    (To compare the first with the last would not do: much in clients' files is alike, and a comparison that takes one
    hook for another gives away what is in them.)
    """
    found: tuple[Splice, ...] = ()
    for stage in stages:
        found = joined(found, text, between(text, stage))
        text = stage
    return found


def between(old: str, new: str) -> tuple[Splice, ...]:
    """The pieces in which two texts differ, in their order."""
    first, last = _same_lines(old, new)
    before, after = (_TOKEN.findall(text[first : len(text) - last]) for text in (old, new))
    start = _same(before, after)
    end = _same(before[start:][::-1], after[start:][::-1])
    at = first + sum(map(len, before[:start]))
    before, after = (tokens[start : len(tokens) - end] for tokens in (before, after))
    found: list[Splice] = []
    for kind, a, b, c, d in SequenceMatcher(None, before, after, autojunk=False).get_opcodes():
        if kind != "equal":
            found.append(Splice(start=at, old="".join(before[a:b]), new="".join(after[c:d])))
        at += sum(map(len, before[a:b]))
    return tuple(found)


def joined(splices: Sequence[Splice], text: str, more: Sequence[Splice]) -> tuple[Splice, ...]:
    """What parts the first text from the third, by what led to the second (which is `text`), and on from there."""
    for one in reversed(more):  # the last first: the places of the others stay
        splices = _with_one(splices, text, one)
        text = text[: one.start] + one.new + text[one.start + len(one.old) :]
    return tuple(splices)


def backwards(splices: Sequence[Splice]) -> tuple[Splice, ...]:
    """What leads from the new text to the old one."""
    return tuple(Splice(start=start, old=one.new, new=one.old) for start, one in _placed(splices))


def reverted(new: str, splices: Iterable[Splice]) -> str:
    """The old text, by the new one and what parts them."""
    parts: list[str] = []
    at = done = 0  # characters of the new text, and of the old one
    for one in splices:
        same = one.start - done
        parts += (new[at : at + same], one.old)
        at += same + len(one.new)
        done = one.start + len(one.old)
    return "".join(parts) + new[at:]


def shown(old: str, splices: Sequence[Splice]) -> Iterator[str]:
    """The pieces as lines of a diff without context: of a line that is not ours as a whole, only what is ours."""
    for one in splices:
        line, end = old.rfind("\n", 0, one.start) + 1, one.start + len(one.old)
        left, right = old[line : one.start], old[end:].partition("\n")[0]
        lines = [mark + text for mark, part in (("-", one.old), ("+", one.new)) for text in _lines(left, part, right)]
        if lines:
            yield f"@@ line {old.count(chr(10), 0, one.start) + 1} @@"
            yield from lines


def _lines(left: str, part: str, right: str) -> list[str]:
    if not part.strip():
        return []
    if left.strip() and not _OUR_KEY.fullmatch(left):
        left = left[: len(left) - len(left.lstrip())] + ELSEWHERE
    if not _CLOSING.fullmatch(right):
        right = ELSEWHERE
    lines = (left + part + right).split("\n")
    return lines[part.startswith("\n") : len(lines) - part.endswith("\n")]


def _placed(splices: Sequence[Splice]) -> Iterator[tuple[int, Splice]]:
    """Each with its place in the new text."""
    shift = 0
    for one in splices:
        yield one.start + shift, one
        shift += len(one.new) - len(one.old)


def _with_one(splices: Sequence[Splice], text: str, one: Splice) -> tuple[Splice, ...]:
    """One change more of a text that the splices have led to; those that it touches become one with it."""
    start, end = one.start, one.start + len(one.old)
    placed = list(_placed(splices))
    before = [that for at, that in placed if at + len(that.new) < start]
    after = [that for at, that in placed if at > end]
    touched = placed[len(before) : len(placed) - len(after)]
    low = min([start, *(at for at, _ in touched)])
    high = max([end, *(at + len(that.new) for at, that in touched)])
    first = low - sum(len(that.new) - len(that.old) for that in before)
    inner = [Splice(start=that.start - first, old=that.old, new=that.new) for _, that in touched]
    new = text[low:start] + one.new + text[end:high]
    return (*before, Splice(start=first, old=reverted(text[low:high], inner), new=new), *after)


def _same(one: Sequence[str], other: Sequence[str]) -> int:
    """How many items both begin with."""
    for number, (a, b) in enumerate(zip(one, other, strict=False)):
        if a != b:
            return number
    return min(len(one), len(other))


def _same_lines(old: str, new: str) -> tuple[int, int]:
    """How many characters of whole lines both begin with, and how many both end with."""
    before, after = (text.splitlines(keepends=True) for text in (old, new))
    start = _same(before, after)
    end = _same(before[start:][::-1], after[start:][::-1])
    return sum(map(len, before[:start])), sum(map(len, before[len(before) - end :]))

"""What commands wrote, as text that a model may read. It is untrusted, and it may be large."""

from __future__ import annotations

import json
import re
import secrets
from collections import deque
from collections.abc import Generator
from typing import NamedTuple, Protocol

BLOCK = 256 * 1024  # bytes that a search looks at in one go
LONGEST_SHOWN = 1000  # characters of a line that is found

# Terminal control sequences. One that is not closed on its line loses its first character only: the text
# behind it may be all there is to read.
_ESCAPES = re.compile(
    r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b\n]*(?:\x07|\x1b\\)|[PX^_][^\x1b\n]*\x1b\\|[ -/]+[0-~]|[0-OQ-WYZ\\`-~])"
)
# Unicode's Cc (but for newline and tab) and Cf, the tags, variation selectors and fillers: what is not seen.
# As ranges, since asking for the category of every character is too slow for large outputs.
_UNSEEN = re.compile(
    "[\x00-\x08\x0b-\x1f\x7f-\x9f\xad\u034f\u0600-\u0605\u061c\u06dd\u070f\u0890\u0891\u08e2\u115f\u1160\u17b4\u17b5"
    "\u180b-\u180f\u200b-\u200f\u202a-\u202e\u2060-\u206f\u2800\u3164\ufe00-\ufe0f\ufeff\uffa0\ufff0-\ufffb"
    "\U000110bd\U000110cd\U00013430-\U0001343f\U0001bca0-\U0001bca3\U0001d159\U0001d173-\U0001d17a\U000e0000-\U000e0fff]"
)


class Output(Protocol):
    """A file of output, read in pieces."""

    size: int

    def read(self, offset: int, length: int) -> bytes: ...


class Piece(NamedTuple):
    """A part of an output, whole characters only, and where in the file it ends."""

    text: str
    end: int


class Matches(NamedTuple):
    """The last matching lines that fit, and how many there are in all."""

    text: str
    total: int
    shown: int


def clean(text: str) -> str:
    """Text without control sequences and invisible characters: both hide things from people."""
    text = _ESCAPES.sub("", text.replace("\r\n", "\n"))
    return _UNSEEN.sub("", text.replace("\r", "\n"))


def escaped(text: str) -> str:
    """Text that is meant as it stands (an argument, a name), with what is invisible in it made visible."""
    return _UNSEEN.sub(lambda found: _escape(found[0]), text)


def _escape(character: str) -> str:
    """As Python writes it: of a fixed length, so that what follows cannot be taken for a part of it."""
    code = ord(character)
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"


def quoted(text: str) -> str:
    """Text in quotes, on one line, with everything made visible that is not a plain character: for people to judge."""
    shown = escaped(json.dumps(text, ensure_ascii=False))
    return "".join(one if one == " " or one.isprintable() else _escape(one) for one in shown)


def decoded(chunk: bytes) -> str:
    """Bytes as clean text; what is no UTF-8 is replaced."""
    return clean(chunk.decode("utf-8", "replace"))


def piece(output: Output, start: int, budget: int) -> Piece:
    """At most `budget` bytes (and so characters) from an offset on; a character that is cut is left out."""
    chunk = output.read(start, budget)
    end = start + len(chunk)
    if end < output.size:
        cut = _unfinished(chunk)
        chunk, end = chunk[: len(chunk) - cut], end - cut
    return Piece(decoded(chunk[_continued(chunk) if start else 0 :]), end)


def head_and_tail(output: Output, budget: int) -> tuple[str, int]:
    """The beginning and the end of an output that is larger than the budget, and how many bytes that leaves out.

    A quarter of the budget for the beginning: what went wrong mostly stands at the end.
    """
    head = piece(output, 0, budget // 4)
    start = max(head.end, output.size - (budget - budget // 4))
    left_out = start - head.end
    gap = f"[... {left_out} bytes left out here; offset or grep reach them ...]"
    return f"{head.text.rstrip()}\n{gap}\n{piece(output, start, budget).text}", left_out


def headed(shown: str, job_id: int) -> str:
    """What a job wrote, under a line that says so. Where it ends, the quotes of JSON around it say."""
    return f"[untrusted output of job {job_id}]\n{shown}" if shown else ""


def enclosed(shown: str, what: str) -> str:
    """The same for what is not quoted: between two lines of which the text cannot know the second."""
    boundary = secrets.token_hex(8)
    return f"[untrusted {what}, up to the line with {boundary}]\n{shown}\n[end of untrusted {what}: {boundary}]"


def _unfinished(chunk: bytes) -> int:
    """How many bytes at the end are the beginning of a longer character."""
    for back in range(1, min(4, len(chunk))):
        lead = chunk[-back]
        if lead < 0x80:
            return 0
        if lead >= 0xC0:
            needed = 2 if lead < 0xE0 else 3 if lead < 0xF0 else 4
            return back if needed > back else 0
    return 0


def _continued(chunk: bytes) -> int:
    """How many bytes at the start are the rest of a character."""
    for index, byte in enumerate(chunk[:3]):
        if not 0x80 <= byte < 0xC0:
            return index
    return min(3, len(chunk))


def search(output: Output, wanted: str, start: int, budget: int) -> Matches:
    """The last lines from `start` on that hold a text, within `budget` characters.

    No pattern language (a hostile output could make one run for ever), and never the whole file in memory.
    """
    kept: deque[str] = deque()
    total = size = 0
    for block in _blocks(output, start):
        text = decoded(block)
        if wanted not in text:
            continue
        for line in text.split("\n"):
            if wanted not in line:
                continue
            total += 1
            kept.append(_around(line, wanted))
            size += len(kept[-1]) + 1
            while size > budget + 1:
                size -= len(kept.popleft()) + 1
    return Matches("\n".join(kept), total, len(kept))


def _blocks(output: Output, start: int) -> Generator[bytes]:
    """Whole lines, a block at a time; a line that is longer than a block is taken in parts."""
    rest = b""
    while chunk := output.read(start, BLOCK):
        start += len(chunk)
        whole, newline, tail = (rest + chunk).rpartition(b"\n")
        if newline:
            yield whole
            rest = tail
        elif len(tail) > BLOCK:
            yield tail
            rest = b""
        else:
            rest = tail
    if rest:
        yield rest


def _around(line: str, wanted: str) -> str:
    if len(line) <= LONGEST_SHOWN:
        return line
    start = max(0, line.index(wanted) - LONGEST_SHOWN // 2)
    shown = line[start : start + LONGEST_SHOWN]
    return ("…" if start else "") + shown + ("…" if start + LONGEST_SHOWN < len(line) else "")

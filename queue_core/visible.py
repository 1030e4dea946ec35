"""How things are shown: times, and text in one line in which nothing can act on a terminal, or hide. Pure.

What jobs carry comes from agents: a name or an argument may hold control sequences, or characters that
turn the direction of text around, so that what a person approves is not what they read.
"""

from __future__ import annotations

import time

# Printable to Python, and yet nothing is seen of them: fillers, a blank braille cell, variation selectors.
_BLANK = frozenset(
    [
        *map(chr, (0x34F, 0x115F, 0x1160, 0x17B4, 0x17B5, 0x2800, 0x3164, 0xFFA0, 0x1D159)),
        *map(chr, range(0xFE00, 0xFE10)),
    ]
)
_SHORT_ESCAPES = {"\n": "\\n", "\t": "\\t", "\r": "\\r", "\x1b": "\\e"}


def rfc3339(seconds: float | None) -> str | None:
    """Seconds since the epoch as an RFC 3339 time in UTC, to the millisecond."""
    if seconds is None:
        return None
    whole, milliseconds = divmod(round(seconds * 1000), 1000)
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(whole)) + f".{milliseconds:03d}Z"


def printable(text: str) -> str:
    """The text in one line, with everything that is not printable as an escape."""
    return text if is_seen(text) else "".join([visible(character) for character in text])


def is_seen(text: str) -> bool:
    """Whether all of it is printable."""
    return text.isprintable() and (text.isascii() or _BLANK.isdisjoint(text))


def visible(character: str) -> str:
    """One character, as an escape if it is not printable."""
    if is_seen(character):
        return character
    code = ord(character)
    if 0xDC80 <= code <= 0xDCFF:  # a byte that was no UTF-8, as Python keeps it
        code -= 0xDC00
    if character in _SHORT_ESCAPES:
        return _SHORT_ESCAPES[character]
    if code < 0x100:
        return f"\\x{code:02x}"
    return f"\\u{code:04x}" if code < 0x10000 else f"\\U{code:08x}"

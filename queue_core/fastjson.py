"""JSON for the hook path, without the 6 ms that `import json` costs (it pulls in `re`).

The C accelerators behind `json` do the work; where they are missing (another interpreter) or the
text is malformed (they leave the wording of the error to `json`), the standard module takes over.
Output is pure ASCII, so bytes that are no UTF-8 (lone surrogates in Python's strings) survive.
"""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

try:
    from _json import encode_basestring_ascii as quote
    from _json import make_scanner  # pyright: ignore[reportAttributeAccessIssue]
except ImportError:  # pragma: no cover - an interpreter without the accelerators
    from json.encoder import py_encode_basestring_ascii as quote

    make_scanner = None


class _Context:
    """What the C scanner asks its decoder for: Python's defaults."""

    strict = True
    object_hook = None
    object_pairs_hook = None
    parse_float = float
    parse_int = int
    parse_constant = float
    memo: dict[str, str] = {}


_scan: Any = make_scanner(_Context()) if make_scanner else None  # pyright: ignore[reportArgumentType]


def dumps(value: Any) -> str:
    """Compact ASCII JSON of dicts with string keys, lists, tuples, strings, numbers, None.

    Raises TypeError for anything else, as `json.dumps` does.
    """
    if value is None:
        return "null"
    if value is True:
        return "true"
    if value is False:
        return "false"
    if isinstance(value, str):
        return quote(value)
    if isinstance(value, int):
        return int.__repr__(value)
    if isinstance(value, float):
        return _float(value)
    if isinstance(value, (list, tuple)):
        return "[" + ",".join([dumps(item) for item in value]) + "]"  # pyright: ignore[reportUnknownVariableType]
    if isinstance(value, dict):
        return (
            "{"
            + ",".join([quote(key) + ":" + dumps(item) for key, item in value.items()])  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
            + "}"
        )
    raise TypeError(f"{type(value).__name__} is not JSON serializable")


def _float(value: float) -> str:
    if value != value or value in (float("inf"), float("-inf")):
        raise TypeError("JSON has no word for a number that is not finite")
    return float.__repr__(value)


def loads(text: str) -> Any:
    """The value of one JSON document; ValueError with line and column when it is malformed."""
    if _scan is not None:
        stripped = text.strip(" \t\n\r")
        try:
            value, end = _scan(stripped, 0)
        except (StopIteration, SystemError, ValueError, RecursionError):
            pass  # the standard module words the error, with line and column
        else:
            if end == len(stripped):
                return value
    import json

    try:
        return json.loads(text)
    except RecursionError:
        raise ValueError("it is nested too deeply") from None


def in_words(error: ValueError) -> str:
    """What is wrong with a text, as `loads` says it, without what repeats the column."""
    return str(error).partition(" (char ")[0]

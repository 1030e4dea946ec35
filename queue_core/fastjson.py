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
    from _json import make_encoder, make_scanner  # pyright: ignore[reportAttributeAccessIssue]
except ImportError:  # pragma: no cover - an interpreter without the accelerators
    from json.encoder import py_encode_basestring_ascii as quote

    make_encoder = make_scanner = None


_scan: Any = None  # made by the first `loads`: who only adds a job has nothing to read


def _refuse(value: object) -> None:
    raise TypeError(f"{type(value).__name__} is not JSON serializable")


# No look-out for circles, defaults, the quoting, no indentation, separators, keys as they come, all of them, no NaN.
_encode: Any = make_encoder(None, _refuse, quote, None, ":", ",", False, False, False) if make_encoder else None


def dumps(value: Any) -> str:
    """Compact ASCII JSON of dicts with string keys, lists, tuples, strings, finite numbers, booleans, None.

    Raises TypeError for anything else.
    """
    try:
        if _encode is not None:
            return "".join(_encode(value, 0))
        import json

        return json.dumps(value, separators=(",", ":"), allow_nan=False)
    except ValueError:
        raise TypeError("JSON has no word for a number that is not finite") from None


def _scanner() -> Any:
    global _scan

    class Context:
        """What the C scanner asks its decoder for: Python's defaults."""

        strict = True
        object_hook = None
        object_pairs_hook = None
        parse_float = float
        parse_int = int
        parse_constant = float
        memo: dict[str, str] = {}

    _scan = make_scanner(Context()) if make_scanner else None  # pyright: ignore[reportArgumentType]
    return _scan


def loads(text: str) -> Any:
    """The value of one JSON document; ValueError with line and column when it is malformed."""
    if _scan or _scanner():
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


def value_at(text: str, place: int) -> tuple[Any, int]:
    """The JSON value that begins at this very place, and where it ends; None and `place` if there is none."""
    if _scan or _scanner():
        try:
            return _scan(text, place)
        except (StopIteration, SystemError, ValueError, RecursionError):
            pass  # `loads` says what is wrong with it
    return None, place


def in_words(error: ValueError) -> str:
    """What is wrong with a text, as `loads` says it, without what repeats the column."""
    return str(error).partition(" (char ")[0]

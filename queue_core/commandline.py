"""`command` and `kwargs` as an argv: split as a shell would, but never run by one. Pure."""

from __future__ import annotations

from queue_core.errors import InvalidJob
from queue_core.fastjson import dumps
from queue_core.shapes import is_list

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def split(command: str) -> tuple[str, ...]:
    """A command line's words; InvalidJob if a quote is left open. `$`, `|`, `>` are plain characters."""
    import shlex

    try:
        return tuple(shlex.split(command))
    except ValueError as error:
        raise InvalidJob(f"the command {command!r} cannot be split ({error}); give it as argv, a list") from None


def flags(kwargs: Mapping[str, Any]) -> tuple[str, ...]:
    """Keyword arguments as flags.

    A value gives `--flag value`, True the flag alone, False and None nothing, a list the flag once for
    each item; snake_case becomes --kebab-case.
    """
    words: list[str] = []
    for name, value in kwargs.items():
        flag = "--" + name.replace("_", "-")
        if not name or not name.isascii() or not name.replace("_", "").replace("-", "").isalnum():
            raise InvalidJob(f"{name!r} is no keyword; use letters, digits and _")
        for item in value if is_list(value) else [value]:
            words += _flag(flag, item)
    return tuple(words)


def _flag(flag: str, value: Any) -> list[str]:
    if value is None or value is False:
        return []
    if value is True:
        return [flag]
    try:
        text = value if isinstance(value, str) else dumps(value)
    except (TypeError, RecursionError):
        raise InvalidJob(f"{flag} has a value that is no text, number, list or object; give it as a text") from None
    # Joined, a value that starts with `-` cannot be read as another option.
    return [f"{flag}={text}"] if text.startswith("-") else [flag, text]

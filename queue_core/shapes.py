"""What a value of unknown shape is: `isinstance` in words that type checkers follow."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TypeGuard


def is_list(value: object) -> TypeGuard[list[Any]]:
    """A list (or a tuple, which is the same to whoever only reads it)."""
    return isinstance(value, (list, tuple))


def is_object(value: object) -> TypeGuard[dict[str, Any]]:
    """A JSON object."""
    return isinstance(value, dict)


def is_texts(value: object) -> TypeGuard[list[str]]:
    """A list of nothing but texts."""
    return is_list(value) and all(isinstance(item, str) for item in value)

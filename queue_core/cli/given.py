"""What was typed behind a verb, sorted. Apart from `options`, which a command line without any does not need."""

from __future__ import annotations

from queue_core.value import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


class Given(Frozen):
    """What was typed: option values by key, operands, and what stood behind `--`."""

    values: dict[str, Any]
    operands: tuple[str, ...]
    command: tuple[str, ...] | None

    def get(self, key: str, default: Any = None) -> Any:
        """An option's value, or the default."""
        return self.values.get(key, default)

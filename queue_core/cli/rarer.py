"""Options of `runq add` that few jobs have: loaded when one of them is given."""

from __future__ import annotations

from queue_core.errors import UsageError
from queue_core.fastjson import loads
from queue_core.shapes import is_texts
from queue_core.submission import lock, time_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


def rarer(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a job that `--lock`, `--at` and `--on-dead` set."""
    made: dict[str, Any] = {}
    if "lock" in values:
        made["locks"] = tuple(lock(text) for text in values["lock"])
    if "at" in values:
        made["at"] = time_of(values["at"])
    if "on_dead" in values:
        made["on_dead"] = _json_argv(values["on_dead"])
    return made


def _json_argv(text: str) -> tuple[str, ...]:
    try:
        words: Any = loads(text)
    except ValueError:
        words = None
    if not is_texts(words) or not words:
        raise UsageError(f'--on-dead takes a JSON list of texts such as \'["notify", "failed"]\', not {text!r}')
    return tuple(words)

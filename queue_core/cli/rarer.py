"""Options of `runq add` that few jobs have: loaded when one of them is given."""

from __future__ import annotations

from queue_core.errors import UsageError
from queue_core.fastjson import in_words, loads
from queue_core.shapes import is_texts
from queue_core.submission import arguments_of, lock, time_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


def rarer(values: Mapping[str, Any]) -> dict[str, Any]:
    """The fields of a job that `--lock`, `--at`, `--on-dead` and `--arguments` set."""
    made: dict[str, Any] = {}
    if "lock" in values:
        made["locks"] = tuple(lock(text) for text in values["lock"])
    if "at" in values:
        made["at"] = time_of(values["at"])
    if "on_dead" in values:
        made["on_dead"] = _steps(values["on_dead"])
    if "arguments" in values:
        made["arguments"] = _arguments(values["arguments"])
    return made


def _arguments(text: str) -> dict[str, Any]:
    try:
        return arguments_of(loads(text))
    except ValueError as error:
        raise UsageError(
            f'--arguments takes a JSON object such as \'{{"path": "a.wav"}}\', not {text!r} ({in_words(error)})'
        ) from None


def _steps(texts: Sequence[str]) -> tuple[tuple[str, ...], ...]:
    """One command an option, in their order; `[]` alone asks for none, whatever the settings say."""
    return () if texts == ["[]"] else tuple(_json_argv(text) for text in texts)


def _json_argv(text: str) -> tuple[str, ...]:
    try:
        words: Any = loads(text)
    except ValueError:
        words = None
    if not is_texts(words) or not words:
        raise UsageError(f'--on-dead takes a JSON list of texts such as \'["notify", "failed"]\', not {text!r}')
    return tuple(words)

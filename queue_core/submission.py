"""A job as a dict: the shape that files, agents and Python callers share. One place for its keys.

The keys are the command line's names in snake_case; see `KEYS` for what each one takes.
"""

from __future__ import annotations

from queue_core import commandline
from queue_core.errors import InvalidJob
from queue_core.fastjson import dumps, loads
from queue_core.model import NewJob
from queue_core.shapes import is_list, is_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any

KEYS = [
    "argv",
    "command",
    "kwargs",
    "handler",
    "arguments",
    "cwd",
    "env",
    "pass_env",
    "stdin",
    "stdin_path",
    "queue",
    "priority",
    "sequential",
    "after",
    "after_any",
    "after_failure",
    "delay",
    "at",
    "timeout",
    "retry",
    "retries",
    "backoff",
    "backoff_base",
    "backoff_cap",
    "unique",
    "locks",
    "name",
    "meta",
    "on_dead",
    "escalate_after",
    "ref",
]
_TEXTS = ("handler", "cwd", "stdin_path", "queue", "priority", "retry", "backoff", "unique", "name", "ref")
_PLAIN = frozenset(("argv", *_TEXTS)) - {"handler"}
_PLAIN_CALL = frozenset(("arguments", *_TEXTS))
_LISTS = (list, tuple)
_SCALARS = (str, int, bool, type(None))
_LARGE = 1 << 63
_NUMBERS = ("delay", "timeout", "backoff_base", "backoff_cap")
_IDS = ("after", "after_any", "after_failure")


def new_job(fields: Mapping[str, Any]) -> NewJob:
    """The job that these fields ask for; InvalidJob names the key that makes no sense. None means not given."""
    if _is_plain(fields):
        return NewJob.of_checked({**fields, "argv": tuple(fields["argv"])})
    if _is_plain_call(fields):
        return NewJob.of_checked({**fields, "arguments": dict(fields.get("arguments") or {})})
    given = {name: value for name, value in fields.items() if value is not None}
    unknown = [name for name in given if name not in KEYS]
    if unknown:
        raise InvalidJob(f"`{unknown[0]}` is no key of a job; the keys are {', '.join(KEYS)}")
    made: dict[str, Any] = {"argv": _argv(given)}
    for name, value in given.items():
        if name in _TEXTS:
            made[name] = _checked(name, value, str, "a text")
        elif name in _NUMBERS:
            made[name] = _number(name, value)
        elif name in _IDS:
            made[name] = _ids(name, value)
    return NewJob(**made, **_rest(given))


def _is_plain(fields: Mapping[str, Any]) -> bool:
    """Whether this is a command with nothing but texts, as most jobs are: nothing is to be made of those."""
    if not fields.keys() <= _PLAIN or type(fields.get("argv")) not in _LISTS:
        return False
    for name, value in fields.items():
        if type(value) is not str and name != "argv":
            return False
    return all(map(_is_text, fields["argv"]))


def _is_plain_call(fields: Mapping[str, Any]) -> bool:
    """Whether this is a handler's job with nothing but texts, and arguments that no JSON would change."""
    arguments = fields.get("arguments", {})
    if not fields.keys() <= _PLAIN_CALL or type(fields.get("handler")) is not str or type(arguments) is not dict:
        return False
    for name, value in fields.items():
        if type(value) is not str and name != "arguments":
            return False
    for name, value in arguments.items():  # pyright: ignore[reportUnknownVariableType]
        kind = type(value)  # pyright: ignore[reportUnknownVariableType, reportUnknownArgumentType]
        if type(name) is not str or kind not in _SCALARS or (kind is int and not -_LARGE < value < _LARGE):  # pyright: ignore[reportUnknownArgumentType]
            return False
    return True


def _is_text(value: Any) -> bool:
    return type(value) is str


def _rest(given: Mapping[str, Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    if "sequential" in given:
        made["sequential"] = _checked("sequential", given["sequential"], bool, "true or false")
    for name in ("retries", "escalate_after"):
        if name in given:
            made[name] = _whole(name, given[name])
    if "at" in given:
        made["at"] = time_of(given["at"])
    if "stdin" in given:
        made["stdin"] = _bytes("stdin", given["stdin"])
    if "arguments" in given:
        made["arguments"] = arguments_of(given["arguments"])
    for name in ("env", "meta"):
        if name in given:
            made[name] = _pairs(name, given[name])
    if "pass_env" in given:
        made["pass_env"] = _words("pass_env", given["pass_env"])
    if "on_dead" in given:
        made["on_dead"] = steps(given["on_dead"])
    if "locks" in given:
        made["locks"] = tuple(lock(word) for word in _words("locks", given["locks"]))
    return made


def _argv(given: Mapping[str, Any]) -> tuple[str, ...]:
    if "handler" in given:
        for name in ("argv", "command", "kwargs"):
            if name in given:
                raise InvalidJob(f"give either a handler or {name}: a handler's job takes `arguments`, an object")
        return ()
    if ("argv" in given) == ("command" in given):
        raise InvalidJob('give the command either as argv, a list such as ["git", "fetch"], or as command, a text')
    argv = _words("argv", given["argv"]) if "argv" in given else commandline.split(_text("command", given["command"]))
    kwargs = given.get("kwargs", {})
    if not is_object(kwargs):
        raise InvalidJob(f"kwargs is an object of names and values, not {_shown(kwargs)}")
    return (*argv, *commandline.flags(kwargs))


def arguments_of(value: Any) -> dict[str, Any]:
    """What a handler is called with, as JSON can carry it."""
    if not is_object(value):
        raise InvalidJob(f"arguments is an object of names and JSON values, not {_shown(value)}")
    try:
        copy = loads(dumps(value))  # as the function will get them, and no longer the caller's own
        _refuse_odd_names(value)
        return copy
    except (TypeError, AttributeError) as error:
        raise InvalidJob(f"arguments holds what JSON cannot carry ({error}); pass texts, numbers, lists") from None
    except RecursionError:
        raise InvalidJob("arguments is nested too deeply, or contains itself") from None


def _refuse_odd_names(value: Any) -> None:
    """TypeError for an object with a name that is no text: JSON would make it one without a word."""
    if isinstance(value, dict):
        for name, item in value.items():  # pyright: ignore[reportUnknownVariableType]
            if not isinstance(name, str):
                raise TypeError(f"the name {name!r} is no text")
            _refuse_odd_names(item)
    elif isinstance(value, (list, tuple)):
        for item in value:  # pyright: ignore[reportUnknownVariableType]
            _refuse_odd_names(item)


def lock(word: str) -> tuple[str, int | None]:
    """NAME or NAME=CAPACITY; without a capacity the lock keeps the one it has, which is 1 for a new one."""
    name, _, capacity = word.partition("=")
    if capacity and not _is_number(capacity):
        raise InvalidJob(f"a lock is NAME or NAME=CAPACITY, not {_shown(word)}")
    return name, int(capacity) if capacity else None


def time_of(value: Any) -> float:
    """Seconds since the epoch from a number, or from an ISO 8601 time (local, unless it names an offset)."""
    if isinstance(value, (int, float)) and not isinstance(value, bool):
        return _float("at", value)
    text = _text("at", value)
    try:
        return float(text)
    except ValueError:
        pass
    from datetime import datetime

    try:
        return datetime.fromisoformat(text).timestamp()
    except (ValueError, OverflowError):
        raise InvalidJob(f"at is a time such as 2026-11-22T18:00 or 2026-11-22T18:00:00Z, not {text!r}") from None


def _text(name: str, value: Any) -> str:
    return _checked(name, value, str, "a text")


def _checked(name: str, value: Any, kind: type, what: str) -> Any:
    if not isinstance(value, kind):
        raise InvalidJob(f"{name} is {what}, not {_shown(value)}")
    return value


def _number(name: str, value: Any) -> float:
    if isinstance(value, bool) or not isinstance(value, (int, float)):
        raise InvalidJob(f"{name} is a number of seconds, not {_shown(value)}")
    return _float(name, value)


def _float(name: str, value: float) -> float:
    try:
        return float(value)
    except OverflowError:
        raise InvalidJob(f"{name} is a number of seconds, not {_shown(value)}") from None


def _bytes(name: str, value: Any) -> bytes:
    """A text as bytes; those that were no UTF-8 when it was read are themselves again."""
    try:
        return _text(name, value).encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise InvalidJob(f"{name} holds half a surrogate pair, which is no text; remove it") from None


def _is_number(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 20


def _whole(name: str, value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise InvalidJob(f"{name} is a whole number, not {_shown(value)}")
    return value


def _words(name: str, value: Any) -> tuple[str, ...]:
    if not is_list(value):
        raise InvalidJob(f"{name} is a list of texts, not {_shown(value)}")
    return tuple(_text(f"every item of {name}", item) for item in value)


def steps(value: Any) -> tuple[tuple[str, ...], ...]:
    """The commands of `on_dead`: a list of words is one, a list of such lists several; an empty one none at all."""
    if is_list(value) and value and all(is_list(item) for item in value):
        return tuple(_words("every step of on_dead", item) for item in value)
    words = _words("on_dead", value)
    return (words,) if words else ()


def _pairs(name: str, value: Any) -> dict[str, str]:
    if not is_object(value):
        raise InvalidJob(f"{name} is an object of names and texts, not {_shown(value)}")
    return {str(key): _text(f"{name}.{key}", item) for key, item in value.items()}


def _ids(name: str, value: Any) -> tuple[int | str, ...]:
    found: list[int | str] = []
    for item in value if is_list(value) else [value]:
        if isinstance(item, bool) or not isinstance(item, (int, str)):
            raise InvalidJob(f"{name} is a list of job ids, not {_shown(value)}")
        found.append(_id_or_ref(name, item))
    return tuple(found)


def _id_or_ref(name: str, item: int | str) -> int | str:
    """An id, also written as a text; any other text is the `ref` of an earlier line."""
    if isinstance(item, str) and not (item.isascii() and item.isdigit()):
        return item
    number = int(item[:20]) if isinstance(item, str) else item
    if not 0 < number < 2**63:
        raise InvalidJob(f"{name} holds job ids, which are positive whole numbers, not {_shown(item)}")
    return number


def _shown(value: Any) -> str:
    if isinstance(value, int) and abs(value) > 1 << 9999:
        return "a number of thousands of digits"
    try:
        text = repr(value)
    except RecursionError:
        return "something so deeply nested"
    return text if len(text) <= 40 else text[:37] + "..."

"""A hook's command template: `{session_id}`, `{tool_input.file_path}` filled from its JSON. Pure.

A placeholder fills exactly one argument, or a part of one: what a hook's payload holds can neither add
arguments nor become an option.
"""

from __future__ import annotations

from queue_core import errors
from queue_core.fastjson import dumps
from queue_core.shapes import is_object

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

_NAME = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-")


def fill(template: Sequence[str], payload: Mapping[str, Any]) -> tuple[str, ...]:
    """The argv that a template means for this payload; InvalidJob if it names what is not there."""
    return fill_by(template, lambda name: _text(_look_up(payload, name)))


def fill_by(template: Sequence[str], text_of: Callable[[str], str]) -> tuple[str, ...]:
    """The same with a function that gives the text of a placeholder by its name, or raises InvalidJob."""
    if template and _is_filled(template[0]):
        raise errors.InvalidJob(f"a template begins with a program, not with a placeholder such as {template[0]}")
    argv: list[str] = []
    for argument in template:
        filled = _fill_one(argument, text_of)
        becomes_option = filled.startswith("-") and not argument.startswith("-")
        if becomes_option and "--" not in argv:
            raise errors.InvalidJob(
                f"the value for {argument} starts with `-` and would be read as an option; "
                "put `--` or some text before the placeholder in the template"
            )
        argv.append(filled)
    return tuple(argv)


def _is_filled(argument: str) -> bool:
    """Whether an argument holds a placeholder."""
    found: list[str] = []
    _fill_one(argument, lambda name: found.append(name) or "")
    return bool(found)


def _fill_one(argument: str, text_of: Callable[[str], str]) -> str:
    """Fill the placeholders of one argument; `{{` and `}}` stand for braces, other braces for themselves."""
    result: list[str] = []
    rest = argument
    while rest:
        before, brace, after = rest.partition("{")
        result.append(before.replace("}}", "}"))
        if not brace:
            break
        if after.startswith("{"):
            result.append("{")
            rest = after[1:]
            continue
        name, closed, behind = after.partition("}")
        if closed and name and set(name) <= _NAME:
            result.append(text_of(name))
            rest = behind
        else:
            result.append("{")
            rest = after
    return "".join(result)


def _look_up(payload: Mapping[str, Any], name: str) -> Any:
    value: Any = payload
    for part in name.split("."):
        if not is_object(value) or part not in value:
            raise errors.InvalidJob(f"the hook's input has no {name}, which the template names; check the hook's event")
        value = value[part]
    return value


def _text(value: Any) -> str:
    if isinstance(value, str):
        return value
    try:
        return dumps(value)
    except (TypeError, RecursionError) as error:
        raise errors.InvalidJob(f"the hook's input has a value that no argument can hold ({error})") from None

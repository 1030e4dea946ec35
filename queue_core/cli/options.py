"""Options from one table a verb: parsing, help and errors. Lean, because `argparse` takes 6 ms to import."""

from __future__ import annotations

from queue_core import errors
from queue_core.cli.given import Given
from queue_core.value import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any


class Option(Frozen):
    """One option: `metavar` None makes it a flag; `many` collects all its values."""

    name: str  # as typed, without the dashes
    metavar: str | None = None
    help: str = ""
    kind: str = "text"  # text | int | span (seconds) | days
    least: float | None = None  # of a number
    many: bool = False
    choices: tuple[str, ...] = ()

    @property
    def key(self) -> str:
        return self.name.replace("-", "_")


class Verb(Frozen):
    """What a verb takes: `operands` says how its arguments are called, `command` that `-- PROGRAM` follows.

    Where that does not do, `usage` has the lines of it, without `runq` and the name. `actions` has the options of
    those first operands that take fewer than all. A blank line parts the paragraphs of `summary` and `more`.
    """

    name: str
    summary: str
    example: str
    options: tuple[Option, ...] = ()
    operands: str = ""
    command: bool = False
    more: str = ""
    usage: tuple[str, ...] = ()
    actions: Mapping[str, tuple[str, ...]] = {}
    hint: str = ""  # what an unknown option probably means here


JSON = Option(name="json", help="one JSON document on stdout")


class HelpWanted(Exception):
    """`--help` was among the arguments of this verb, behind these operands."""

    def __init__(self, verb: Verb, operands: Sequence[str] = ()) -> None:
        super().__init__(verb.name)
        self.verb = verb
        self.action = operands[0] if operands else None


def parse(verb: Verb, arguments: Sequence[str]) -> Given:
    """Sort the arguments of a verb; UsageError says what is wrong, HelpWanted carries the help."""
    table = {"--" + option.name: option for option in verb.options}
    values: dict[str, Any] = {}
    operands: list[str] = []
    at = 0
    while at < len(arguments):
        word = arguments[at]
        at += 1
        if word == "--":
            return _given(verb, values, operands, arguments[at:])
        if word in ("--help", "-h"):
            raise HelpWanted(verb, operands)
        if word[:2] != "--":
            if word[:1] == "-" and len(word) > 1 and not word[1:2].isdigit():
                raise _unknown(verb, word)
            operands.append(word)
            continue
        name, equals, value = word.partition("=")
        option = table.get(name)
        if option is None:
            raise _unknown(verb, name)
        if option.metavar is None:
            if equals:
                raise errors.UsageError(f"{name} takes no value")
            values[option.key] = True
            continue
        if not equals:
            if at == len(arguments):
                raise errors.UsageError(f"{name} needs a value: {name} {option.metavar}")
            value = arguments[at]
            at += 1
        _store(values, option, value)
    return _given(verb, values, operands, None)


def _unknown(verb: Verb, option: str) -> errors.UsageError:
    hint = verb.hint or f"see `runq {verb.name} --help`"
    return errors.UsageError(f"runq {verb.name} knows no option {option}; {hint}")


def _given(verb: Verb, values: dict[str, Any], operands: list[str], command: Sequence[str] | None) -> Given:
    if command is not None and not verb.command:
        operands += command
        command = None
    if operands and not verb.operands:
        if not verb.command:
            raise errors.UsageError(f"runq {verb.name} takes no arguments such as `{operands[0]}`")
        hint = f"put the command behind `--`: runq {verb.name} -- {' '.join(operands)}"
        raise errors.UsageError(f"runq {verb.name} does not know what to do with `{operands[0]}`; {hint}")
    return Given(values=values, operands=tuple(operands), command=tuple(command) if command is not None else None)


def _store(values: dict[str, Any], option: Option, text: str) -> None:
    value = _converted(option, text)
    if option.many:
        values.setdefault(option.key, []).append(value)
    else:
        values[option.key] = value


def _converted(option: Option, text: str) -> Any:
    if option.choices and text not in option.choices:
        raise errors.UsageError(f"--{option.name} is one of {', '.join(option.choices)}, not {text!r}")
    if option.kind == "text":
        return text
    value = _number(option, text)
    if option.least is not None and not value >= option.least:
        raise errors.UsageError(f"--{option.name} must be at least {option.least:g}, not {text}")
    return value


def _number(option: Option, text: str) -> float:
    try:
        return int(text) if option.kind == "int" else float(text)
    except ValueError:
        if option.kind == "int":
            raise errors.UsageError(f"--{option.name} is a whole number, not {text!r}") from None
    from queue_core.recurrence import seconds_of  # for who writes 15m

    try:
        return seconds_of(text) / (86400 if option.kind == "days" else 1)
    except errors.UsageError:
        what = "days" if option.kind == "days" else "seconds"
        raise errors.UsageError(
            f"--{option.name} is a number of {what}, or a span such as 90s, 15m, 2h or 7d, not {text!r}"
        ) from None


def job_id(text: str) -> int:
    """An id as typed; UsageError if it is no positive whole number."""
    if not (text.isascii() and text.isdigit() and len(text) < 19 and int(text) > 0):
        raise errors.UsageError(f"a job's id is a positive whole number, not {text!r}; `runq list` shows the ids")
    return int(text)

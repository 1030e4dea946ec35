"""Help: what a verb takes, with an example; all verbs; what somebody may have meant."""

from __future__ import annotations

from difflib import get_close_matches
from shutil import get_terminal_size
from textwrap import wrap

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from queue_core.cli.options import Option, Verb

WIDEST = 100  # columns that a person reads with ease
LEFT = 30  # columns that options may take beside their help


def help_text(verb: Verb, action: str | None = None) -> str:
    """What a verb does, its options, and an example; of one of its actions, only what that one takes."""
    usage, options = _usage(verb), verb.options
    if action is not None and any(_is_of(action, line) for line in usage):
        usage = [line for line in usage if _is_of(action, line)]
        names = verb.actions.get(action)
        options = tuple(option for option in options if names is None or option.name in names)
    lines = [part for line in usage for part in _wrapped(f"runq {verb.name} ", line, indent=4)]
    lines += ["", *_paragraphs(verb.summary), ""]
    lines += _options(options)
    if options:
        lines.append("")
    if verb.more:
        lines += [*_paragraphs(verb.more), ""]
    lines.append("Example:")
    lines += [f"  {line}" for line in verb.example.splitlines()]
    return "\n".join(lines)


def _usage(verb: Verb) -> list[str]:
    """The lines of it, without `runq` and the verb's name."""
    if verb.usage:
        return list(verb.usage)
    command = "-- PROGRAM [ARG...]" if verb.command else ""
    return [" ".join(part for part in ("[options]" if verb.options else "", verb.operands, command) if part)]


def _is_of(action: str, line: str) -> bool:
    return line.split(maxsplit=1)[0] == action


def _options(options: Sequence[Option]) -> Iterator[str]:
    lefts = [f"--{option.name}" + (f" {option.metavar}" if option.metavar else "") for option in options]
    width = min(max((len(left) for left in lefts), default=0), LEFT)
    for left, option in zip(lefts, options, strict=True):
        text = option.help + (" (repeatable)" if option.many else "")
        yield from _wrapped(f"  {left:<{width}}  ", text, indent=width + 4)


def _paragraphs(text: str) -> Iterator[str]:
    for number, paragraph in enumerate(text.split("\n\n")):
        if number:
            yield ""
        yield from _wrapped("", " ".join(paragraph.split()), indent=0)


def _wrapped(head: str, text: str, *, indent: int) -> list[str]:
    """Lines that fit the terminal, those after the first indented; a word is never broken."""
    columns = max(40, min(get_terminal_size().columns, WIDEST))
    lines = wrap(
        text,
        columns,
        initial_indent=head,
        subsequent_indent=" " * indent,
        break_long_words=False,
        break_on_hyphens=False,
    )
    return lines or [head.rstrip()]


def overview(verbs: Mapping[str, tuple[str, str]]) -> str:
    """All verbs, a line each."""
    width = max(len(verb) for verb in verbs)
    lines = ["runq: a durable queue of command lines for AI agents", ""]
    for verb, (_, summary) in verbs.items():
        lines += _wrapped(f"  {verb:<{width}}  ", summary, indent=width + 4)
    lines += ["", "`runq VERB --help` shows a verb's options and an example.", "", "Example:"]
    lines += ["  runq add -- make test", "  runq process-queue"]
    return "\n".join(lines)


def unknown_verb(verb: str, verbs: Mapping[str, tuple[str, str]]) -> str:
    """The error for a verb that there is not."""
    near = get_close_matches(verb, verbs, n=1)
    meant = f" (did you mean `{near[0]}`?)" if near else ""
    return f"there is no verb `{verb}`{meant}; `runq --help` lists them"

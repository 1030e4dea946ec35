"""Help: what a verb takes, with an example; all verbs; what somebody may have meant."""

from __future__ import annotations

from difflib import get_close_matches

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

    from queue_core.cli.options import Verb


def help_text(verb: Verb) -> str:
    """What a verb does, its options, and an example."""
    command = " -- PROGRAM [ARG...]" if verb.command else ""
    options = " [options]" if verb.options else ""
    operands = f" {verb.operands}" if verb.operands else ""
    lines = [f"runq {verb.name}{options}{operands}{command}", "", verb.summary, ""]
    shown = [(f"--{option.name}" + (f" {option.metavar}" if option.metavar else ""), option) for option in verb.options]
    width = min(max((len(left) for left, _ in shown), default=0), 30)
    for left, option in shown:
        lines.append(f"  {left:<{width}}  {option.help}{' (repeatable)' if option.many else ''}")
    if verb.options:
        lines.append("")
    if verb.more:
        lines += [verb.more, ""]
    lines.append("Example:")
    lines += [f"  {line}" for line in verb.example.splitlines()]
    return "\n".join(lines)


def overview(verbs: Mapping[str, tuple[str, str]]) -> str:
    """All verbs, a line each."""
    width = max(len(verb) for verb in verbs)
    lines = ["runq: a durable queue of command lines for AI agents", ""]
    lines += [f"  {verb:<{width}}  {summary}" for verb, (_, summary) in verbs.items()]
    lines += ["", "`runq VERB --help` shows a verb's options and an example.", "", "Example:"]
    lines += ["  runq add -- make test", "  runq process-queue"]
    return "\n".join(lines)


def unknown_verb(verb: str, verbs: Mapping[str, tuple[str, str]]) -> str:
    """The error for a verb that there is not."""
    near = get_close_matches(verb, verbs, n=1)
    meant = f" (did you mean `{near[0]}`?)" if near else ""
    return f"there is no verb `{verb}`{meant}; `runq --help` lists them"

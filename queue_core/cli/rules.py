"""`runq allow` and `runq rules`: what agents may run, and why."""

from __future__ import annotations

import os

from queue_core import policy, programs, rules, settings
from queue_core.cli.context import on_terminal, opened, report, write_json, write_lines
from queue_core.cli.options import JSON, Given, Option, Verb
from queue_core.cli.patterns import check_variables, in_quotes, refuse_shell_words
from queue_core.cli.text import columns, printable, quoted
from queue_core.errors import UsageError
from queue_core.home import locate
from queue_core.policy import Request, Rule, too_open

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from queue_core.views import View

VERBS = {
    "allow": Verb(
        name="allow",
        summary="Let agents run exactly this command, without asking. A person's alone.",
        operands="PATTERN...",
        options=(
            Option(name="cwd", metavar="DIR", help="in this folder alone"),
            Option(name="env", metavar="NAME[=VALUE]", many=True, help="this variable may be set for it (to that)"),
            Option(name="stdin", help="it may be given input"),
            Option(name="options", help="`...` lets options follow, too, but for those that run or write something"),
            Option(name="trust-repository", help="the repository's own settings and hooks may run programs"),
            JSON,
        ),
        usage=("[options] 'PATTERN'...",),
        hint="quote the whole command as one argument: runq allow 'git status --short'",
        more="A pattern is one quoted argument, split as a shell would. `...` at its end lets further arguments "
        "follow, but nothing outside the project, and options only where they are known to be harmless; <int>, "
        "<word> and <relpath> stand for one argument each. The program is looked up now: the rule holds for that "
        "file alone.",
        example="runq allow 'git status'\nrunq allow 'pytest -q <relpath>' 'npm test'",
    ),
    "rules": Verb(
        name="rules",
        summary="What agents may run. With --explain: what would become of a command, and which rule decides.",
        operands="[-- PROGRAM ARG...]",
        hint="put the command behind `--`: runq rules --explain -- PROGRAM [ARG...]",
        usage=("[--json]", "--explain [--cwd DIR] [--env K=V]... [--stdin] [--json] -- PROGRAM [ARG...]"),
        options=(
            Option(name="explain", help="what would become of the command, for an agent in this folder"),
            Option(name="cwd", metavar="DIR", help="explain: as if the agent asked for this folder"),
            Option(name="env", metavar="K=V", many=True, help="explain: with this variable set"),
            Option(name="stdin", help="explain: with input"),
            JSON,
        ),
        command=True,
        example="runq rules\nrunq rules --explain -- git push --force",
    ),
}


def run_allow(given: Given) -> int:
    """`runq allow PATTERN...`."""
    home = locate(os.environ)
    with opened() as queue:
        queue.persons_alone(queue.origin(), "change the rules")
        _refuse_bare_words(given.operands)
        wanted = [_rule(text, given) for text in given.operands]
        for rule in wanted:
            queue.allow(rule)
    report(
        given,
        {"path": home.rules_file, "rules": [rule_view(rule) for rule in wanted]},
        rows=[rule_line(rule) for rule in wanted],
        sentences=[f"Agents may run: {quoted(rule.argv)}  ({rule.program})" for rule in wanted],
    )
    return 0


def _refuse_bare_words(patterns: Sequence[str]) -> None:
    """`runq allow git status` would allow bare `git` and `status`: not what was meant.

    Where one of several has a blank in it, whoever writes them knows of quotes.
    """
    if not patterns:
        raise UsageError("runq allow needs a pattern: runq allow 'git status'")
    if len(patterns) > 1 and all(len(pattern.split()) < 2 for pattern in patterns):
        raise UsageError(
            f"each pattern is one quoted argument; did you mean: runq allow {in_quotes(' '.join(patterns))}"
        )


def _rule(text: str, given: Given) -> Rule:
    """The rule that a pattern means, for the program that its first word is on this person's PATH now."""
    argv = rules.parse_pattern(text)
    refuse_shell_words(text)
    folder = os.path.realpath(given.get("cwd") or os.getcwd())
    programs.check_folder(folder)
    found = programs.find(argv[0], folder, os.environ.get("PATH", os.defpath))
    rule = Rule(
        argv=argv,
        program=os.path.realpath(found),
        cwd=folder if given.get("cwd") else None,
        env=check_variables(given.get("env", ())),
        stdin=bool(given.get("stdin")),
        options=bool(given.get("options")),
        trust_repository=bool(given.get("trust_repository")),
    )
    request = Request(caller="agent", argv=argv, program=os.path.realpath(found), cwd=folder)
    if rule.wildcard and (reason := too_open(rule, request)):
        raise UsageError(f"{text!r} would allow too much: {reason}")
    return rule


def run_rules(given: Given) -> int:
    """`runq rules`."""
    home = locate(os.environ)
    chosen = settings.load(home, os.environ)
    if given.operands:
        words = (*given.operands, *(given.command or ()))
        raise UsageError(f"put the command behind `--`: runq rules --explain -- {quoted(words)}")
    if given.get("explain"):
        if not given.command:
            raise UsageError("--explain needs a command: runq rules --explain -- PROGRAM [ARG...]")
        from queue_core.cli.explaining import explain

        return explain(given, home, chosen, given.command)
    if given.command is not None:
        raise UsageError(f"did you mean: runq rules --explain -- {quoted(given.command)}")
    for name in ("cwd", "env", "stdin"):
        if given.get(name):
            raise UsageError(f"--{name} goes with --explain: runq rules --explain -- PROGRAM [ARG...]")
    found = rules.load(home.rules_file)
    if given.get("json"):
        about = {"path": home.rules_file, "agents": chosen.agents, "roots": list(chosen.roots)}
        write_json({**about, "rules": [rule_view(rule) for rule in found]})
    elif on_terminal():
        _show(found, home.rules_file, chosen)
    else:
        write_lines(rule_line(rule) for rule in found)
    return 0


def rule_view(rule: Rule) -> View:
    return {
        "kind": kind_of(rule),
        "argv": list(rule.argv),
        "program": rule.program,
        "cwd": rule.cwd,
        "env": list(rule.env),
        "stdin": rule.stdin,
        "options": rule.options,
        "trust_repository": rule.trust_repository,
        "reason": rule.reason,
    }


def kind_of(rule: Rule) -> str:
    return "deny" if rule.deny else "allow"


def _extras(rule: Rule) -> str:
    """What may go with the command, in words."""
    return ", ".join(
        [
            *([f"in {rule.cwd}"] if rule.cwd else []),
            *(f"env {name}" for name in rule.env),
            *(name for name in rules.FLAGS if getattr(rule, name)),
            *([rule.reason] if rule.reason else []),
            *([f"no effect: {why}"] if (why := policy.without_effect(rule, rules.resolve)) else []),
        ]
    )


def rule_line(rule: Rule, first: str | None = None) -> str:
    """kind, program, extras, pattern."""
    return columns(*([first] if first else []), kind_of(rule), rule.program, _extras(rule), quoted(rule.argv))


def _below_each_other(found: Sequence[Rule]) -> list[str]:
    """The same for a narrow terminal: the pattern in full, and beneath it what goes with it."""
    lines: list[str] = []
    for rule in found:
        lines.append(f"{kind_of(rule):<5}  {quoted(rule.argv)}")
        lines += [f"       {printable(text)}" for text in (rule.program, _extras(rule)) if text]
    return lines


def _show(found: Sequence[Rule], path: str, chosen: settings.Settings) -> None:
    from queue_core.cli import tables

    if chosen.agents == "allow":
        write_lines(['agents = "allow" in config.toml: agents may run anything but what a rule denies.', ""])
    if found:
        headings = ("KIND", "PATTERN", "PROGRAM", "ALSO")
        rows = [
            (kind_of(rule), quoted(rule.argv), printable(rule.program or "looked up on a fixed PATH"), _extras(rule))
            for rule in found
        ]
        widths = [max(len(cell) for cell in column) for column in zip(headings, *rows, strict=True)]
        if sum(widths) + 2 * len(widths) <= tables.console().width:
            tables.show_rows(headings, rows)
        else:  # a pattern that is cut says nothing
            write_lines(_below_each_other(found))
    elif chosen.agents != "allow":
        write_lines(["No rules: what an agent queues waits for your approval. `runq allow 'git status'` makes one."])
    write_lines(["", f"The file: {path}"])

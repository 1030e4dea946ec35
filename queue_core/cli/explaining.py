"""`runq rules --explain`: what would become of an agent's command, which rule decides, and why not the nearest ones."""

from __future__ import annotations

import os
from shlex import join, quote

from queue_core import rules, settings
from queue_core.admission import prepare
from queue_core.cli.context import on_terminal, write_json, write_lines
from queue_core.cli.rules import rule_line, rule_view
from queue_core.cli.text import columns, printable, quoted
from queue_core.errors import SettingsError, UsageError
from queue_core.judge import Judge
from queue_core.model import NewJob, Origin
from queue_core.value import Frozen, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from queue_core.cli.options import Given
    from queue_core.home import Home
    from queue_core.model import Admission
    from queue_core.policy import Decision, Rule
    from queue_core.rules import Written
    from queue_core.views import View

MEANINGS = {
    "allowed": "an agent's job would run",
    "ask": "an agent's job would wait for your approval",
    "denied": "an agent's request would be refused",
}
MOST_NEAR = 5


class Explained(Frozen):
    """A decision, where its rule stands, the nearest rules with what keeps each from it, and what would allow it."""

    decision: Decision
    program: str
    line: int | None
    near: tuple[tuple[Written, str], ...]
    remedy: str | None


def explain(given: Given, home: Home, chosen: settings.Settings, argv: tuple[str, ...]) -> int:
    """Ask the very code that decides when an agent adds a job here."""
    admission = _admission(given, home, chosen, argv)
    judge = Judge(home, chosen)
    decision = judge.admission(admission)
    written = _written(home)
    line = next((one.line for one in written if one.rule == decision.rule), None)
    near = _near(judge, admission, written) if decision.verdict == "ask" else ()
    remedy = _remedy(given, admission, decision)
    _write(
        given, Explained(decision=decision, program=admission.program, line=line, near=near, remedy=remedy), argv, home
    )
    return 0


def _admission(given: Given, home: Home, chosen: settings.Settings, argv: tuple[str, ...]) -> Admission:
    folder = os.getcwd()
    project = os.environ.get("CLAUDE_PROJECT_DIR") or folder
    asked = NewJob(argv=argv, cwd=given.get("cwd"), env=_variables(given), stdin=b"" if given.get("stdin") else None)
    person, agent = Origin(caller="person"), Origin(caller="agent", project=project)
    (admission,) = prepare([asked], person, settings=chosen, home=home, environ=os.environ, folder=folder, now=0.0)
    return replace(admission, origin=agent)


def _variables(given: Given) -> dict[str, str]:
    pairs = [pair.partition("=") for pair in given.get("env", ())]
    if any(not name or not equals for name, equals, _ in pairs):
        raise UsageError("--env is NAME=VALUE, such as --env CI=1")
    return {name: value for name, _, value in pairs}


def _written(home: Home) -> tuple[Written, ...]:
    try:
        return rules.load_written(home.rules_file)
    except SettingsError:
        return ()


def _near(judge: Judge, admission: Admission, written: tuple[Written, ...]) -> tuple[tuple[Written, str], ...]:
    """The rules for a program of this name, those that get furthest first, and where each fails."""
    name = os.path.basename(admission.job.argv[0])
    same = [one for one in written if not one.rule.deny and os.path.basename(one.rule.argv[0]) == name]
    same.sort(key=lambda one: -_alike(one.rule, admission.job.argv))
    reasons = [(one, judge.why_not(one.rule, admission)) for one in same[:MOST_NEAR]]
    return tuple((one, why) for one, why in reasons if why)


def _alike(rule: Rule, argv: tuple[str, ...]) -> int:
    """How many words at the beginning are the same."""
    count = 0
    for token, value in zip(rule.argv, argv, strict=False):
        if token != value:
            break
        count += 1
    return count


def _remedy(given: Given, admission: Admission, decision: Decision) -> str | None:
    """What a person would type to allow just this, if that can be typed."""
    argv = admission.job.argv
    exact = rules.exact_rule(argv, program=admission.program, cwd=os.path.realpath(admission.cwd), env={})
    if decision.verdict != "ask" or exact is None or not join(argv).isprintable():
        return None
    options = [f" --env {quote(pair)}" for pair in given.get("env", ())]
    options += [" --stdin"] if given.get("stdin") else []
    options += [" --trust-repository"] if decision.reason.startswith("the repository") else []
    return f"runq allow{''.join(options)} {quote(join(argv))}"


def _write(given: Given, found: Explained, argv: tuple[str, ...], home: Home) -> None:
    if given.get("json"):
        write_json(_view(found, argv))
    elif on_terminal():
        _show(found, home)
    else:
        rows = [columns(key, getattr(found.decision, key)) for key in ("verdict", "reason")]
        rows += [columns("program", found.program)]
        rows += [rule_line(found.decision.rule, "rule") + "\t" + _line(found.line)] if found.decision.rule else []
        rows += [rule_line(one.rule, "not") + "\t" + _line(one.line) + "\t" + columns(why) for one, why in found.near]
        rows += [columns("allow", found.remedy)] if found.remedy else []
        write_lines(rows)


def _line(line: int | None) -> str:
    return columns(line)


def _view(found: Explained, argv: tuple[str, ...]) -> View:
    decision = found.decision
    return {
        "verdict": decision.verdict,
        "reason": decision.reason,
        "argv": list(argv),
        "program": found.program,
        "rule": {**rule_view(decision.rule), "line": found.line} if decision.rule else None,
        "near": [{**rule_view(one.rule), "line": one.line, "why_not": why} for one, why in found.near],
        "to_allow": found.remedy,
    }


def _show(found: Explained, home: Home) -> None:
    decision = found.decision
    write_lines([f"{decision.verdict}: {MEANINGS[decision.verdict]}", f"  program  {printable(found.program)}"])
    write_lines([f"  because  {printable(decision.reason)}"])
    if decision.rule:
        write_lines([f"  rule     {quoted(decision.rule.argv)}  ({_place(home, found.line)})"])
    for one, why in found.near:
        write_lines([f"  not by   {quoted(one.rule.argv)}  ({_place(home, one.line)}): {printable(why)}"])
    if found.remedy:
        write_lines([f"  to allow it: {found.remedy}"])


def _place(home: Home, line: int | None) -> str:
    return f"{home.rules_file}:{line}" if line else home.rules_file

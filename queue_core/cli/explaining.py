"""`runq rules --explain`: what would become of an agent's command, which rule decides, and why not the nearest ones."""

from __future__ import annotations

import os
from shlex import quote

from queue_core import rules, settings
from queue_core.admission import prepare
from queue_core.cli.context import on_terminal, write_json, write_lines
from queue_core.cli.patterns import as_typed
from queue_core.cli.rules import rule_line, rule_view
from queue_core.cli.text import columns, printable, quoted
from queue_core.errors import SettingsError, UsageError
from queue_core.judge import Judge
from queue_core.known_programs import steering_variable
from queue_core.model import NewJob, Origin
from queue_core.value import Frozen, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

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
    advice: str | None  # what to know of the remedy, or what to do where there is none


def explain(given: Given, home: Home, chosen: settings.Settings, argv: tuple[str, ...]) -> int:
    """Ask the very code that decides when an agent adds a job here."""
    admission = _admission(given, home, chosen, argv)
    judge = Judge(home, chosen)
    decision = judge.admission(admission)
    written = _written(home)
    line = next((one.line for one in written if one.rule == decision.rule), None)
    near = _near(judge, admission, written) if decision.verdict == "ask" else ()
    remedy, advice = _remedy(given, judge, admission, home) if decision.verdict == "ask" else (None, None)
    found = Explained(decision=decision, program=admission.program, line=line, near=near, remedy=remedy, advice=advice)
    _write(given, found, argv, home)
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


def _remedy(given: Given, judge: Judge, admission: Admission, home: Home) -> tuple[str | None, str | None]:
    """What a person would type to allow just this in this folder, if that can be typed, and what to know of it."""
    job, folder = admission.job, os.path.realpath(admission.cwd)
    if broken := rules.load_or_ask(home.rules_file)[1]:
        return None, f"mend the file: {broken}"
    exact = rules.exact_rule(job.argv, program=admission.program, cwd=folder, env=job.env, stdin=job.stdin is not None)
    typed = as_typed(job.argv)
    if exact is None or not (typed + folder + "".join(given.get("env", ()))).isprintable():
        return None, "no rule can say just this (an argument reads like a placeholder, or is no text): approve each job"
    runs = judge.repository_runs(admission)
    if why := judge.why_not(replace(exact, trust_repository=runs is not None), admission):
        return None, f"no rule can cover it: {why}"
    options = ["--cwd " + quote(folder), *(f"--env {quote(pair)}" for pair in given.get("env", ()))]
    options += ["--stdin"] if exact.stdin else []
    options += ["--trust-repository"] if runs is not None else []
    return f"runq allow {' '.join(options)} {typed}", _warning(job.env, runs)


def _warning(variables: Mapping[str, str], runs: str | None) -> str | None:
    """What a person should have looked at before they allow it."""
    steering = [name for name in variables if steering_variable(name)]
    told = [f"{', '.join(steering)} can make a program run other programs"] if steering else []
    told += [f"the repository may run programs of its own ({runs})"] if runs is not None else []
    return "first look at it well: " + "; ".join(told) if told else None


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
        rows += [columns("advice", found.advice)] if found.advice else []
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
        "advice": found.advice,
    }


def _show(found: Explained, home: Home) -> None:
    from textwrap import wrap

    from queue_core.cli.tables import console

    decision, lines = found.decision, list[str]()
    width = max(40, console().width)

    def tell(name: str, text: str) -> None:
        lines.extend(
            wrap(
                f"  {name:<8} {text}",
                width,
                subsequent_indent=" " * 11,
                break_long_words=False,
                break_on_hyphens=False,
                drop_whitespace=True,
            )
        )

    lines.append(f"{decision.verdict}: {MEANINGS[decision.verdict]}")
    tell("program", printable(found.program))
    tell("because", printable(decision.reason))
    if decision.rule:
        tell("rule", f"{quoted(decision.rule.argv)}{_place(found.line)}")
    for one, why in found.near:
        tell("not by", f"{quoted(one.rule.argv)}{_place(one.line)}: {printable(why)}")
    if decision.rule or found.near:
        tell("rules in", home.rules_file)
    if found.advice:
        tell("note", printable(found.advice))
    lines += [f"  to allow it: {found.remedy}"] if found.remedy else []  # in one piece, to be copied
    write_lines(lines)


def _place(line: int | None) -> str:
    return f" (line {line})" if line else ""

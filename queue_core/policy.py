"""Whether a caller may run a command: Allowed, Ask (a person must approve) or Denied. Pure.

Persons and hooks may queue anything. An agent may queue what a rule of the user's covers, argument for
argument: an allow-list of program names is no control, 29 of 35 hostile argument vectors got past one
(git -c alias, find -exec, tar --to-command …). Whatever no rule covers waits for a person.
"""

from __future__ import annotations

import os

from queue_core.known_programs import (
    NEVER_BY_WILDCARD,
    REMOTE_SUBCOMMANDS,
    RUNNING_SUBCOMMANDS,
    VERSION_CONTROL,
    harmless_option,
    reads_its_folder,
    running_below,
    telling_operand,
    telling_option,
)
from queue_core.value import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Literal

    from queue_core.model import Caller

    Verdict = Literal["allowed", "ask", "denied"]
    Resolve = Callable[[str], str | None]

FORBIDDEN = "a rule of the user's forbids it"
MOST_OPEN = 200  # arguments that a rule leaves open: each is looked up on disk, while the store waits
PLACEHOLDERS = ("<int>", "<word>", "<relpath>")
# Neither `:` nor `@`: host:path, user@host, scheme::what and package@version say where something comes from.
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.,+%-")


class Rule(Frozen):
    """One line of the user's rules: a pattern over the whole argv, and what may go with it."""

    argv: tuple[str, ...]
    program: str | None = None  # the real path that argv[0] must resolve to
    cwd: str | None = None  # the one folder (a real path) that it holds for; None: wherever agents may work
    deny: bool = False
    reason: str | None = None
    env: tuple[str, ...] = ()  # NAME may be set, to whatever; NAME=VALUE has to be set, to just that
    stdin: bool = False
    options: bool = False  # `...` stands for options as well, but for those whose names say that they run or write
    trust_repository: bool = False  # whatever the repository's own configuration makes the program run

    @property
    def wildcard(self) -> bool:
        """Whether it leaves any argument open."""
        return any(_is_open(token) for token in self.argv)


class Request(Frozen):
    """What somebody wants to run, with every path real."""

    caller: Caller
    argv: tuple[str, ...]
    program: str
    cwd: str
    env: Mapping[str, str] = {}  # what is asked for with it, and what is passed on to it by name
    stdin: bool = False
    stdin_path: str | None = None  # the real path of the file that it reads, if it is one
    repository_runs: str | None = None  # what in the repository's own configuration names programs to run

    _secret = frozenset({"env"})


class Decision(Frozen):
    """The verdict, the rule that made it, and the reason in words."""

    verdict: Verdict
    reason: str
    rule: Rule | None = None


class Reach(Frozen):
    """How far agents may reach: into these folders (real paths), but for those that are closed to them."""

    roots: tuple[str, ...]
    closed: tuple[str, ...] = ()

    def holds(self, path: str) -> bool:
        """Whether a real path lies within."""
        shut = (one for one in self.closed if any(inside(one, root) for root in self.roots))
        return any(inside(path, root) for root in self.roots) and not any(inside(path, one) for one in shut)

    def leads_inside(self, path: str, cwd: str) -> bool:
        """The same of a path as it stands in an argument, wherever its links lead, and of all that lies below it."""
        if not path:
            return True  # `--name=`: no path at all
        try:
            real = os.path.realpath(os.path.join(cwd, path))
        except (ValueError, OSError):  # a NUL byte, half a surrogate pair
            return False
        return self.holds(real) and not any(inside(one, real) for one in self.closed)  # `grep -r key .` in $HOME


def decide(
    request: Request,
    rules: Sequence[Rule],
    *,
    roots: Sequence[str],
    agents: str,
    resolve: Resolve,
    closed: Sequence[str] = (),
) -> Decision:
    """May this run? `roots` and `closed` are real paths; `resolve` gives the real path a rule's program name means."""
    reach = Reach(roots=tuple(roots), closed=tuple(closed))
    if request.caller == "agent" and (rule := denying(request, rules, reach, resolve)):
        return Decision(verdict="denied", reason=rule.reason or FORBIDDEN, rule=rule)
    if request.caller != "agent":
        return Decision(verdict="allowed", reason=f"queued by a {request.caller}")
    if not reach.holds(request.cwd):
        if any(inside(request.cwd, root) for root in roots):
            return Decision(
                verdict="denied", reason=f"{request.cwd} holds secrets or runq's own files: closed to agents"
            )
        where = ", ".join(roots) or "none is set"
        return Decision(verdict="denied", reason=f"{request.cwd} is outside the folders agents may work in ({where})")
    if agents == "allow":
        return Decision(verdict="allowed", reason='the user\'s file says agents = "allow"')
    return _by_allow_rules(request, rules, reach, resolve)


def denying(request: Request, rules: Sequence[Rule], reach: Reach, resolve: Resolve) -> Rule | None:
    """The first rule that denies what somebody wants to run, whoever it is."""
    return next((rule for rule in rules if rule.deny and why_not(rule, request, reach, resolve) is None), None)


def _by_allow_rules(request: Request, rules: Sequence[Rule], reach: Reach, resolve: Resolve) -> Decision:
    missing_by: list[tuple[int, str]] = []
    if request.stdin_path is not None and not reach.holds(request.stdin_path):
        return Decision(verdict="ask", reason=f"its input {request.stdin_path} lies outside the folders agents work in")
    for rule in rules:
        if rule.deny or why_not(rule, request, reach, resolve) is not None:
            continue
        missing = not_covered(rule, request, reach)
        if missing is None:
            return Decision(verdict="allowed", reason="a rule covers it: " + " ".join(rule.argv), rule=rule)
        missing_by.append((sum(not _is_open(token) for token in rule.argv), missing))
    # The rule that says the most itself is the one that was meant.
    reason = max(missing_by, key=lambda one: one[0])[1] if missing_by else "no rule covers this command"
    return Decision(verdict="ask", reason=reason)


def why_not(rule: Rule, request: Request, reach: Reach, resolve: Resolve) -> str | None:
    """Where a rule's pattern does not fit the program and the whole argv, in words; None if it does."""
    wanted = rule.program or resolve(
        os.path.join(rule.cwd or "", rule.argv[0]) if "/" in rule.argv[0] else rule.argv[0]
    )
    if wanted is None:
        return f"there is no `{rule.argv[0]}` on the fixed PATH"
    if os.path.realpath(wanted) != request.program:
        return f"it is about {wanted}, not {request.program}"
    if rule.cwd is not None and os.path.realpath(rule.cwd) != request.cwd:
        return f"it holds in {rule.cwd} alone"
    if os.path.basename(rule.argv[0]) != os.path.basename(request.argv[0]):
        return f"it is about `{rule.argv[0]}`"  # a program of many names (busybox) is a different one by each
    pattern, given = rule.argv[1:], request.argv[1:]
    open_end = bool(pattern) and pattern[-1] == "..."
    if open_end:
        pattern = pattern[:-1]
    for number, (token, value) in enumerate(zip(pattern, given, strict=False), 1):
        if not (_is_denied(token, value) if rule.deny else _fits(token, value, request.cwd, reach)):
            return f"argument {number} {_shown(value)} is not `{token}`"
    if len(given) < len(pattern):
        return f"argument {len(given) + 1} `{pattern[len(given)]}` is missing"
    if len(given) > len(pattern) and not open_end:
        return f"argument {len(pattern) + 1} {_shown(given[len(pattern)])} is more than it says"
    return None


def _shown(value: str) -> str:
    """An argument in a sentence: stored as text, kept short, and no control character in it."""
    text = value if len(value) <= 60 else value[:57] + "..."
    return f"`{text}`" if text.isprintable() else ascii(text)


def not_covered(rule: Rule, request: Request, reach: Reach) -> str | None:
    """What a rule that fits the argv does not cover of the rest, in words."""
    if rule.wildcard and (reason := too_open(rule, request) or _open_argument(rule, request, reach)):
        return reason
    for name, value in request.env.items():
        if name not in rule.env and f"{name}={value}" not in rule.env:
            shown = name.encode("utf-8", "replace").decode()  # the reason is stored as text
            return f"the rule does not let the variable {shown} be set" + _to_that(name, rule)
    for pair in rule.env:
        if "=" in pair and pair.partition("=")[0] not in request.env:
            return f"the rule is for a run with {pair}"
    if request.repository_runs is not None and not rule.trust_repository:
        return f"the repository may run programs of its own ({request.repository_runs})"
    if request.stdin and not rule.stdin:
        return "the rule does not let input be given"
    return None


def _to_that(name: str, rule: Rule) -> str:
    return " to that value" if any(one.startswith(name + "=") for one in rule.env) else ""


def too_open(rule: Rule, request: Request) -> str | None:
    """Why a pattern with open places is not enough for this program, or None."""
    names, called = _names(request), os.path.basename(request.argv[0])
    known = _stem(called) in NEVER_BY_WILDCARD or _stem(called) in RUNNING_SUBCOMMANDS
    program = called if known else os.path.basename(request.program)  # npm, whose file is npm-cli.js
    if names & NEVER_BY_WILDCARD:
        return f"{program} runs other programs, so only an exact rule allows it"
    running = {one for name in names for one in RUNNING_SUBCOMMANDS.get(name, ())}
    if not running:
        return None
    subcommand = rule.argv[1]  # a pattern with an open place has a second word
    if _is_open(subcommand) or subcommand.startswith("-") or subcommand in running:
        return f"{program} runs other programs by some subcommands, so a rule spells a harmless one out"
    if below := running_below(names, request.argv):
        return f"{program} {subcommand} {below} changes files and runs hooks, so only an exact rule allows it"
    return None


def without_effect(rule: Rule, resolve: Resolve) -> str | None:
    """Why a rule that allows can never cover anything, whatever its open places stand for; None if it can."""
    if rule.deny or not rule.wildcard:
        return None
    program = os.path.realpath(rule.program or resolve(rule.argv[0]) or rule.argv[0])
    return too_open(rule, Request(caller="agent", argv=rule.argv, program=program, cwd="/"))


def _open_argument(rule: Rule, request: Request, reach: Reach) -> str | None:
    """Why what a rule leaves to the agent is more than it gave away, or None."""
    fixed = len(rule.argv) - (rule.argv[-1] == "...")
    names = _names(request)
    if len(request.argv) - fixed > MOST_OPEN:
        return f"it has more than {MOST_OPEN} arguments where the rule is open"
    if (operand := telling_operand(names, rule.argv, request.argv)) is not None:
        return f"{_shown(operand)} may make it write, set or read more than its work, so a rule spells it out"
    for value in request.argv[fixed:]:
        if value.startswith("-") and not _option_passes(value, rule, request.argv, names):
            return f"the option {_shown(value)} has to be spelled out in a rule"
        if _leads_outside(value, request.cwd, reach):
            return f"{_shown(value)} may lead outside the folders agents work in, so a rule spells it out"
        if names & VERSION_CONTROL and _is_address(value, rule.argv[1]):
            return f"{_shown(value)} may be an address or a forced reference, so a rule spells it out"
    if reads_its_folder(names, request.argv) and _leads_outside(".", request.cwd, reach):
        return f"without an operand it may read all of {request.cwd}, where secrets lie"
    return None


def _option_passes(option: str, rule: Rule, argv: Sequence[str], names: frozenset[str]) -> bool:
    """Options make interpreters and writers of harmless programs: those pass that are known to be harmless."""
    if harmless_option(names, argv[1], option):
        return True
    return rule.options and not names & VERSION_CONTROL and not telling_option(option)


def _leads_outside(value: str, cwd: str, reach: Reach) -> bool:
    """Whether anything in an argument could be a path out of the roots, an address or a file of arguments."""
    if not value or value.startswith("@") or "://" in value or not value.isprintable():
        return True
    pieces = {value, *value.replace("=", ":").replace(",", ":").split(":")}
    if value.startswith("-"):  # -f/etc/shadow, -f../x, -flink
        starts = [at for mark in ("/", "~", "..") if (at := value.find(mark)) >= 0]
        pieces |= {value[2:], value[min(starts) :] if starts else ""}
    return any(piece.startswith("~") or not reach.leads_inside(piece, cwd) for piece in pieces)


def _is_address(value: str, subcommand: str) -> bool:
    """What version control may take for another repository, for a transport, or for a reference to force or delete."""
    return "::" in value or value.startswith("+") or (subcommand in REMOTE_SUBCOMMANDS and ":" in value)


def _is_open(token: str) -> bool:
    return token == "..." or token in PLACEHOLDERS


def _names(request: Request) -> frozenset[str]:
    """What the program is called: as it was asked for and as its real path ends, with and without a version."""
    bases = [os.path.basename(name) for name in (request.argv[0], request.program)]
    return frozenset([*bases, *map(_stem, bases)])


def _stem(name: str) -> str:
    """python3.12 is python, gawk-5.1.0 is gawk: names without their version."""
    return name.rstrip("0123456789.-") or name


def _fits(token: str, value: str, cwd: str, reach: Reach) -> bool:
    if token == "<int>":
        return value.isascii() and value.isdigit()
    if token == "<word>":
        return _is_word(value) and reach.leads_inside(value, cwd)  # a word may be a link's name
    if token == "<relpath>":
        return _is_relative_path(value) and not _leads_outside(value, cwd, reach)
    return token == value


def _is_denied(token: str, value: str) -> bool:
    """What a rule that denies leaves open is wide: whatever is no option, so that nothing slips by it."""
    if token in ("<word>", "<relpath>"):
        return not value.startswith("-")
    return value.isdecimal() if token == "<int>" else token == value


def _is_word(value: str) -> bool:
    """No option, no folder outside (`..`), no `+ref` (git forces), no address, no `@file` (of arguments)."""
    return bool(value) and value[0] not in "-+" and bool(value.strip(".")) and set(value) <= _WORD


def _is_relative_path(value: str) -> bool:
    """No option, no absolute path, no address to git, scp and others: host:path, https://, ext::"""
    if not value or value[0] in "-/~@+" or not value.isprintable():
        return False
    return ":" not in value.partition("/")[0]


def inside(path: str, root: str) -> bool:
    """Whether a real path lies in a real folder."""
    return path == root or path.startswith(root.rstrip("/") + "/")

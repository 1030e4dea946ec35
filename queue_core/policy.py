"""Whether a caller may run a command: Allowed, Ask (a person must approve) or Denied. Pure.

Persons and hooks may queue anything. An agent may queue what a rule of the user's covers, argument for
argument: an allow-list of program names is no control, 29 of 35 hostile argument vectors got past one
(git -c alias, find -exec, tar --to-command …). Whatever no rule covers waits for a person.
"""

from __future__ import annotations

import os

from queue_core.value import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Literal

    from queue_core.model import Caller

    Verdict = Literal["allowed", "ask", "denied"]

# Programs that turn their arguments into more programs: an agent gets them by an exact rule only.
NEVER_BY_WILDCARD = frozenset(
    """
    sh bash dash zsh ksh fish csh tcsh busybox env xargs timeout nice nohup setsid stdbuf chroot unshare sudo su
    doas pkexec runuser ssh scp sftp rsync find fd awk gawk mawk sed perl python python3 ruby node deno bun php
    lua Rscript osascript eval exec watch parallel make cmake ninja docker podman kubectl systemd-run crontab at
    batch vim vi nvim emacs ed ex less more man tar zip unzip git-shell socat nc ncat curl wget npx uvx pipx
    claude codex gemini aider runq runq-mcp tmux screen script expect sort rg strace ltrace gdb lldb flock
    ionice chrt taskset time nsenter setpriv prlimit capsh bwrap firejail entr run-parts start-stop-daemon
    unbuffer rbash mksh ash pwsh nodejs pypy luajit tclsh wish guile java jshell m4 sqlite3 psql mysql openssl
    gmake ansible
    """.split()  # noqa: SIM905 - a list of a hundred quoted words is no better to read
)
# Programs of many subcommands, some of which run whatever they are given, as do options of the others.
VERSION_CONTROL = frozenset(["git", "hg", "svn"])
RUNNING_SUBCOMMANDS = frozenset(
    """
    bisect config daemon difftool filter-branch help hook mergetool rebase remote-ext remote-fd send-email
    submodule upload-archive upload-pack
    """.split()  # noqa: SIM905
)

PLACEHOLDERS = ("<int>", "<word>", "<relpath>")
_WORD = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.,:@+%-")


class Rule(Frozen):
    """One line of the user's rules: a pattern over the whole argv, and what may go with it."""

    argv: tuple[str, ...]
    program: str | None = None  # the real path that argv[0] must resolve to
    cwd: str | None = None  # the one folder (a real path) that it holds for; None: wherever agents may work
    deny: bool = False
    reason: str | None = None
    env: tuple[str, ...] = ()  # variables that may be set: NAME to whatever, NAME=VALUE to just that
    stdin: bool = False
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


def decide(
    request: Request,
    rules: Sequence[Rule],
    *,
    roots: Sequence[str],
    agents: str,
    resolve: Callable[[str], str | None],
) -> Decision:
    """May this run? `roots` are real paths; `resolve` gives the real path a rule's program name means."""
    for rule in rules:
        if rule.deny and request.caller == "agent" and matches(rule, request, roots, resolve):
            return Decision(verdict="denied", reason=rule.reason or "a rule of the user's forbids it", rule=rule)
    if request.caller != "agent":
        return Decision(verdict="allowed", reason=f"queued by a {request.caller}")
    if not any(inside(request.cwd, root) for root in roots):
        where = ", ".join(roots) or "none is set"
        return Decision(verdict="denied", reason=f"{request.cwd} is outside the folders agents may work in ({where})")
    if agents == "allow":
        return Decision(verdict="allowed", reason='the user\'s file says agents = "allow"')
    return _by_allow_rules(request, rules, roots, resolve)


def _by_allow_rules(
    request: Request, rules: Sequence[Rule], roots: Sequence[str], resolve: Callable[[str], str | None]
) -> Decision:
    reason = "no rule covers this command"
    if request.stdin_path is not None and not any(inside(request.stdin_path, root) for root in roots):
        return Decision(verdict="ask", reason=f"its input {request.stdin_path} lies outside the folders agents work in")
    for rule in rules:
        if rule.deny or not matches(rule, request, roots, resolve):
            continue
        missing = _not_covered(rule, request)
        if missing is None:
            return Decision(verdict="allowed", reason="a rule covers it: " + " ".join(rule.argv), rule=rule)
        reason = missing
    return Decision(verdict="ask", reason=reason)


def _not_covered(rule: Rule, request: Request) -> str | None:
    """What a rule that fits the argv does not cover of the rest, in words."""
    if rule.wildcard and (reason := too_open(rule, request)):
        return reason
    for name, value in request.env.items():
        if name not in rule.env and f"{name}={value}" not in rule.env:
            shown = name.encode("utf-8", "replace").decode()  # the reason is stored as text
            return f"the rule does not let the variable {shown} be set" + _to_that(name, rule)
    if request.repository_runs is not None and not rule.trust_repository:
        return f"the repository's own configuration runs programs ({request.repository_runs})"
    if request.stdin and not rule.stdin:
        return "the rule does not let input be given"
    return None


def _to_that(name: str, rule: Rule) -> str:
    return " to that value" if any(one.startswith(name + "=") for one in rule.env) else ""


def too_open(rule: Rule, request: Request) -> str | None:
    """Why a pattern with open places is not enough for this program, or None."""
    program = os.path.basename(request.program)
    if _is_one_of(NEVER_BY_WILDCARD, request):
        return f"{program} runs other programs, so only an exact rule allows it"
    if not _is_one_of(VERSION_CONTROL, request):
        return None
    subcommand = rule.argv[1]  # a pattern with an open place has a second word
    if _is_open(subcommand) or subcommand.startswith("-") or subcommand in RUNNING_SUBCOMMANDS:
        return f"{program} runs other programs by some subcommands, so a rule spells a harmless one out"
    if any(value.startswith("-") for value in _left_open(rule, request)):
        return f"{program} runs other programs by some options, so a rule spells them out"
    return None


def _left_open(rule: Rule, request: Request) -> list[str]:
    """The arguments that a rule which fits leaves to the agent."""
    fixed = len(rule.argv) - (rule.argv[-1] == "...")
    placed = [value for token, value in zip(rule.argv, request.argv, strict=False) if token in PLACEHOLDERS]
    return [*placed, *request.argv[fixed:]]


def _is_open(token: str) -> bool:
    return token == "..." or token in PLACEHOLDERS


def _is_one_of(names: frozenset[str], request: Request) -> bool:
    """Whether the program, by any of its names, is among these."""
    bases = [os.path.basename(name) for name in (request.argv[0], request.program)]
    return any(base in names or _stem(base) in names for base in bases)


def _stem(name: str) -> str:
    """python3.12 is python, gawk-5.1.0 is gawk: names without their version."""
    return name.rstrip("0123456789.-") or name


def matches(rule: Rule, request: Request, roots: Sequence[str], resolve: Callable[[str], str | None]) -> bool:
    """Whether the rule's pattern fits the program and the whole argv."""
    wanted = rule.program or resolve(rule.argv[0])
    if wanted is None or os.path.realpath(wanted) != request.program:
        return False
    if rule.cwd is not None and os.path.realpath(rule.cwd) != request.cwd:
        return False
    if os.path.basename(rule.argv[0]) != os.path.basename(request.argv[0]):
        return False  # a program of many names (busybox) is a different one by each
    pattern, given = rule.argv[1:], request.argv[1:]
    open_end = bool(pattern) and pattern[-1] == "..."
    if open_end:
        pattern = pattern[:-1]
    if len(given) < len(pattern) or (len(given) > len(pattern) and not open_end):
        return False
    return all(_fits(token, value, request.cwd, roots) for token, value in zip(pattern, given, strict=False))


def _fits(token: str, value: str, cwd: str, roots: Sequence[str]) -> bool:
    if token == "<int>":
        return value.isascii() and value.isdigit()
    if token == "<word>":
        return _is_word(value)
    if token == "<relpath>":
        return _is_relative_path(value, cwd, roots)
    return token == value


def _is_word(value: str) -> bool:
    """No option, no folder outside (`..`), no `+ref` (git forces), `:ref` (git deletes), `@file` (of arguments)."""
    return bool(value) and value[0] not in "-+:@" and bool(value.strip(".")) and set(value) <= _WORD


def _is_relative_path(value: str, cwd: str, roots: Sequence[str]) -> bool:
    if not value or value[0] in "-/~@+" or "\n" in value:
        return False
    if ":" in value.partition("/")[0]:
        return False  # an address to git, scp and others: host:path, https://, ext::
    real = os.path.realpath(os.path.join(cwd, value))
    return any(inside(real, root) for root in roots)


def inside(path: str, root: str) -> bool:
    """Whether a real path lies in a real folder."""
    return path == root or path.startswith(root.rstrip("/") + "/")

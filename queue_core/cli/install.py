"""`runq install CLIENT`: runq in a client's files, shown before it is written, and out of them again with `--undo`."""

from __future__ import annotations

import os
import sys

from queue_core.cli.context import complain, on_terminal, write_lines
from queue_core.cli.options import Given, Option, Verb
from queue_core.cli.text import printable
from queue_core.clients import change, claude, codex, vscode
from queue_core.clients.places import BY_NAME, own_programs
from queue_core.errors import NotAllowed, QueueError, UsageError
from queue_core.home import locate

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from queue_core.clients.change import Part, Plan
    from queue_core.home import Home

CLIENTS = {
    "claude": "start a new session; `/mcp` shows runq",
    "codex": "start a new session; `/mcp` shows runq",
    "vscode": "run `MCP: List Servers` in VS Code; it shows runq, and starts it",
}
PROJECT_NOTES = {
    "claude": "Claude Code asks each who opens the project whether they trust .mcp.json",
    "codex": "Codex reads the file in projects that it trusts",
    "vscode": "VS Code asks each who opens the project whether they trust the server",
}
STYLES = {"+": "green", "-": "red", "@": "cyan"}
VERBS = {
    "install": Verb(
        name="install",
        summary="Set runq up in a client: its MCP server, and in Claude Code hooks. Shows the change, asks, writes.",
        operands="CLIENT",
        usage=("claude|codex|vscode [options]",),
        options=(
            Option(
                name="scope",
                metavar="user|project",
                choices=("user", "project"),
                help="for you in all projects (default), or for all in the project in this folder",
            ),
            Option(name="undo", help="take it out again: the files as they were, as far as nobody has changed them"),
            Option(name="no-hooks", help="claude: the MCP server alone"),
            Option(name="yes", help="do not ask"),
            Option(name="dry-run", help="show the change, write nothing"),
        ),
        more="Nothing else in a file changes. A second run brings the programs' paths up to date. The hooks tell the "
        "agent what became of its jobs (`runq digest`), and queue what config.toml says under [[capture]] "
        "(`runq hook`).",
        example="runq install claude\nrunq install vscode --scope project --dry-run\nrunq install claude --undo",
    ),
}


def run_install(given: Given) -> int:
    """`runq install CLIENT`."""
    client = _client(given)
    home = locate(os.environ)
    _refuse_others_than_persons(home)
    parts = _parts(client, given)
    undo = bool(given.get("undo"))
    plan = change.undo(parts, home) if undo else change.install(parts, home)
    if not plan.changes:
        write_lines([_in_place(client, parts, undo=undo)])
        return 0
    _show(plan)
    if given.get("dry_run"):
        return 0
    if not given.get("yes"):
        _ask()
    change.carry_out(plan, home)
    _say_end(client, given, plan)
    return 0


def _client(given: Given) -> str:
    known = ", ".join(CLIENTS)
    if len(given.operands) != 1:
        raise UsageError(f"runq install needs one client: runq install {'|'.join(CLIENTS)}")
    client = given.operands[0]
    if client not in CLIENTS:
        raise UsageError(f"runq install knows {known}, not `{printable(client)}`; README.md has what others need")
    if given.get("no_hooks") and (client != "claude" or given.get("undo")):
        raise UsageError("--no-hooks goes with `runq install claude` alone: only there is there something to leave out")
    return client


def _refuse_others_than_persons(home: Home) -> None:
    """What is written here runs in each later session: nobody but a person decides on it."""
    from queue_core.cli.add import caller_here

    caller = caller_here(os.environ, home, hook_verb=False)
    if caller != "person":
        who = "an agent" if caller == "agent" else "a hook"
        raise NotAllowed(f"{who} may not change what clients run; ask the user to do it")


def _parts(client: str, given: Given) -> list[Part]:
    """What goes in or out; what speaks against it raises QueueError or is said on stderr."""
    environ, undo = os.environ, bool(given.get("undo"))
    project = os.getcwd() if given.get("scope") == "project" else None
    programs = BY_NAME if project or undo else own_programs(sys.argv[0], environ)
    if client == "codex":
        return codex.parts(environ, project, programs)
    if client == "vscode":
        if not project and not undo and not os.path.isdir(os.path.dirname(vscode.user_place(environ))):
            complain(f"{vscode.user_place(environ)} is not there: VS Code was not started yet, or keeps it elsewhere")
        return vscode.parts(environ, project, programs)
    hooks = not given.get("no_hooks")
    if not undo:
        claude.refuse_plugin(environ, project)
        if hooks and (other := claude.other_hooks(environ, project)):
            complain(
                f"{printable(other)} has these hooks as well, so each would run twice here; --no-hooks leaves them out"
            )
    return claude.parts(environ, project, programs, hooks=hooks)


def _in_place(client: str, parts: Sequence[Part], *, undo: bool) -> str:
    where = " and ".join(printable(part.target.path) for part in parts)
    return f"Nothing of runq is in {where}." if undo else f"All is in place in {where}: {CLIENTS[client]}."


def _show(plan: Plan) -> None:
    lines = [line for one in plan.changes for line in change.difference(one)]
    if not on_terminal():
        write_lines(_plain(line) for line in lines)
        return
    from rich.text import Text

    from queue_core.cli import tables

    out = tables.console()
    for line in lines:
        out.print(Text(_plain(line), STYLES.get(line[:1], "")), soft_wrap=True)


def _plain(line: str) -> str:
    """A line of somebody's file, with nothing in it that could act on a terminal."""
    return "    ".join(printable(part) for part in line.rstrip("\r").split("\t"))


def _ask() -> None:
    if not (sys.stdin.isatty() and on_terminal()):
        raise QueueError("nothing was written: without a terminal to ask on this needs --yes")
    sys.stdout.write("Write this? [y/N] ")
    sys.stdout.flush()
    if sys.stdin.readline().strip().lower() not in ("y", "yes"):
        raise QueueError("nothing was written")


def _say_end(client: str, given: Given, plan: Plan) -> None:
    for one in plan.changes:
        done = "Wrote" if one.after is not None else "Removed"
        write_lines([f"{done} {printable(one.target.path)}."])
    if given.get("undo"):
        return
    note = f" ({PROJECT_NOTES[client]})" if given.get("scope") == "project" else ""
    write_lines([f"Next: {CLIENTS[client]}{note}."])

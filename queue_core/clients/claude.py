"""Claude Code: the MCP server, and hooks that queue what the user captures and tell the agent what happened.

Measured on 2.1.330: the user's servers are in `~/.claude.json`, the user's hooks in `~/.claude/settings.json`;
`CLAUDE_CONFIG_DIR` takes the place of both folders. A project has `.mcp.json` and `.claude/settings.json`.
"""

from __future__ import annotations

import json
import os
import re

from queue_core.clients import files, json_edit
from queue_core.clients.change import Part
from queue_core.clients.files import Target
from queue_core.clients.json_part import EMPTY, changed, errors_of, has_nothing, prune, read, server_part
from queue_core.clients.json_tree import as_array, as_object
from queue_core.clients.places import BY_NAME, Programs, absolute, in_project, user_folder
from queue_core.errors import QueueError
from queue_core.value import Frozen
from queue_core.visible import printable

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping
    from typing import Any


class Hook(Frozen):
    """One event, and what Claude Code runs at it."""

    event: str
    verb: str
    timeout: int  # seconds; all hooks of a SessionEnd together have 1.5
    matcher: str | None = None


# What `plugin/hooks/hooks.json` and `claude_config.example.json` say as well; tests compare them.
HOOKS = (
    Hook(event="SessionStart", verb="digest", timeout=5),
    Hook(event="UserPromptSubmit", verb="digest", timeout=5),
    Hook(event="PostToolUse", verb="hook", timeout=5, matcher="Write|Edit|MultiEdit|NotebookEdit"),
    Hook(event="Stop", verb="hook", timeout=5),
    Hook(event="SessionEnd", verb="hook", timeout=1),
)


def parts(environ: Mapping[str, str], project: str | None, programs: Programs, *, hooks: bool) -> list[Part]:
    """What runq has in Claude Code's files: the user's, or those of a project's folder."""
    servers, settings = _targets(environ, project)
    # As `claude mcp add` writes it.
    entry: dict[str, Any] = {"type": "stdio", "command": programs.server, "args": [], "env": {}}
    found = [server_part(servers, "mcpServers", entry)]
    if hooks:
        found.append(_hooks_part(settings, programs.runq))
    return found


def configuration(programs: Programs) -> dict[str, Any]:
    """The hooks of a settings file."""
    return {"hooks": {hook.event: [_group(hook, programs.runq)] for hook in HOOKS}}


def refuse_plugin(environ: Mapping[str, str], project: str | None) -> None:
    """QueueError if the plugin is switched on by the user or in the project: it has the server and the hooks as well.

    For an install into the user's files (no project) the user's settings alone count.
    """
    for path in _settings_paths(environ, project):
        for name, is_on in as_object(_loaded(path).get("enabledPlugins")).items():
            if name.startswith("runq@") and is_on:
                plain = re.fullmatch(r"runq@[A-Za-z0-9._-]+", name)  # anybody may have written it, and it gets copied
                how = f" (`claude plugin disable {name}` switches it off)" if plain else ""
                raise QueueError(
                    f"the plugin {printable(name)} is switched on in {printable(path)}, and has all this: agents would "
                    f"be told twice; use one of the two{how}"
                )


def other_hooks(environ: Mapping[str, str], project: str | None) -> str | None:
    """The file of the other scope in which our hooks are, too: both would run."""
    others = _targets(environ, None if project else os.getcwd())[1]
    own = _targets(environ, project)[1]
    found = _loaded(others.path) if others.real != own.real else {}
    return others.path if any(True for _ in _ours(found)) else None


def _targets(environ: Mapping[str, str], project: str | None) -> tuple[Target, Target]:
    """The file of the servers, and that of the hooks."""
    if project is not None:
        return in_project(project, ".mcp.json"), in_project(project, ".claude", "settings.json", locked=True)
    given = absolute("CLAUDE_CONFIG_DIR", environ)
    servers, settings = (given, given) if given else (user_folder(environ), user_folder(environ) + "/.claude")
    return (
        Target(path=os.path.join(servers, ".claude.json"), private=True, locked=True),
        Target(path=os.path.join(settings, "settings.json"), locked=True),
    )


def _settings_paths(environ: Mapping[str, str], project: str | None) -> Iterator[str]:
    yield _targets(environ, None)[1].path
    if project is not None:
        yield os.path.join(project, ".claude", "settings.json")
        yield os.path.join(project, ".claude", "settings.local.json")


def _loaded(path: str) -> dict[str, Any]:
    """A settings file that is only looked at; of one that cannot be read, nothing."""
    try:
        return as_object(json.loads((files.read(Target(path=path)) or b"{}").removeprefix(b"\xef\xbb\xbf")))
    except (QueueError, ValueError, RecursionError):
        return {}


def _group(hook: Hook, command: str) -> dict[str, Any]:
    matcher = {"matcher": hook.matcher} if hook.matcher else {}
    run = {"type": "command", "command": command, "args": [hook.verb], "timeout": hook.timeout}
    return {**matcher, "hooks": [run]}


def _hooks_part(target: Target, command: str) -> Part:
    def insert(text: str) -> list[str]:
        with errors_of(target):
            return changed(text, *_with_hooks(text, command))

    def gist(text: str) -> str:
        with errors_of(target):
            return _gist(read(text).value())

    def withdraw(text: str, before: str | None) -> list[str]:
        with errors_of(target):
            return changed(text, *_without_hooks(text, before))

    return Part(target=target, empty=EMPTY, insert=insert, gist=gist, withdraw=withdraw, has_nothing=has_nothing)


def _with_hooks(text: str, command: str) -> Iterator[str]:
    for hook in HOOKS:
        document = read(text)
        there = [path for path in _ours(document.value()) if path[1] == hook.event]
        json_edit.find(document, ("hooks", hook.event))  # no key of it may be there twice
        if not there:
            yield (text := json_edit.append(document, ("hooks", hook.event), _group(hook, command)))
        for path in there:
            node = json_edit.find(document := read(text), (*path, "command"))
            if node is not None and document.value(node) != command:
                yield (text := json_edit.put(document, (*path, "command"), command))


def _gist(settings: Any) -> str:
    """The settings with nothing but which of our events are there, and hooks of our kind."""
    there = as_object(as_object(settings).get("hooks"))
    found: dict[str, list[Any]] = {hook.event: [] for hook in HOOKS if hook.event in there}
    verbs = {hook.event: hook.verb for hook in HOOKS}
    for path in _ours(settings):
        found[path[1]].append({"hooks": [{"command": BY_NAME.runq, "args": [verbs[path[1]]]}]})
    return json.dumps({"hooks": found} if "hooks" in as_object(settings) else {})


def _without_hooks(text: str, before: str | None) -> Iterator[str]:
    known = read(before) if before is not None else None
    kept = {path[1] for path in _ours(known.value())} if known else set[str | int]()
    while found := [path for path in _ours(read(text).value()) if path[1] not in kept]:
        path = found[-1]
        document = read(text)
        others = json_edit.find(document, path[:-1])
        is_alone = others is None or len(others.entries) == 1
        yield (text := json_edit.remove(document, path[:3] if is_alone else path))  # a group goes with its only hook
        for container in (path[:2], path[:1]):
            yield (text := prune(read(text), container, known))
            if json_edit.find(read(text), container) is not None:
                break


def _ours(settings: Any) -> Iterator[tuple[str, str, int, str, int]]:
    """The paths of our hooks: known by the program's name and by having our arguments, exactly."""
    verbs = {hook.event: hook.verb for hook in HOOKS}
    for event, groups in as_object(as_object(settings).get("hooks")).items():
        for number, group in enumerate(as_array(groups)):
            for index, hook in enumerate(as_array(as_object(group).get("hooks"))):
                if event in verbs and _is_ours(as_object(hook), verbs[event]):
                    yield ("hooks", event, number, "hooks", index)


def _is_ours(hook: Mapping[str, Any], verb: str) -> bool:
    command = hook.get("command")
    return isinstance(command, str) and os.path.basename(command) == "runq" and hook.get("args") == [verb]

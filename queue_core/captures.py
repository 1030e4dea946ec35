"""Captures: commands that the user's settings queue by themselves when a client's hook tells of an event. Pure.

Only loaded where config.toml has a `[[capture]]`.
"""

from __future__ import annotations

from queue_core.errors import InvalidJob, SettingsError
from queue_core.model import CAPTURE_QUEUE
from queue_core.shapes import is_list, is_object, is_texts
from queue_core.submission import KEYS, new_job
from queue_core.template import fill, fill_by
from queue_core.value import Frozen, replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence
    from typing import Any

    from queue_core.model import NewJob

    Where = Callable[[str | None], str]  # how a message about a capture, or one of its keys, begins

# A hook's event knows no ids, and its placeholders stand in one argument each, which `argv` alone has.
_NOT_HERE = ("command", "kwargs", "handler", "arguments", "stdin", "after", "after_any", "after_failure", "at", "ref")
_OF_JOBS = tuple(key for key in KEYS if key not in _NOT_HERE)
_OWN = ("on", "tools", "stdin")


class Capture(Frozen):
    """What is queued at which events. The job's argv is a template."""

    on: tuple[str, ...]  # as the client's `hook_event_name` says it
    tools: tuple[str, ...] | None  # as its `tool_name` does; None: whatever the tool, or none
    stdin: bool  # whether the command reads what the hook was told
    job: NewJob

    def fits(self, said: Mapping[str, Any]) -> bool:
        """Whether it is meant by this event."""
        return said.get("hook_event_name") in self.on and (self.tools is None or said.get("tool_name") in self.tools)

    def __str__(self) -> str:
        return f"{self.job.argv[0]} on {', '.join(self.on)}"


def jobs_for(captures: Sequence[Capture], said: Mapping[str, Any], raw: bytes) -> tuple[list[NewJob], list[str]]:
    """The jobs that an event means, and a sentence for each that it cannot fill."""
    jobs: list[NewJob] = []
    complaints: list[str] = []
    for capture in captures:
        if not capture.fits(said):
            continue
        try:
            argv = fill(capture.job.argv, said)
        except InvalidJob as error:
            complaints.append(f"the capture of {capture} was skipped: {error}")
        else:
            jobs.append(replace(capture.job, argv=argv, stdin=raw if capture.stdin else None))
    return jobs, complaints


def checked_captures(value: Any, where: str) -> tuple[Capture, ...]:
    """The captures of config.toml; SettingsError names what makes no sense, and where in the file it stands."""
    if not is_list(value) or not all(is_object(table) for table in value):
        raise SettingsError(f'{where}: write [[capture]] with two brackets, and in it `on = "Stop"` and an argv')
    return tuple([_checked(table, _place(where, number, len(value))) for number, table in enumerate(value)])


def _checked(table: Mapping[str, Any], where: Where) -> Capture:
    for key in table:
        if key not in (*_OWN, *_OF_JOBS):
            raise SettingsError(f"{where(key)} has the key `{key}`, which is none of {', '.join((*_OWN, *_OF_JOBS))}")
    argv, stdin = table.get("argv"), table.get("stdin", False)
    if not is_texts(argv) or not argv:
        raise SettingsError(f'{where("argv")} needs argv, a list of texts such as ["my-notes", "{{session_id}}"]')
    if not isinstance(stdin, bool):
        raise SettingsError(f"{where('stdin')}: stdin is true (the command reads what the hook was told) or false")
    if stdin and "stdin_path" in table:
        raise SettingsError(f"{where('stdin_path')}: give either stdin or stdin_path")
    try:
        fill_by(argv, lambda _: "x")
        job = new_job({"queue": CAPTURE_QUEUE, **{key: table[key] for key in table if key not in _OWN}})
    except InvalidJob as error:
        raise SettingsError(f"{where(None)}: {error}") from None
    return Capture(
        on=_names("on", table.get("on"), where),
        tools=_names("tools", table["tools"], where) if "tools" in table else None,
        stdin=stdin,
        job=job,
    )


def _names(key: str, value: Any, where: Where) -> tuple[str, ...]:
    names = [value] if isinstance(value, str) else value
    if not is_texts(names) or not names or not all(names):
        example = '"PostToolUse", or ["Stop", "SessionEnd"]' if key == "on" else '["Write", "Edit"]'
        raise SettingsError(f"{where(key)}: {key} is a name or a list of them, such as {example}, not {value!r}")
    return tuple(names)


def _place(path: str, number: int, count: int) -> Where:
    """How a message about one capture begins: the file is looked through only when there is one."""

    def where(key: str | None) -> str:
        from queue_core import own_files, toml_places

        try:
            text = own_files.read_text(path, trust_own_group=True)
        except SettingsError:  # the values are a program's own
            text = ""
        tables = [table for table in toml_places.tables(text) if table.name == "capture"]
        if len(tables) != count:  # written in another form: a list in one line
            return f"{path}: [[capture]] number {number + 1}"
        table = tables[number]
        place = toml_places.place(text, table.keys.get(key or "", (table.start,))[0])
        return f"{path}, {place}: [[capture]] number {number + 1}"

    return where

"""Words for what is shown: commands as a shell would take them, nothing that could act on a terminal. Pure."""

from __future__ import annotations

from queue_core.visible import is_seen, printable, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from typing import Any

    View = Mapping[str, Any]

NOTHING = "-"  # an empty column in a pipe
LONGEST_INPUT = 2000  # characters of what a held job would read that are shown
_CONTROL_SEQUENCE = r"\x1b(?:\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(?:\x07|\x1b\\)?|[@-Z\\-_])"


def readable(line: str) -> str:
    """A line of output without colours, and of a progress bar that overwrites itself only the last state."""
    import re

    last = line.rstrip("\r").rpartition("\r")[2]
    return printable(re.sub(_CONTROL_SEQUENCE, "", last).replace("\t", "    "))


def lines_of(output: str) -> list[str]:
    """The lines of an output; unlike `splitlines`, only a newline ends one."""
    return output.removesuffix("\n").split("\n") if output else []


def quoted(argv: Sequence[str]) -> str:
    """A command as it could be typed, in one line."""
    return " ".join(_word(argument) for argument in argv)


def command_of(job: View) -> str:
    """What a job runs, in one line: a command, or a handler with its arguments."""
    return called(job["handler"], job["arguments"]) if job.get("handler") else quoted(job["argv"])


def command_with_steps(job: View) -> str:
    """What a job runs; of a held one also what takes over from it: who approves it approves that with it."""
    if job["state"] != "held" or not job["on_dead"]:
        return command_of(job)
    return f"{command_of(job)}; if it fails: {steps_of(job)}"


def steps_of(job: View) -> str:
    """What takes over from a job, one after the other."""
    times = job.get("escalate_after")
    after = "" if times is None else f" (after {number_of(times, 'failure')})"
    commands = [quoted(argv) for argv in job["on_dead"]]
    if job["caller"] == "agent":  # the variables of its job decide where a name leads: who approves it has to see that
        commands = [f"{it} ({printable(path)})" for it, path in zip(commands, job["on_dead_programs"], strict=True)]
    return "; then ".join(commands) + after


def request_lines(asked: View) -> list[str]:
    """What a held job asks for, in full: one thing a line, so that nothing in it can pass for another."""
    facts: list[tuple[str, str | None]] = [
        ("command", command_of(asked)),
        ("program", asked["program"] and printable(asked["program"])),
        ("folder", printable(asked["cwd"])),
        *(("variable", f"{printable(name)}={_word(value)}") for name, value in asked["env"].items()),
        ("input", None if asked["stdin"] is None else _given(asked["stdin"])),
        ("input file", asked["stdin_path"] and printable(asked["stdin_path"])),
        ("if it fails", steps_of(asked) or None),
        *_terms(asked),
        ("asked by", _asker(asked)),
        ("because", asked["reason"] and printable(asked["reason"])),
    ]
    state = "" if asked["state"] == "held" else f", which is {asked['state']} and waits for nobody's approval"
    return [f"Job {asked['id']}{state}", *(f"  {name:<12}{value}" for name, value in facts if value)]


def _terms(asked: View) -> list[tuple[str, str | None]]:
    """When, how often and beside what it would run, as far as that is not the usual."""
    alone = ", where it runs alone" if asked["sequential"] else ""
    is_usual = asked["queue"] == "default" and not alone
    return [
        ("queue", None if is_usual else printable(asked["queue"]) + alone),
        ("priority", None if asked["priority"] == "normal" else asked["priority"]),
        ("attempts", f"{asked['retries'] + 1} at most" if asked["retries"] else None),
        ("not before", asked["scheduled_at"]),
        ("timeout", None if asked["timeout"] is None else f"{asked['timeout']:.10g} s an attempt"),
        ("locks", ", ".join(map(printable, asked["locks"]))),
        ("unique", asked["unique"] and printable(asked["unique"])),
    ]


def _given(text: str) -> str:
    shown = printable(text[:LONGEST_INPUT])
    more = len(text) - LONGEST_INPUT
    return shown if more <= 0 else f"{shown} … and {more} characters more: `--json` shows all of it"


def _asker(asked: View) -> str:
    place = f" in {printable(asked['project'])}" if asked["project"] else ""
    return f"{'an agent' if asked['caller'] == 'agent' else 'a ' + asked['caller']}{place}"


def called(handler: str, arguments: Mapping[str, object]) -> str:
    """A handler with its arguments, as a call."""
    from queue_core.fastjson import dumps

    return f"{handler}({', '.join(f'{printable(name)}={dumps(value)}' for name, value in arguments.items())})"


def _word(argument: str) -> str:
    if is_seen(argument):
        from shlex import quote

        return quote(argument)
    return "$'" + "".join(_escaped(character) for character in argument) + "'"


def _escaped(character: str) -> str:
    return "\\" + character if character in "\\'" else visible(character)


def column(value: object) -> str:
    """A value as a column of a tab-separated line."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return NOTHING if value is None or value == "" else printable(str(value))


def columns(*values: object) -> str:
    """A tab-separated line."""
    return "\t".join(column(value) for value in values)


def result(view: View) -> str | None:
    """How an attempt, or a job's latest one, ended: `exit 3`, `signal 9`, `lost`; None if none has."""
    outcome: str | None = view["outcome"]
    if outcome == "exited":
        return f"exit {view['exit_code']}"
    return f"signal {view['signal']}" if outcome == "signalled" else outcome


def chain_line(chain: Sequence[View]) -> str:
    """Who took over from whom: `1 aider (dead) -> 2 codex (dead) -> 3 claude (running)`."""
    return " -> ".join(f"{one['id']} {_program(one)} ({one['state']})" for one in chain)


def _program(job: View) -> str:
    return printable(job["handler"] if "handler" in job else job["argv"][0].rpartition("/")[2] or job["argv"][0])


def why(job: View) -> str | None:
    """Why a job is where it is, and who has taken over from a dead one."""
    if job["state"] != "dead" or job["escalated_to"] is None:
        return job["error"]
    return f"{job['error']}; handed over to {job['escalated_to']}"


def duration(seconds: float) -> str:
    """A span of time in the unit that suits it."""
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    for size, unit, most in ((1, "s", 90), (60, "min", 120), (3600, "h", 48)):
        if round(seconds / size) < most:
            return f"{seconds / size:.0f} {unit}"
    return f"{seconds / 86400:.0f} d"


def ago(seconds: float) -> str:
    """How long ago something happened."""
    return "just now" if seconds < 1 else f"{duration(seconds)} ago"


def size(count: int) -> str:
    """A number of bytes in the unit that suits it."""
    for unit, bytes_each in (("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)):
        if count >= bytes_each:
            return f"{count / bytes_each:.1f} {unit}"
    return f"{count} B"


def number_of(count: int, noun: str) -> str:
    """`1 job`, `2 jobs`."""
    return f"{count} {noun}{'' if count == 1 else 's'}"

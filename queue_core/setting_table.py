"""The table of settings: what may be given for each, and what it means. Checked here and nowhere else.

It is only loaded when a file or the environment sets something: `runq add` without either pays nothing.
"""

from __future__ import annotations

from queue_core import own_files
from queue_core.errors import SettingsError
from queue_core.quotas import QueueLimits
from queue_core.settings import Settings
from queue_core.shapes import is_list, is_object
from queue_core.value import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping
    from typing import Any


_ENDLESS = float("inf")
TABLES = ("queues", "escalate", "retry", "capture")  # kinds that only a file can hold


class Spec(Frozen):
    """One setting: what may be given for it, and what it means (the documentation is made from this)."""

    kind: str  # int | number | clock | choice | words | codes | queues | escalate | retry | capture
    meaning: str
    least: float | None = None
    most: float = 1e15
    choices: tuple[str, ...] = ()
    policy: bool = False  # from the user's file alone
    optional: bool = False


SPECS: dict[str, Spec] = {
    "capacity": Spec(kind="int", least=1, meaning="waiting jobs at which health says error and agents are refused"),
    "project_capacity": Spec(
        kind="int", least=1, optional=True, meaning="waiting jobs that agents and hooks of one project may have"
    ),
    "session_capacity": Spec(
        kind="int", least=1, optional=True, meaning="waiting jobs that agents and hooks of one session may have"
    ),
    "parallelism": Spec(kind="int", least=1, meaning="jobs of one queue that run at once, over all processes"),
    "max_running": Spec(kind="int", least=1, meaning="jobs that run at once on this host, over all queues"),
    "starts_per_minute": Spec(
        kind="int",
        least=1,
        optional=True,
        meaning="jobs that may be started within any 60 s, over all queues and processes",
    ),
    "timeout": Spec(
        kind="number", least=0.001, optional=True, meaning="seconds a command may run, if the job names none"
    ),
    "grace": Spec(kind="number", least=0, meaning="seconds between TERM and KILL"),
    "retries": Spec(kind="int", least=0, meaning="how often a failed command is run again"),
    "backoff": Spec(
        kind="choice",
        choices=("exponential", "linear", "fibonacci", "immediate"),
        meaning="how the wait grows from retry to retry",
    ),
    "backoff_base": Spec(kind="number", least=0, meaning="seconds of the first wait"),
    "backoff_cap": Spec(kind="number", least=0, meaning="seconds of the longest wait"),
    "jitter": Spec(kind="number", least=0, most=1, meaning="share of a wait (0 to 1) that chance may take off"),
    "permanent_exit_codes": Spec(kind="codes", meaning="exit codes that no retry can cure"),
    "output_cap_mb": Spec(kind="number", least=0.01, meaning="MiB of output kept of one attempt, head and tail"),
    "idle": Spec(kind="number", least=0, meaning="seconds after which a booted worker with nothing to do leaves"),
    "after_session": Spec(
        kind="choice",
        choices=("finish", "drain", "stop"),
        meaning="what a booted worker does when its session ends",
    ),
    "linger": Spec(kind="number", least=0, meaning="seconds that `drain` waits for what SessionEnd hooks add"),
    "keep_days": Spec(kind="number", least=0, meaning="days that an ended job is kept"),
    "keep_count": Spec(kind="int", least=0, meaning="ended jobs that are kept at the most"),
    "pin_cap": Spec(
        kind="int", least=0, meaning="pinned jobs beyond which the oldest automatic pin gives way; 0: people pin alone"
    ),
    "backup_at": Spec(kind="clock", meaning="local time (HH:MM) of the nightly backup; empty: none"),
    "backup_keep": Spec(kind="int", least=1, meaning="nightly backups that are kept"),
    "snapshot_every": Spec(kind="int", least=0, meaning="ended jobs from one snapshot to the next; 0: none"),
    "snapshot_keep": Spec(kind="int", least=1, meaning="snapshots that are kept"),
    "pass_env": Spec(
        kind="words", policy=True, meaning="environment variables that agents' commands may see besides the pass list"
    ),
    "log_level": Spec(
        kind="choice",
        choices=("debug", "info", "warning", "error"),
        meaning="what the logs under the home hold",
    ),
    "min_free_mb": Spec(kind="number", least=0, meaning="MiB of free disk below which new jobs are refused"),
    "agents": Spec(
        kind="choice",
        choices=("ask", "allow"),
        policy=True,
        meaning="whether an agent's job that no rule covers waits for approval, or runs",
    ),
    "roots": Spec(kind="words", policy=True, meaning="folders that agents' commands may work in, besides the project"),
    "agent_timeout": Spec(
        kind="number", least=0.001, policy=True, meaning="seconds an agent's command may run at most, whatever it asks"
    ),
    "isolation": Spec(
        kind="choice",
        choices=("none", "project"),
        policy=True,
        meaning="`project`: an agent sees and touches jobs of its own project alone",
    ),
    "output_secrets": Spec(
        kind="choice",
        choices=("mask", "keep"),
        policy=True,
        meaning="what becomes of tokens and keys of known shapes in output",
    ),
    "audit_days": Spec(kind="number", least=1, policy=True, meaning="days that the audit trail goes back"),
    "escalate": Spec(kind="escalate", meaning="commands that take over from jobs of a program, a table each"),
    "retry": Spec(kind="retry", meaning="retry presets, a table each: retries, backoff, base, cap, jitter"),
    "capture": Spec(
        kind="capture",
        meaning="what `runq hook` without a template queues, a `[[capture]]` for each command",
    ),
    "queues": Spec(
        kind="queues",
        meaning="single queues, as a table: `NAME = 2` (parallelism) or `NAME = {starts_per_minute = 30}`, or both",
    ),
}


def from_file(path: str) -> dict[str, Any]:
    """What config.toml sets; nothing if there is none. SettingsError if it is broken."""
    found = own_files.read(path, trust_own_group=True)
    unknown = [name for name in found if name not in SPECS]
    if unknown:
        raise SettingsError(f"{path} sets `{unknown[0]}`, which is no setting; {_meant(unknown[0])}")
    return {name: checked(name, value, path) for name, value in found.items()}


def _meant(name: str) -> str:
    """What a misspelt setting was probably to be, or where all of them can be seen."""
    from difflib import get_close_matches

    near = get_close_matches(name, SPECS, n=1)
    return f"did you mean `{near[0]}`?" if near else "`runq doctor --all` lists them all"


def from_environment(environ: Mapping[str, str]) -> dict[str, Any]:
    """What the environment sets; policy is not among it."""
    chosen: dict[str, Any] = {}
    for name, spec in SPECS.items():
        text = environ.get("RUNQ_" + name.upper())
        if text is None or spec.policy or spec.kind in TABLES:
            continue
        chosen[name] = checked(name, _parsed(spec, text), "RUNQ_" + name.upper())
    return chosen


def from_flags(flags: Mapping[str, object]) -> dict[str, Any]:
    """What the command line, or a program that opens the queue, sets."""
    return {name: checked(name, value, "--" + name.replace("_", "-")) for name, value in flags.items()}


def _parsed(spec: Spec, text: str) -> object:
    """An environment's text as the kind of value a TOML file would hold."""
    if spec.kind in ("words", "codes"):
        words = [word for word in text.replace(",", " ").split() if word]
        return [_number(word) for word in words] if spec.kind == "codes" else words
    return _number(text) if spec.kind in ("int", "number") else text


def _number(text: str) -> object:
    for kind in (int, float):
        try:
            return kind(text)
        except ValueError:
            continue
    return text


def checked(name: str, value: Any, where: str) -> Any:
    """The value as `Settings` holds it; SettingsError when it makes no sense."""
    spec = SPECS[name]
    if spec.kind in ("int", "number"):
        return _checked_number(name, spec, value, where)
    if spec.kind == "clock":
        return _checked_clock(name, value, where)
    if spec.kind == "choice":
        if value not in spec.choices:
            raise SettingsError(f"{where}: {name} is one of {', '.join(spec.choices)}, not {value!r}")
        return value
    if spec.kind in TABLES:
        return _checked_table(spec, value, where)
    wanted = int if spec.kind == "codes" else str
    if not is_list(value) or not all(type(item) is wanted for item in value):
        raise SettingsError(f"{where}: {name} is a list of {'numbers' if wanted is int else 'texts'}, not {value!r}")
    if name == "roots" and not all(root.startswith(("/", "~")) for root in value):
        raise SettingsError(f"{where}: roots are full paths such as /srv/work or ~/work, not {value!r}")
    return tuple(value)


def _checked_table(spec: Spec, value: Any, where: str) -> dict[str, Any] | tuple[Any, ...]:
    if spec.kind == "capture":
        from queue_core.captures import checked_captures

        return checked_captures(value, where)
    if spec.kind == "escalate":
        from queue_core.escalation import checked_rules

        return checked_rules(value, where)
    if spec.kind == "retry":
        from queue_core.backoff import checked_presets

        return checked_presets(value, where)
    return _checked_queues(value, where)


def _checked_clock(name: str, value: Any, where: str) -> str:
    hour, colon, minute = value.partition(":") if isinstance(value, str) else ("", "", "")
    digits = all(len(part) == 2 and part.isascii() and part.isdigit() for part in (hour, minute))
    if value != "" and not (colon and digits and int(hour) < 24 and int(minute) < 60):
        raise SettingsError(f'{where}: {name} is a time such as "03:00", or "" for never, not {value!r}')
    return value


def _checked_number(name: str, spec: Spec, value: Any, where: str) -> int | float:
    number = isinstance(value, (int, float)) and not isinstance(value, bool) and -_ENDLESS < value < _ENDLESS
    if not number or (spec.kind == "int" and value != int(value)):
        kind = "a whole number" if spec.kind == "int" else "a number"
        raise SettingsError(f"{where}: {name} is {kind}, not {value!r}")
    if spec.least is not None and value < spec.least:
        raise SettingsError(f"{where}: {name} is at least {spec.least:g}, not {value!r}")
    if value > spec.most:
        raise SettingsError(f"{where}: {name} is at most {spec.most:g}, not {value!r}")
    return int(value) if spec.kind == "int" else float(value)


def _checked_queues(value: Any, where: str) -> dict[str, QueueLimits]:
    if not is_object(value):
        raise SettingsError(f"{where}: queues is a table of names and numbers, not {value!r}")
    return {queue: _checked_queue(f"queues.{queue}", limits, where) for queue, limits in value.items()}


def _checked_queue(name: str, value: Any, where: str) -> QueueLimits:
    """A queue's limits: a number is its parallelism, a table names each."""
    if not is_object(value):
        return QueueLimits(parallelism=_checked_limit(name, value, where))
    known = QueueLimits._fields  # pyright: ignore[reportPrivateUsage]
    unknown = [key for key in value if key not in known]
    if unknown:
        raise SettingsError(f"{where}: {name} has {' and '.join(known)}, and no `{unknown[0]}`")
    return QueueLimits(**{key: _checked_limit(f"{name}.{key}", limit, where) for key, limit in value.items()})


def _checked_limit(name: str, value: Any, where: str) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not 0 < value < 2**31:
        raise SettingsError(f"{where}: {name} is a whole number of at least 1, not {value!r}")
    return value


def documentation() -> str:
    """The table of settings as the README shows it."""
    rows = ["| setting | default | meaning |", "|---|---|---|"]
    for name, spec in SPECS.items():
        default: object = getattr(Settings, name)
        shown = "none" if default in (None, (), {}) else str(default)
        rows.append(f"| `{name}` | {shown} | {spec.meaning} |")
    return "\n".join(rows)


if __name__ == "__main__":
    import sys

    sys.stdout.write(documentation() + "\n")

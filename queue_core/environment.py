"""What a command gets as its environment: two pure functions, one when it is added, one when it runs."""

from __future__ import annotations

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from queue_core.model import Caller

# Taken from where the job was added, so that a command means the same when a worker runs it later.
CAPTURED = ("PATH", "VIRTUAL_ENV", "LANG", "HOME")

# What an agent's command may see of the worker's environment besides the captured ones.
PASS_LIST = frozenset(
    {
        "USER",
        "LOGNAME",
        "SHELL",
        "TZ",
        "TMPDIR",
        "TERM",
        "LANGUAGE",
        "XDG_CACHE_HOME",
        "XDG_CONFIG_HOME",
        "XDG_DATA_HOME",
        "XDG_RUNTIME_DIR",
    }
)
CLIENT_PREFIXES = ("CLAUDE", "ANTHROPIC_", "RUNQ_")


def captured(environ: Mapping[str, str], extra: Mapping[str, str], names: Iterable[str]) -> dict[str, str]:
    """What is stored with a job: the captured variables, those named to be passed, and its own."""
    kept = {name: environ[name] for name in (*CAPTURED, *names) if name in environ}
    kept.update(extra)
    return kept


def for_command(
    worker: Mapping[str, str],
    stored: Mapping[str, str],
    *,
    caller: Caller,
    pass_env: Iterable[str],
    own: Mapping[str, str],
) -> dict[str, str]:
    """The environment of a command about to run.

    A person's and a hook's command sees the worker's environment beneath what was stored; an agent's
    only what the pass list names. The client's own variables (its keys among them) pass only if named.
    """
    named = frozenset(pass_env)
    result: dict[str, str] = {}
    for name, value in worker.items():
        if name in CAPTURED:
            continue  # as where the job was added, and if it was not set there, not set
        if name in named or (not name.startswith(CLIENT_PREFIXES) and _may_see(caller, name)):
            result[name] = value
    result.update(stored)
    result.update(own)
    return result


def _may_see(caller: Caller, name: str) -> bool:
    return caller != "agent" or name in PASS_LIST or name.startswith("LC_")

"""What a command gets as its environment: captured when it is added, put together when it runs."""

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


class Environments:
    """The environments of commands about to run under one worker.

    A person's and a hook's command sees the worker's environment beneath what was stored; an agent's
    only what the pass list names. The client's own variables (its keys among them) pass only if named.
    """

    def __init__(self, worker: Mapping[str, str], pass_env: Iterable[str]) -> None:
        self._worker = dict(worker)  # as it is now: `os.environ` decodes anew at every look
        self._named = frozenset(pass_env)
        self._passed: dict[Caller, dict[str, str]] = {}  # what is the same for all of a caller's commands

    def for_command(self, stored: Mapping[str, str], *, caller: Caller, own: Mapping[str, str]) -> dict[str, str]:
        """What a command gets: what it may see of the worker's, what was stored with it, and what is its own."""
        if caller not in self._passed:
            self._passed[caller] = {name: value for name, value in self._worker.items() if self._passes(name, caller)}
        return {**self._passed[caller], **stored, **own}

    def _passes(self, name: str, caller: Caller) -> bool:
        if name in CAPTURED:
            return False  # as where the job was added, and if it was not set there, not set
        return name in self._named or (not name.startswith(CLIENT_PREFIXES) and _may_see(caller, name))


def _may_see(caller: Caller, name: str) -> bool:
    return caller != "agent" or name in PASS_LIST or name.startswith("LC_")

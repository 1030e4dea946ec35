"""From what somebody asks for to what the store takes in: every check, every choice, in one place."""

from __future__ import annotations

import os

from queue_core.environment import captured
from queue_core.errors import Denied, InvalidJob
from queue_core.model import BACKOFFS, PRIORITIES, Admission, Retry
from queue_core.programs import check_argv, check_folder, find
from queue_core.value import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from queue_core.home import Home
    from queue_core.model import NewJob, Origin, Step
    from queue_core.settings import Settings

_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-/:")
MAX_STDIN = 16 * 1024 * 1024
MAX_STDIN_OF_AGENTS = 1024 * 1024  # so that as many jobs as may wait do not fill a disk
MAX_META = 64 * 1024  # characters
DEFAULT_PATH = "/usr/local/bin:/usr/bin:/bin"


def prepare(
    jobs: Sequence[NewJob],
    origin: Origin,
    *,
    settings: Settings,
    home: Home,
    environ: Mapping[str, str],
    folder: str,
    now: float,
) -> list[Admission]:
    """Check jobs and settle what they leave open; InvalidJob or Denied name the first that cannot be taken.

    `folder` is where they run unless they say otherwise; `environ` is what is captured of; `now` is
    what a delay counts from, in seconds since the epoch.
    """
    return [_prepare_one(job, origin, settings, home, environ, folder, now) for job in jobs]


def _prepare_one(
    job: NewJob,
    origin: Origin,
    settings: Settings,
    home: Home,
    environ: Mapping[str, str],
    folder: str,
    now: float,
) -> Admission:
    if job.handler is not None:
        return _prepare_for_handler(job, origin, settings, environ, folder, now)
    check_argv(job.argv)
    if origin.caller == "agent" and len(job.stdin or b"") > MAX_STDIN_OF_AGENTS:
        raise InvalidJob(
            f"the input has {len(job.stdin or b'')} bytes, and an agent's has {MAX_STDIN_OF_AGENTS} at most;"
            " have the command read a file"
        )
    if job.stdin_path is not None and not os.path.isabs(job.stdin_path):
        job = replace(job, stdin_path=os.path.join(folder, job.stdin_path))
    _check_values(job)
    cwd = os.path.normpath(os.path.join(folder, os.path.expanduser(job.cwd))) if job.cwd else folder
    check_folder(cwd)
    if origin.caller == "agent":
        cwd = os.path.realpath(cwd)  # what is judged and approved is a folder, not wherever a link leads later
    path = job.env.get("PATH") or environ.get("PATH") or DEFAULT_PATH
    executable = find(job.argv[0], cwd, path)
    on_dead = _on_dead(job, origin, settings, executable, cwd, path)
    paths = [executable, *(step.executable for step in on_dead)]
    _check_encodable((cwd, *paths, *map(os.path.realpath, paths), job.stdin_path))
    _check_encodable((job.name, job.unique, origin.session, origin.project))
    admission = Admission(
        job=job,
        origin=origin,
        program=os.path.realpath(executable),
        executable=executable,
        cwd=cwd,
        env=captured(environ, job.env, job.pass_env),
        retry=retry_of(job, settings),
        timeout=_time_limit(job, origin, settings),
        due_at=now + job.delay if job.delay is not None else job.at,
        on_dead=on_dead,
    )
    return admission if origin.caller != "agent" else _by_policy(admission, settings, home)


def _prepare_for_handler(
    job: NewJob, origin: Origin, settings: Settings, environ: Mapping[str, str], folder: str, now: float
) -> Admission:
    """A job that a function of some program runs: nothing of a command's surroundings applies to it."""
    check_handler(job.handler or "")
    for name in ("argv", "stdin", "stdin_path", "env", "pass_env", "cwd"):
        if getattr(job, name):
            raise InvalidJob(f"a handler's job takes no {name}; give the function what it needs as `arguments`")
    _check_values(job)
    _check_encodable((job.name, job.unique, origin.session, origin.project, folder))
    on_dead = _on_dead(job, origin, settings, None, folder, environ.get("PATH") or DEFAULT_PATH)
    _check_encodable(step.executable for step in on_dead)
    held = "no rule covers handlers" if origin.caller == "agent" and settings.agents != "allow" else None
    return Admission(
        job=job,
        origin=origin,
        program="",
        executable="",
        cwd=folder,
        env=captured(environ, {}, ()) if on_dead else {},  # for the commands that may take over
        retry=retry_of(job, settings),
        timeout=job.timeout,
        due_at=now + job.delay if job.delay is not None else job.at,
        held=held,
        on_dead=on_dead,
    )


def _time_limit(job: NewJob, origin: Origin, settings: Settings) -> float | None:
    """How many seconds the command may run: an agent's never for ever."""
    asked = job.timeout if job.timeout is not None else settings.timeout
    if origin.caller != "agent":
        return asked
    return settings.agent_timeout if asked is None else min(asked, settings.agent_timeout)


def retry_of(job: NewJob, settings: Settings) -> Retry:
    """The job's retry rule: what it says itself, then what its preset says, then the settings'. InvalidJob."""
    chosen: dict[str, Any] = {
        "retries": settings.retries,
        "backoff": settings.backoff,
        "base": settings.backoff_base,
        "cap": settings.backoff_cap,
        "jitter": settings.jitter,
    }
    if job.retry is not None:
        from queue_core.backoff import preset_named

        chosen.update(preset_named(job.retry, settings.retry))
    own = {"retries": job.retries, "backoff": job.backoff, "base": job.backoff_base, "cap": job.backoff_cap}
    chosen.update({name: value for name, value in own.items() if value is not None})
    return Retry(**chosen)


def _on_dead(
    job: NewJob, origin: Origin, settings: Settings, executable: str | None, cwd: str, path: str
) -> tuple[Step, ...]:
    """What takes over when the job has failed: its own steps, or those that the settings' rules mean for it."""
    if not job.on_dead and job.escalate_after is not None:
        raise InvalidJob("escalate_after says when `on_dead` takes over, so it needs one; give both, or neither")
    if not job.on_dead and (job.on_dead is not None or not settings.escalate):
        return ()
    from queue_core import escalation

    def found(name: str) -> str:
        return find(name, cwd, path)

    if job.on_dead:
        steps = escalation.own_steps(job, found)
    else:
        names = (job.handler or "",) if executable is None else escalation.names_of(executable)
        steps = escalation.steps_by_rules(job, names, settings.escalate, found)
    if origin.caller != "agent":
        return steps
    return tuple(replace(step, executable=os.path.realpath(step.executable)) for step in steps)


def _by_policy(admission: Admission, settings: Settings, home: Home) -> Admission:
    """What an agent asks for runs, waits for a person, or is refused."""
    from queue_core.judge import Judge

    decision = Judge(home, settings).admission(admission)
    if decision.verdict == "denied":
        raise Denied(f"`{' '.join(admission.job.argv)}` was not queued: {decision.reason}")
    return admission if decision.verdict == "allowed" else replace(admission, held=decision.reason)


def _check_values(job: NewJob) -> None:
    check_queue(job.queue)
    if job.priority not in PRIORITIES:
        raise InvalidJob(f"priority is one of {', '.join(PRIORITIES)}, not {job.priority!r}")
    if job.backoff is not None and job.backoff not in BACKOFFS:
        raise InvalidJob(f"backoff is one of {', '.join(BACKOFFS)}, not {job.backoff!r}")
    if job.delay is not None and job.at is not None:
        raise InvalidJob("give either delay or at, not both")
    _check_number("delay", job.delay, least=0)
    _check_number("at", job.at, least=0)
    _check_number("timeout", job.timeout, least=0.001)
    _check_number("retries", job.retries, least=0)
    if job.arguments and job.handler is None:
        raise InvalidJob("arguments go with --handler; a command's stand behind its program")
    _check_number("backoff_base", job.backoff_base, least=0)
    _check_number("backoff_cap", job.backoff_cap, least=0)
    _check_number("escalate_after", job.escalate_after, least=1)
    _check_locks(job.locks)
    _check_texts((*job.env, *job.pass_env), job.env.values(), job.meta.items())
    if job.stdin is not None and len(job.stdin) > MAX_STDIN:
        raise InvalidJob(f"the input has {len(job.stdin)} bytes, and {MAX_STDIN} is the most; pass --stdin FILE")
    if job.stdin_path is not None and not os.path.isfile(job.stdin_path):
        raise InvalidJob(f"the input file {job.stdin_path} does not exist; check --stdin")
    noted = sum(len(key) + len(value) for key, value in job.meta.items())
    if noted > MAX_META:
        raise InvalidJob(f"the notes (meta) have {noted} characters, and {MAX_META} is the most; keep them in a file")
    for text in (job.unique, job.name):
        if text is not None and (not text or len(text) > 1000 or "\0" in text):
            raise InvalidJob("a unique key and a name have 1 to 1000 characters, none of them NUL")


def _check_encodable(texts: Iterable[str | None]) -> None:
    """Arguments and variables may be any bytes; what the database keeps as text has to be Unicode."""
    for text in texts:
        try:
            (text or "").encode("utf-8")
        except UnicodeEncodeError:
            raise InvalidJob(f"{text!a} is not valid UTF-8, which paths and names have to be here; rename it") from None


def check_queue(name: str) -> None:
    """Refuse a queue's name that could not be typed or shown."""
    if not name or len(name) > 100 or not set(name) <= _NAME_CHARACTERS:
        raise InvalidJob(f"a queue's name has 1 to 100 letters, digits and _ . - / :, not {name!r}")


def check_handler(name: str) -> None:
    """Refuse a handler's name that could not be typed or shown."""
    if not name or len(name) > 100 or not set(name) <= _NAME_CHARACTERS:
        raise InvalidJob(f"a handler's name has 1 to 100 letters, digits and _ . - / :, not {name!r}")


def _check_number(name: str, value: float | None, *, least: float) -> None:
    if value is None:
        return
    if value != value or value < least or value > 1e11:
        shown = f"{value:g}" if isinstance(value, float) or -1e15 < value < 1e15 else "that many"
        raise InvalidJob(f"{name} is at least {least:g} and finite, not {shown}")


def _check_locks(locks: Iterable[tuple[str, int | None]]) -> None:
    for name, capacity in locks:
        possible = capacity is None or 0 < capacity < 2**31
        if not name or not set(name) <= _NAME_CHARACTERS or not possible:
            raise InvalidJob(f"a lock is NAME or NAME=CAPACITY with a capacity of at least 1, not {name}={capacity}")


def _check_texts(variables: Iterable[str], values: Iterable[str], meta: Iterable[tuple[str, str]]) -> None:
    for name in variables:
        if not name or "=" in name or "\0" in name:
            raise InvalidJob(f"an environment variable's name is not empty and has no `=`, unlike {name!r}")
    for text in (*values, *(part for pair in meta for part in pair)):
        if "\0" in text:
            raise InvalidJob("environment and meta hold text without NUL bytes")

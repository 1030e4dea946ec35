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

    from queue_core.home import Home
    from queue_core.model import NewJob, Origin
    from queue_core.settings import Settings

_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-/:")
MAX_STDIN = 16 * 1024 * 1024
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
    check_argv(job.argv)
    if job.stdin_path is not None and not os.path.isabs(job.stdin_path):
        job = replace(job, stdin_path=os.path.join(folder, job.stdin_path))
    _check_values(job)
    cwd = os.path.normpath(os.path.join(folder, os.path.expanduser(job.cwd))) if job.cwd else folder
    check_folder(cwd)
    path = job.env.get("PATH") or environ.get("PATH") or DEFAULT_PATH
    executable = find(job.argv[0], cwd, path)
    on_dead = _on_dead_program(job, cwd, path)
    paths = [path for path in (executable, on_dead) if path is not None]
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
        timeout=job.timeout if job.timeout is not None else settings.timeout,
        due_at=now + job.delay if job.delay is not None else job.at,
        on_dead_program=on_dead,
    )
    return admission if origin.caller != "agent" else _by_policy(admission, settings, home)


def retry_of(job: NewJob, settings: Settings) -> Retry:
    """The job's retry rule, with the settings' where it names none."""
    return Retry(
        retries=settings.retries if job.retries is None else job.retries,
        backoff=job.backoff or settings.backoff,
        base=settings.backoff_base if job.backoff_base is None else job.backoff_base,
        cap=settings.backoff_cap,
        jitter=settings.jitter,
    )


def _on_dead_program(job: NewJob, cwd: str, path: str) -> str | None:
    if not job.on_dead:
        return None
    check_argv(job.on_dead)
    return find(job.on_dead[0], cwd, path)


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
    _check_number("backoff_base", job.backoff_base, least=0)
    _check_locks(job.locks)
    _check_texts((*job.env, *job.pass_env), job.env.values(), job.meta.items())
    if job.stdin is not None and len(job.stdin) > MAX_STDIN:
        raise InvalidJob(f"the input has {len(job.stdin)} bytes, and {MAX_STDIN} is the most; pass --stdin FILE")
    if job.stdin_path is not None and not os.path.isfile(job.stdin_path):
        raise InvalidJob(f"the input file {job.stdin_path} does not exist; check --stdin")
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

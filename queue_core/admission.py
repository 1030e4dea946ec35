"""From what somebody asks for to what the store takes in: every check, every choice, in one place."""

from __future__ import annotations

import os

from queue_core import errors
from queue_core.environment import captured
from queue_core.model import BACKOFFS, PRIORITIES, Admission, Retry
from queue_core.programs import check_argv, check_folder, find
from queue_core.value import replace

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence
    from typing import Any

    from queue_core.home import Home
    from queue_core.judge import Judge
    from queue_core.model import NewJob, Origin, Step
    from queue_core.settings import Settings

_NAME_CHARACTERS = frozenset("abcdefghijklmnopqrstuvwxyzABCDEFGHIJKLMNOPQRSTUVWXYZ0123456789_.-/:")
MAX_STDIN = 16 * 1024 * 1024
MAX_STDIN_OF_AGENTS = 1024 * 1024  # so that as many jobs as may wait do not fill a disk
MAX_META = 64 * 1024  # characters
# The least that each number may be, if it is given.
_LEAST = {"delay": 0, "at": 0, "timeout": 0.001, "retries": 0, "backoff_base": 0, "backoff_cap": 0, "escalate_after": 1}
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
) -> Sequence[Admission]:
    """Check jobs and settle what they leave open; InvalidJob or Denied name the first that cannot be taken.

    `folder` is where they run unless they say otherwise; `environ` is what is captured of; `now` is
    what a delay counts from, in seconds since the epoch.
    """
    call = _Call(origin, settings, home, environ, folder, now)
    if len(jobs) < 2:
        return [_prepare_one(job, call) for job in jobs]
    return _prepare_many(jobs, call)


def _prepare_many(jobs: Sequence[NewJob], call: _Call) -> Sequence[Admission]:
    """The same for many: of those that differ only in what their program is told, most is settled once."""
    from queue_core import alike

    stretches: list[alike.Stretch[Admission]] = []
    for like, owns in alike.stretches_of(jobs):
        # An agent's commands are looked at one by one, and what a job may be handed over to depends on its arguments.
        if call.settings.escalate or like.on_dead or (call.by_agent and like.handler is None):
            alone = [_prepare_one(alike.job_like(like, own), call) for own in owns]
            stretches += [(admission, (alike.own(admission.job),)) for admission in alone]
        elif like.handler is not None:
            stretches.append((_prepare_for_handler(like, call), owns))
        else:
            stretches += _commands(like, owns, call)
    return alike.Alike(alike.admission_like, stretches)


def _commands(like: NewJob, argvs: Iterable[tuple[str, ...]], call: _Call) -> list[tuple[Admission, list[Any]]]:
    """As many together as name the same program; each of them can be executed."""
    from queue_core.alike import job_like

    found: list[tuple[Admission, list[Any]]] = []
    program: str | None = None
    run: list[Any] = []
    for argv in argvs:
        check_argv(argv)
        if argv[0] != program:
            program, run = argv[0], []
            found.append((_prepare_one(job_like(like, argv), call), run))
        run.append(argv)
    return found


class _Call:
    """Who asks, from where, and what has been found out already: jobs that come together have most of it in common."""

    def __init__(
        self, origin: Origin, settings: Settings, home: Home, environ: Mapping[str, str], folder: str, now: float
    ) -> None:
        self.origin = origin
        self.settings = settings
        self.home = home
        self.environ = environ
        self.folder = folder
        self.now = now
        self.path = environ.get("PATH") or DEFAULT_PATH
        self.by_agent = origin.caller == "agent"
        self.queues: set[str] = set()  # whose names are good
        self._env: dict[str, str] | None = None
        self._retry: Retry | None = None
        self._folders: dict[str | None, str] = {}
        self._programs: dict[tuple[str, str, str], tuple[str, str]] = {}
        self._judge: Judge | None = None
        _check_encodable((origin.session, origin.project))

    def captured(self, job: NewJob) -> Mapping[str, str]:
        if job.env or job.pass_env:
            return captured(self.environ, job.env, job.pass_env)
        if self._env is None:
            self._env = captured(self.environ, {}, ())
        return self._env

    def retry(self, job: NewJob) -> Retry:
        own = (job.retry, job.retries, job.backoff, job.backoff_base, job.backoff_cap)
        if own != (None, None, None, None, None):
            return retry_of(job, self.settings)
        if self._retry is None:
            self._retry = retry_of(job, self.settings)
        return self._retry

    def cwd(self, wanted: str | None) -> str:
        """The folder that a job runs in, which is there."""
        found = self._folders.get(wanted)
        if found is None:
            found = os.path.normpath(os.path.join(self.folder, os.path.expanduser(wanted))) if wanted else self.folder
            check_folder(found)
            if self.by_agent:
                found = os.path.realpath(found)  # judged and approved is a folder, not wherever a link leads later
            _check_encodable((found,))
            self._folders[wanted] = found
        return found

    def program(self, name: str, cwd: str, path: str) -> tuple[str, str]:
        """The executable that a name means there, and its real path."""
        found = self._programs.get((name, cwd, path))
        if found is None:
            executable = find(name, cwd, path)
            found = executable, os.path.realpath(executable)
            _check_encodable(found)
            self._programs[name, cwd, path] = found
        return found

    def due_at(self, job: NewJob) -> float | None:
        return self.now + job.delay if job.delay is not None else job.at

    def judged(self, admission: Admission) -> Admission:
        """What an agent asks for runs, waits for a person, or is refused."""
        if self._judge is None:
            from queue_core.judge import Judge

            self._judge = Judge(self.home, self.settings)
        decision = self._judge.admission(admission)
        if decision.verdict == "denied":
            raise errors.Denied(f"`{' '.join(admission.job.argv)}` was not queued: {decision.reason}")
        return admission if decision.verdict == "allowed" else replace(admission, held=decision.reason)


def _prepare_one(job: NewJob, call: _Call) -> Admission:
    if job.handler is not None:
        return _prepare_for_handler(job, call)
    check_argv(job.argv)
    if job.stdin is not None or job.stdin_path is not None:
        job = _with_input(job, call)
    _check_values(job, call)
    cwd = call.cwd(job.cwd)
    path = job.env.get("PATH") or call.path
    executable, program = call.program(job.argv[0], cwd, path)
    on_dead = _on_dead(job, call, executable, cwd, path)
    admission = Admission(
        job=job,
        origin=call.origin,
        program=program,
        executable=executable,
        cwd=cwd,
        env=call.captured(job),
        retry=call.retry(job),
        timeout=_time_limit(job, call.origin, call.settings),
        due_at=call.due_at(job),
        on_dead=on_dead,
    )
    return call.judged(admission) if call.by_agent else admission


def _with_input(job: NewJob, call: _Call) -> NewJob:
    if call.by_agent and len(job.stdin or b"") > MAX_STDIN_OF_AGENTS:
        raise errors.InvalidJob(
            f"the input has {len(job.stdin or b'')} bytes, and an agent's has {MAX_STDIN_OF_AGENTS} at most;"
            " have the command read a file"
        )
    if job.stdin_path is None:
        return job
    return replace(job, stdin_path=os.path.join(call.folder, job.stdin_path))


def _prepare_for_handler(job: NewJob, call: _Call) -> Admission:
    """A job that a function of some program runs: nothing of a command's surroundings applies to it."""
    check_handler(job.handler or "")
    for name in ("argv", "stdin", "stdin_path", "env", "pass_env", "cwd"):
        if getattr(job, name):
            raise errors.InvalidJob(f"a handler's job takes no {name}; give the function what it needs as `arguments`")
    _check_values(job, call)
    _check_encodable((call.folder,))
    on_dead = _on_dead(job, call, None, call.folder, call.path)
    held = "no rule covers handlers" if call.by_agent and call.settings.agents != "allow" else None
    return Admission(
        job=job,
        origin=call.origin,
        program="",
        executable="",
        cwd=call.folder,
        env=call.captured(job) if on_dead else {},  # for the commands that may take over
        retry=call.retry(job),
        timeout=job.timeout,
        due_at=call.due_at(job),
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


def _on_dead(job: NewJob, call: _Call, executable: str | None, cwd: str, path: str) -> tuple[Step, ...]:
    """What takes over when the job has failed: its own steps, or those that the settings' rules mean for it."""
    if not job.on_dead and job.escalate_after is not None:
        raise errors.InvalidJob("escalate_after says when `on_dead` takes over, so it needs one; give both, or neither")
    if not job.on_dead and (job.on_dead is not None or not call.settings.escalate):
        return ()
    from queue_core import escalation

    def found(name: str) -> str:
        return call.program(name, cwd, path)[0]

    if job.on_dead:
        steps = escalation.own_steps(job, found)
    else:
        names = (job.handler or "",) if executable is None else escalation.names_of(executable)
        steps = escalation.steps_by_rules(job, names, call.settings.escalate, found)
    if not call.by_agent:
        return steps
    return tuple(replace(step, executable=os.path.realpath(step.executable)) for step in steps)


def _check_values(job: NewJob, call: _Call) -> None:
    if job.queue not in call.queues:
        check_queue(job.queue)
        call.queues.add(job.queue)
    if job.priority not in PRIORITIES:
        raise errors.InvalidJob(f"priority is one of {', '.join(PRIORITIES)}, not {job.priority!r}")
    _check_numbers(job)
    if job.locks:
        _check_locks(job.locks)
    if job.env or job.pass_env or job.meta:
        _check_texts((*job.env, *job.pass_env), job.env.values(), job.meta.items())
    if job.stdin is not None and len(job.stdin) > MAX_STDIN:
        raise errors.InvalidJob(f"the input has {len(job.stdin)} bytes, and {MAX_STDIN} is the most; pass --stdin FILE")
    if job.stdin_path is not None and not os.path.isfile(job.stdin_path):
        raise errors.InvalidJob(f"the input file {job.stdin_path} does not exist; check --stdin")
    if job.meta:
        _check_length(job.meta)
    for text in (job.unique, job.name):
        if text is not None and (not text or len(text) > 1000 or "\0" in text):
            raise errors.InvalidJob("a unique key and a name have 1 to 1000 characters, none of them NUL")
    _check_encodable((job.stdin_path, job.name, job.unique))


def _check_numbers(job: NewJob) -> None:
    if job.backoff is not None and job.backoff not in BACKOFFS:
        raise errors.InvalidJob(f"backoff is one of {', '.join(BACKOFFS)}, not {job.backoff!r}")
    if job.delay is not None and job.at is not None:
        raise errors.InvalidJob("give either delay or at, not both")
    for name, least in _LEAST.items():
        if (value := getattr(job, name)) is not None:
            _check_number(name, value, least)
    if job.arguments and job.handler is None:
        raise errors.InvalidJob("arguments go with --handler; a command's stand behind its program")


def _check_length(meta: Mapping[str, str]) -> None:
    noted = sum(len(key) + len(value) for key, value in meta.items())
    if noted > MAX_META:
        raise errors.InvalidJob(
            f"the notes (meta) have {noted} characters, and {MAX_META} is the most; keep them in a file"
        )


def _check_encodable(texts: Iterable[str | None]) -> None:
    """Arguments and variables may be any bytes; what the database keeps as text has to be Unicode."""
    for text in texts:
        if text is None or text.isascii():
            continue
        try:
            text.encode("utf-8")
        except UnicodeEncodeError:
            raise errors.InvalidJob(
                f"{text!a} is not valid UTF-8, which paths and names have to be here; rename it"
            ) from None


def check_queue(name: str) -> None:
    """Refuse a queue's name that could not be typed or shown."""
    if not name or len(name) > 100 or not set(name) <= _NAME_CHARACTERS:
        raise errors.InvalidJob(f"a queue's name has 1 to 100 letters, digits and _ . - / :, not {name!r}")


def check_handler(name: str) -> None:
    """Refuse a handler's name that could not be typed or shown."""
    if not name or len(name) > 100 or not set(name) <= _NAME_CHARACTERS:
        raise errors.InvalidJob(f"a handler's name has 1 to 100 letters, digits and _ . - / :, not {name!r}")


def _check_number(name: str, value: float, least: float) -> None:
    if value != value or value < least or value > 1e11:
        shown = f"{value:g}" if isinstance(value, float) or -1e15 < value < 1e15 else "that many"
        raise errors.InvalidJob(f"{name} is at least {least:g} and finite, not {shown}")


def _check_locks(locks: Iterable[tuple[str, int | None]]) -> None:
    for name, capacity in locks:
        possible = capacity is None or 0 < capacity < 2**31
        if not name or not set(name) <= _NAME_CHARACTERS or not possible:
            raise errors.InvalidJob(
                f"a lock is NAME or NAME=CAPACITY with a capacity of at least 1, not {name}={capacity}"
            )


def _check_texts(variables: Iterable[str], values: Iterable[str], meta: Iterable[tuple[str, str]]) -> None:
    for name in variables:
        if not name or "=" in name or "\0" in name:
            raise errors.InvalidJob(f"an environment variable's name is not empty and has no `=`, unlike {name!r}")
    for text in (*values, *(part for pair in meta for part in pair)):
        if "\0" in text:
            raise errors.InvalidJob("environment and meta hold text without NUL bytes")

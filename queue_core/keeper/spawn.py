"""Spawn one command, or say in words why it can't be: no shell, no fork of Python, no surprises."""

from __future__ import annotations

import errno
import os
import stat

from queue_core.errors import SpawnFailed
from queue_core.keeper import processes, records
from queue_core.keeper.confinement import confined
from queue_core.value import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    import signal
    from typing import Any
else:
    import _signal as signal  # `signal` takes 5 ms: it makes enums

_ALL_SIGNALS = tuple(signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP})
# The system's trouble, not the command's: these go back to the queue instead of counting as a failure.
_PASSING = (errno.EAGAIN, errno.ENOMEM, errno.EMFILE, errno.ENFILE)
_NOTHING = 0  # the null device, as which a keeper is started with this descriptor; its commands inherit it


class Request(Frozen):
    """A command as the worker asks for it; texts may hold bytes that are no UTF-8, as surrogates."""

    job: int
    claim: int
    token: str | None  # put into the command's environment, to find strays by
    dir: str  # the claim's directory, absolute; the keeper makes it
    program: str  # an absolute path
    argv: list[str]
    cwd: str
    env: dict[str, str]
    stdin: str | None  # a file; None for the null device
    timeout: float | None  # seconds
    grace: float  # seconds between TERM and KILL
    cap: int | None  # bytes of output to keep
    confined: bool  # an agent's: gains no rights that its user has not, see `confinement`

    _secret = frozenset({"env", "token"})


_MISSING = object()
_NUMBER, _TEXT = (int, float), (str,)
_KINDS: dict[str, tuple[type, ...]] = {
    "job": (int,),
    "claim": (int,),
    "token": (str, type(None)),
    "dir": _TEXT,
    "program": _TEXT,
    "argv": (list,),
    "cwd": _TEXT,
    "env": (dict,),
    "stdin": (str, type(None)),
    "timeout": (*_NUMBER, type(None)),
    "grace": _NUMBER,
    "cap": (int, type(None)),
    "confined": (bool,),
}


def request_of(values: dict[str, Any]) -> Request:
    """The request in a message. ValueError names the first key that is missing or of a wrong kind."""
    fields: dict[str, Any] = {}
    for name, kinds in _KINDS.items():
        if not isinstance(value := values.get(name, _MISSING), kinds):
            raise ValueError(f"the request's {name} is missing or of a wrong kind")
        fields[name] = value
    for name in ("timeout", "grace", "cap"):
        if not (values[name] is None or values[name] >= 0):  # NaN is not either
            raise ValueError(f"the request's {name} is negative")
    if not os.path.isabs(values["dir"]):
        raise ValueError("the request's dir is not absolute")
    return Request(**fields)


def launch(request: Request, files: records.ClaimFiles, home: int) -> int:
    """Start the command and return its pid; `home` is the directory to be in afterwards (a descriptor).

    SpawnFailed says what is wrong with the command; OSError is the system's own trouble, and passes.
    A working directory belongs to the process, not to the spawn: fine where one thread at a time is at work.
    """
    _check(request)
    stdin = _open_stdin(request.stdin) if request.stdin is not None else _NOTHING
    try:
        _enter(request.cwd)
        if request.confined:
            return confined(lambda: _spawn(request, files, stdin))
        return _spawn(request, files, stdin)
    except OSError as error:
        if error.errno in _PASSING:
            raise
        raise SpawnFailed(_explain(error.errno, request.program)) from None
    except ValueError as error:  # NUL bytes, "=" in a variable's name, code points that are no bytes
        raise SpawnFailed(f"The command can't be passed to the system: {error}.") from None
    finally:
        _go_home(home)
        if stdin != _NOTHING:
            os.close(stdin)


def _go_home(home: int) -> None:
    try:
        os.fchdir(home)
    except OSError:  # somebody took away the right to; a command that runs must not count as failed for that
        return


def _check(request: Request) -> None:
    if not request.argv:
        raise SpawnFailed("The command is empty.")
    if {*map(type, request.argv), *map(type, request.env.values())} != {str}:  # from JSON: no subclasses
        raise SpawnFailed("Arguments and variables have to be texts.")
    if not os.path.isabs(request.program):
        raise SpawnFailed(f"The program {request.program} is not an absolute path.")


def _spawn(request: Request, files: records.ClaimFiles, stdin: int) -> int:
    environment = request.env
    if request.token:
        environment = {**environment, processes.TOKEN_VARIABLE: request.token}
    return os.posix_spawn(
        request.program,
        request.argv,
        environment,
        file_actions=[
            *([(os.POSIX_SPAWN_DUP2, stdin, 0)] if stdin != _NOTHING else []),
            (os.POSIX_SPAWN_DUP2, files.append, 1),
            (os.POSIX_SPAWN_DUP2, files.append, 2),
            (os.POSIX_SPAWN_DUP2, files.lock, records.LOCK_FD),
        ],
        setsid=True,
        setsigmask=[],
        setsigdef=_ALL_SIGNALS,  # Python ignores SIGPIPE and SIGXFSZ, and a child would inherit that
    )


def _open_stdin(path: str) -> int:
    """A regular file; never something that could block the keeper, as a FIFO would."""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NONBLOCK)
    except OSError as error:
        if error.errno in _PASSING:
            raise
        raise SpawnFailed(f"The stdin file {path} can't be read: {error.strerror}.") from None
    except ValueError as error:
        raise SpawnFailed(f"The stdin file's name can't be passed to the system: {error}.") from None
    if not stat.S_ISREG(os.fstat(fd).st_mode):
        os.close(fd)
        raise SpawnFailed(f"The stdin file {path} is not a regular file.")
    os.set_blocking(fd, True)
    return fd


def _enter(cwd: str) -> None:
    try:
        os.chdir(cwd)
    except FileNotFoundError:
        raise SpawnFailed(f"The working directory {cwd} does not exist.") from None
    except NotADirectoryError:
        raise SpawnFailed(f"The working directory {cwd} is not a directory.") from None
    except OSError as error:
        raise SpawnFailed(f"The working directory {cwd} can't be entered: {error.strerror}.") from None


def _explain(number: int | None, program: str) -> str:
    """What the system's error number means for this program."""
    if number == errno.ENOENT and os.path.exists(program):
        return f"The interpreter that {program} names in its #! line does not exist."
    if number in (errno.ENOENT, errno.ENOTDIR):
        return f"The program {program} does not exist."
    if number == errno.EACCES:
        what = "is a directory" if os.path.isdir(program) else "may not be executed by this user"
        return f"The program {program} {what}."
    if number == errno.ENOEXEC:
        return f"The program {program} is neither a binary of this machine nor has it a #! line."
    if number == errno.E2BIG:
        return "The arguments and the environment are too long for this system."
    return f"The program {program} can't be started: {os.strerror(number or 0)}."

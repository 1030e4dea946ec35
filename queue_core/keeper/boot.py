"""Start a keeper, from a worker."""

from __future__ import annotations

import os
import sys

from queue_core.errors import KeeperError
from queue_core.keeper import protocol
from queue_core.value import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket as sockets

_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))
# The package comes behind the standard library: nothing that is installed beside it can stand in for `os`.
_CODE = "import sys; sys.path.append(sys.argv[2]); from queue_core.keeper.main import main; main(sys.argv[1])"
_LOADER_PATHS = ("LD_LIBRARY_PATH", "DYLD_LIBRARY_PATH")  # an interpreter may need them to start at all


class Started(Frozen):
    """A keeper that has said hello, and the blocking socket to it.

    The keeper is a child of the caller, who reaps `pid` if it outlives it; closing the socket lets the
    keeper go as soon as its last command has ended.
    """

    pid: int
    socket: sockets.socket


def start(keeper_dir: str, timeout: float = 10.0) -> Started:
    """Start the keeper of this directory, which must be new, and wait for its hello.

    KeeperError, in words, if it does not come up within `timeout` seconds.
    """
    import socket as sockets

    keeper_dir = os.path.abspath(keeper_dir)
    try:
        os.makedirs(os.path.dirname(keeper_dir), 0o700, exist_ok=True)
        os.mkdir(keeper_dir, 0o700)
        ours, theirs = sockets.socketpair()
    except OSError as error:
        raise KeeperError(f"A keeper needs a new folder {keeper_dir}: {error}.") from error
    with theirs:
        try:
            pid = _spawn(keeper_dir, theirs)
        except OSError as error:
            ours.close()
            raise KeeperError(f"A keeper can't be started with {sys.executable}: {error}.") from error
    ours.settimeout(timeout)
    if not _said_hello(ours):
        ours.close()
        _put_down(pid)
        raise KeeperError(f"The keeper did not start{_last_words(keeper_dir)}")
    ours.settimeout(None)
    return Started(pid=pid, socket=ours)


def _spawn(keeper_dir: str, theirs: sockets.socket) -> int:
    import fcntl
    import signal

    # Above the numbers that it is copied to, whichever of those this process may have closed.
    connection = fcntl.fcntl(theirs, fcntl.F_DUPFD_CLOEXEC, 10)
    log = os.path.join(keeper_dir, protocol.LOG)
    try:
        return os.posix_spawn(
            sys.executable,
            [sys.executable, "-I", "-S", "-X", "utf8", "-c", _CODE, keeper_dir, _ROOT],
            {name: os.environ[name] for name in _LOADER_PATHS if name in os.environ},
            file_actions=[
                (os.POSIX_SPAWN_OPEN, 0, os.devnull, os.O_RDONLY, 0),
                (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
                (os.POSIX_SPAWN_OPEN, 2, log, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600),
                (os.POSIX_SPAWN_DUP2, connection, protocol.CONNECTION_FD),
            ],
            setsid=True,
            setsigmask=[],
            setsigdef=signal.valid_signals() - {signal.SIGKILL, signal.SIGSTOP},
        )
    finally:
        os.close(connection)


def _said_hello(connection: sockets.socket) -> bool:
    lines = protocol.Lines()
    try:
        while data := connection.recv(4096):
            if messages := lines.feed(data):
                return messages[0].get("op") == "hello"
    except (OSError, KeeperError):
        return False
    return False


def _put_down(pid: int) -> None:
    import signal

    try:
        os.kill(pid, signal.SIGKILL)
        os.waitpid(pid, 0)
    except OSError:  # somebody else reaps this process's children
        return


def _last_words(keeper_dir: str) -> str:
    try:
        with open(os.path.join(keeper_dir, protocol.LOG), encoding="utf-8", errors="replace") as file:
            lines = file.read().split("\n")
    except OSError:
        return "."
    said = [line for line in lines if line.strip()]
    return f": {said[-1].strip()}" if said else _why_silent(keeper_dir)


def _why_silent(keeper_dir: str) -> str:
    """A full disk takes neither what a keeper has to write nor its complaint; then it refuses a line here too."""
    try:
        log = os.open(os.path.join(keeper_dir, protocol.LOG), os.O_WRONLY | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.write(log, b"\n")
        finally:
            os.close(log)
    except OSError as error:
        return f": nothing can be written to {keeper_dir} ({error.strerror})."
    return " in time."

"""How to talk to a keeper: one JSON object a line, both ways, over its Unix socket.

To the keeper:
  hello                                         -> hello
  spawn  jobs: a batch of `spawn.Request`s      -> for each, sooner or later: refused or ended
  end    job, claim, reason                     -> ending, or ended (already over), or unknown
  watch  claims: [[job, claim], ...]            -> watching, then an ended for each one that is over
From the keeper:
  hello     pid, running, version
  refused   job, claim, error      it was never started and has no record
  ending    job, claim             its termination has begun (or had before)
  ended     job, claim, end        `records.End`, as written on disk; to the spawner and to every watcher
  unknown   job, claim
  watching  running, unknown       [[job, claim], ...] each; the unknown ones are promised never to start:
                                   a spawn of such a claim that still lies in a dead worker's socket is
                                   refused. A keeper remembers its latest ends only: look at the record
                                   once more before an unknown claim is put back.
  error     error                  what it did not understand

A connection is closed when it sends what is no JSON, or leaves too much unread; the records on disk
are the truth, and a new connection may watch.
"""

from __future__ import annotations

import os

from queue_core import fastjson
from queue_core.errors import KeeperError
from queue_core.keeper import locks

TYPE_CHECKING = False
if TYPE_CHECKING:
    import socket
    from collections.abc import Iterable
    from typing import Any

    Message = dict[str, Any]
    Claim = tuple[int, int]

VERSION = 1
LONGEST_LINE = 64 * 1024 * 1024
LONGEST_PATH = 100  # sockaddr_un holds 108 bytes on Linux, 104 on macOS
REASONS = ("cancelled", "interrupted")
SOCKET, LOCK, LOG, BOOT = "socket", "lock", "log", "boot"  # the files of a keeper's directory
CONNECTION_FD = 3  # at which a keeper finds the connection to the worker that started it


class KeeperGone(KeeperError):
    """The keeper is not there any more; what it ran has complete records, or tells by its locks."""


class ProtocolError(KeeperError):
    """The other side sent something that is not a message."""


def encode(message: Message) -> bytes:
    """A message as it goes over the wire."""
    return fastjson.dumps(message).encode("ascii") + b"\n"


def ended(claim: Claim, end: str) -> bytes:
    """As it goes over the wire, `end` being `records.text_of` it: made once, for the record and for all who listen."""
    return b'{"op":"ended","job":%d,"claim":%d,"end":%b}\n' % (*claim, end.encode("ascii"))


def hello(pid: int, running: int) -> Message:
    """The keeper's greeting and its answer to `hello`."""
    return {"op": "hello", "pid": pid, "running": running, "version": VERSION}


def spawn(jobs: list[Message]) -> Message:
    """Start these, in this order; the keys of each are the fields of `spawn.Request`."""
    return {"op": "spawn", "jobs": jobs}


def end(claim: Claim, reason: str) -> Message:
    """Begin to end a running command; `reason` is "cancelled" or "interrupted"."""
    return {"op": "end", "job": claim[0], "claim": claim[1], "reason": reason}


def watch(claims: Iterable[Claim]) -> Message:
    """Adopt these claims of a dead worker."""
    return {"op": "watch", "claims": [list(claim) for claim in claims]}


def about(op: str, claim: Claim, **more: Any) -> Message:
    """What the keeper says of one claim: refused, ending, ended or unknown."""
    return {"op": op, "job": claim[0], "claim": claim[1], **more}


def watching(running: list[Claim], unknown: list[Claim]) -> Message:
    """The answer to `watch`."""
    return {
        "op": "watching",
        "running": [list(one) for one in running],
        "unknown": [list(one) for one in unknown],
    }


class Lines:
    """Bytes in, messages out; knows nothing of sockets."""

    def __init__(self, longest: int = LONGEST_LINE) -> None:
        self._longest = longest
        self._rest = bytearray()

    def feed(self, data: bytes) -> list[Message]:
        """The messages that these bytes complete. ProtocolError for anything that is none."""
        messages: list[Message] = []
        begin = 0
        while (end := data.find(b"\n", begin)) >= 0:  # in the new bytes only: a long line arrives in many pieces
            line = data[begin:end]
            if self._rest:
                line, self._rest = bytes(self._rest + line), bytearray()
            if line:
                messages.append(_decode(line))
            begin = end + 1
        self._rest += data[begin:]
        if len(self._rest) > self._longest:
            raise ProtocolError("a message without an end")
        return messages


def _decode(line: bytes) -> Message:
    try:
        message = fastjson.loads(line.decode("utf-8"))
    except Exception as error:  # no JSON, too deep, or no descriptor left to import `json` for its wording
        raise ProtocolError(f"not JSON: {error}") from None
    if not isinstance(message, dict):
        raise ProtocolError("a message is a JSON object")
    return message  # pyright: ignore[reportUnknownVariableType]


def alive(keeper_dir: str) -> bool:
    """Does the keeper of this directory live? (A stopped one does.)"""
    return locks.held(os.path.join(keeper_dir, LOCK))


def connect(keeper_dir: str, timeout: float | None = 5.0) -> socket.socket:
    """A blocking connection with this time-out in seconds. KeeperGone if nobody listens there."""
    import socket

    connection = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
    connection.settimeout(timeout)
    try:
        _connect(connection, keeper_dir)
    except (FileNotFoundError, ConnectionError):
        connection.close()
        raise KeeperGone("The keeper has left; its records say how the commands ended.") from None
    except OSError as error:
        connection.close()
        raise KeeperError(f"The keeper can't be reached: {error}.") from error
    return connection


def _connect(connection: socket.socket, keeper_dir: str) -> None:
    path = os.path.join(keeper_dir, SOCKET)
    if len(os.fsencode(path)) <= LONGEST_PATH:
        return connection.connect(path)
    folder = os.open(keeper_dir, os.O_RDONLY | os.O_CLOEXEC | os.O_DIRECTORY)
    try:
        if os.path.exists(f"/proc/self/fd/{folder}"):
            return connection.connect(f"/proc/self/fd/{folder}/{SOCKET}")
    finally:
        os.close(folder)
    return _connect_through_link(connection, keeper_dir)


def _connect_through_link(connection: socket.socket, keeper_dir: str) -> None:
    """The way without /proc: a short name for a long path."""
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        link = os.path.join(folder, "k")
        os.symlink(keeper_dir, link)
        connection.connect(os.path.join(link, SOCKET))


def ask(keeper_dir: str, message: Message, timeout: float = 5.0) -> Message:
    """Send one message and wait `timeout` seconds for the first reply.

    KeeperGone if the keeper left; KeeperError if it does not answer in time (it may be stopped).
    """
    with connect(keeper_dir, timeout) as connection:
        lines = Lines()
        try:
            connection.sendall(encode(message))
            while data := connection.recv(65536):
                if replies := lines.feed(data):
                    return replies[0]
        except ConnectionError:
            pass
        except TimeoutError:
            raise KeeperError(f"The keeper did not answer within {timeout:g} s.") from None
    raise KeeperGone("The keeper has left; its records say how the commands ended.")

"""A connection of the keeper: never blocks it, and is given up when it misbehaves."""

from __future__ import annotations

import _socket
import os

from queue_core.keeper import protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from queue_core.keeper.protocol import Message

MOST_UNSENT = 4 * 1024 * 1024
_MUCH = 64 * 1024  # bytes to be sent that don't wait for the end of the keeper's turn
_PIECE = 64 * 1024  # bytes to receive at a time; for more than 128 KiB malloc would go to the system each time


class Connection:
    """One worker or CLI; `open` turns false when it has gone or was given up."""

    def __init__(self, socket: _socket.socket) -> None:
        socket.setblocking(False)
        self.fd = socket.fileno()
        self.open = True
        self.polled = 0  # what the loop waits for here
        self._socket = socket
        self._lines = protocol.Lines()
        self._unsent = bytearray()

    @property
    def waits_to_send(self) -> bool:
        """Is there something that the other side had no room for?"""
        return bool(self._unsent)

    def receive(self) -> list[Message]:
        """What has arrived. What a dead worker sent before its end is still handed out first."""
        try:
            data = self._socket.recv(_PIECE)
        except (BlockingIOError, InterruptedError):
            return []
        except OSError:
            data = b""
        if not data:
            self.open = False
            return []
        try:
            return self._lines.feed(data)
        except protocol.ProtocolError:
            self.open = False
            return []

    def send(self, message: Message) -> None:
        """Have it sent by the next `flush`."""
        self.send_line(protocol.encode(message))

    def send_line(self, line: bytes) -> None:
        """The same for an encoded message. Several go out together, unless they are many."""
        if self.open:
            self._unsent += line
            if len(self._unsent) > _MUCH:
                self.flush()

    def flush(self) -> None:
        """Send now what fits and the rest later; who leaves too much unread is given up."""
        try:
            sent = self._socket.send(self._unsent)
        except (BlockingIOError, InterruptedError):
            sent = 0
        except OSError:  # it has gone, but what it sent before may still lie here: `receive` finds the end
            sent = len(self._unsent)
        del self._unsent[:sent]
        if len(self._unsent) > MOST_UNSENT:
            self.open = False

    def close(self) -> None:
        """Close the socket."""
        self.open = False
        self._socket.close()


def listen(name: str) -> _socket.socket:
    """A listening socket of this name in the working directory (a relative name is never too long)."""
    listener = _socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM)
    others = os.umask(0o177)
    try:
        listener.bind(name)
    finally:
        os.umask(others)  # commands inherit it
    listener.listen(128)
    listener.setblocking(False)
    return listener


def accept(listener: _socket.socket) -> Connection:
    """The next connection. OSError if there is none any more, or no descriptor for it."""
    # What `socket.accept` calls; `socket` itself takes 10 ms to import.
    return adopt(listener._accept()[0])  # pyright: ignore


def adopt(fd: int) -> Connection:
    """The connection that this descriptor is."""
    return Connection(_socket.socket(_socket.AF_UNIX, _socket.SOCK_STREAM, 0, fd))

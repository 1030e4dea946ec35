"""Where the HTTP server listens: on this machine's own address, and on no other."""

from __future__ import annotations

import errno
import socket

from queue_core.errors import QueueError

HOST = "127.0.0.1"


class PortTaken(QueueError):
    """The port cannot be listened on."""


def listen(port: int) -> socket.socket:
    """A socket that listens on this port, 0 for any free one; PortTaken if it cannot."""
    listener = socket.socket(socket.AF_INET, socket.SOCK_STREAM)
    try:
        listener.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        listener.bind((HOST, port))
        listener.listen(128)
    except OSError as error:
        listener.close()
        reason = "is in use" if error.errno == errno.EADDRINUSE else f"cannot be listened on ({error.strerror})"
        raise PortTaken(f"port {port} {reason}; give another with --port, or --port 0 for any free one") from None
    return listener

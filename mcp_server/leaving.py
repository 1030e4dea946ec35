"""How a server's process ends, whichever way it is spoken to: promptly, with nothing to save.

By `os._exit`, because a normal exit joins worker threads, and one may sit in a long tool call. Every durable fact is
on the disk before a client is told of it, so there is nothing that an end could cut short.
"""

import logging
import os
import signal
import threading
from typing import Final, NoReturn

LEAVE_SIGNALS: Final = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP)


def start_watchdog(seconds: float) -> None:
    """End the process in so many seconds, whatever still runs."""
    # A thread, so that a blocked event loop is no excuse; without flushing logs, which may be what blocks.
    timer = threading.Timer(seconds, os._exit, (0,))
    timer.daemon = True
    timer.start()


def leave(status: int) -> NoReturn:
    """End the process now."""
    logging.shutdown()
    os._exit(status)

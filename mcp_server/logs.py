"""The server's log: warnings on stderr without ever waiting for whoever reads it, everything in the home's file."""

from __future__ import annotations

import logging
import os
import queue
import threading
from typing import TYPE_CHECKING

from queue_core.logs import log_to_home

if TYPE_CHECKING:
    from queue_core.service import Queue

MOST_UNSAID = 1000  # lines that may wait for the reader of stderr; what comes on top of them is dropped
FLUSH_SECONDS = 0.1  # how long the end of the process waits for the last lines to be read
SDK = ("mcp", "mcp_server", "uvicorn")  # loggers whose warnings belong into the home's file as well


class StderrHandler(logging.Handler):
    """Writes to stderr from a thread of its own: a client that stops reading it must not stop the server."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self._unsaid: queue.Queue[str] = queue.Queue(MOST_UNSAID)
        threading.Thread(target=self._say, name="runq-stderr", daemon=True).start()

    def emit(self, record: logging.LogRecord) -> None:
        """Put a line in the queue; a full one means that nobody reads."""
        try:
            self._unsaid.put_nowait(self.format(record) + "\n")
        except queue.Full:
            pass

    def _say(self) -> None:
        while True:
            line = self._unsaid.get()
            try:
                os.write(2, line.encode("utf-8", "backslashreplace"))
            except OSError:  # started without a stderr, or its reader is gone
                pass
            self._unsaid.task_done()

    def flush(self) -> None:
        """Wait a moment until all is said."""
        with self._unsaid.all_tasks_done:
            self._unsaid.all_tasks_done.wait_for(lambda: not self._unsaid.unfinished_tasks, FLUSH_SECONDS)


def log_to_stderr() -> None:
    """Set up logging. To be called before the SDK does it, which leaves alone what it finds."""
    handler = StderrHandler()
    handler.setFormatter(logging.Formatter("runq-mcp: %(message)s"))
    logging.basicConfig(level=logging.WARNING, handlers=[handler])


def log_to_home_too(opened: Queue) -> None:
    """Once there is a home: runq's own lines go to its file, and so do the SDK's warnings and tracebacks."""
    try:
        log_to_home(opened.home, opened.settings.log_level)
    except OSError as error:
        logging.getLogger("runq.server").warning("no log is kept: %s", error)
        return
    own = logging.getLogger("runq")
    own.propagate = True  # to stderr as well
    for name in SDK:
        logging.getLogger(name).addHandler(own.handlers[-1])

"""Logs: one file under the home that all processes append to, rotated by whoever finds it full."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from typing import TYPE_CHECKING

from queue_core.home import make_folder

if TYPE_CHECKING:
    from queue_core.home import Home

LARGEST = 5 * 1024 * 1024  # bytes
KEPT = 3


class SharedFile(logging.Handler):
    """Appends whole lines with one write each; follows the file when another process has rotated it."""

    def __init__(self, folder: str) -> None:
        super().__init__()
        self._folder = folder
        self._path = os.path.join(folder, "runq.log")
        self._descriptor = self._open()

    def _open(self) -> int:
        return os.open(self._path, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)

    def emit(self, record: logging.LogRecord) -> None:
        """Write one record; a log that cannot be written to stops nobody's work."""
        try:
            self._follow()
            os.write(self._descriptor, (self.format(record) + "\n").encode("utf-8", "backslashreplace"))
        except OSError:
            self.handleError(record)

    def handleError(self, record: logging.LogRecord) -> None:
        """Say nothing: stderr may be a client's, and a full disk is said elsewhere."""

    def _follow(self) -> None:
        mine = os.fstat(self._descriptor)
        if mine.st_size > LARGEST:
            self._rotate()
        try:
            same = os.stat(self._path).st_ino == mine.st_ino
        except FileNotFoundError:
            same = False
        if not same:
            os.close(self._descriptor)
            self._descriptor = self._open()

    def _rotate(self) -> None:
        folder = os.open(self._folder, os.O_RDONLY | os.O_CLOEXEC)
        try:
            fcntl.flock(folder, fcntl.LOCK_EX)
            if os.stat(self._path).st_size > LARGEST:
                for number in range(KEPT - 1, 0, -1):
                    _rename(f"{self._path}.{number}", f"{self._path}.{number + 1}")
                _rename(self._path, f"{self._path}.1")
        finally:
            os.close(folder)


def _rename(source: str, target: str) -> None:
    try:
        os.rename(source, target)
    except FileNotFoundError:
        pass


def log_to_home(home: Home, level: str) -> None:
    """Send runq's log lines to the home's file, in UTC, with the process that wrote each."""
    handler = SharedFile(make_folder(home.path("logs")))
    form = logging.Formatter("%(asctime)s.%(msecs)03dZ %(process)d %(levelname)s %(name)s: %(message)s")
    form.converter = time.gmtime
    form.default_time_format = "%Y-%m-%dT%H:%M:%S"
    form.default_msec_format = ""
    handler.setFormatter(form)
    logger = logging.getLogger("runq")
    logger.setLevel(level.upper())
    logger.addHandler(handler)
    logger.propagate = False

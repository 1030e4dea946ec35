"""Logs: one file under the home that all processes append to, rotated by whoever finds it full."""

from __future__ import annotations

import fcntl
import logging
import os
import time
from contextlib import nullcontext
from typing import TYPE_CHECKING

from queue_core.home import make_folder

if TYPE_CHECKING:
    from collections.abc import Sequence

    from queue_core.home import Home

LARGEST = 5 * 1024 * 1024  # bytes
KEPT = 3
_SECOND = "%Y-%m-%dT%H:%M:%S"


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
            self._write(self.format(record) + "\n")
        except OSError:
            self.handleError(record)

    def emit_all(self, name: str, messages: Sequence[str]) -> None:
        """Write these of one moment with one write, at INFO."""
        now = time.time()
        at = f"{time.strftime(_SECOND, time.gmtime(now))}.{int(now % 1 * 1000):03d}Z {os.getpid()} INFO {name}: "
        try:
            with self.lock or nullcontext():
                self._write("".join([f"{at}{message}\n" for message in messages]))
        except OSError:
            pass  # as in `handleError`

    def _write(self, text: str) -> None:
        self._follow()
        os.write(self._descriptor, text.encode("utf-8", "backslashreplace"))

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


def say_each(logger: logging.Logger, form: str, each: Sequence[tuple[object, ...]]) -> None:
    """`logger.info` with each of these, for what a busy worker says hundreds of times a second.

    A record costs more than a line. Where only the home's file listens, as in runq's own processes, none are made.
    """
    if not each or not logger.isEnabledFor(logging.INFO):
        return
    alone = _only_listener(logger)
    if alone is not None:
        alone.emit_all(logger.name, [form % values for values in each])
        return
    for values in each:
        logger.info(form, *values)


def _only_listener(logger: logging.Logger) -> SharedFile | None:
    """The home's file, if it alone gets what is said here."""
    if logger.handlers or logger.filters or not logger.propagate or (above := logger.parent) is None:
        return None
    if above.propagate or len(above.handlers) != 1 or not isinstance(one := above.handlers[0], SharedFile):
        return None
    return None if one.filters or one.level > logging.INFO else one


def log_to_home(home: Home, level: str) -> None:
    """Send runq's log lines to the home's file, in UTC, with the process that wrote each."""
    handler = SharedFile(make_folder(home.path("logs")))
    form = logging.Formatter("%(asctime)s.%(msecs)03dZ %(process)d %(levelname)s %(name)s: %(message)s")
    form.converter = time.gmtime
    form.default_time_format = _SECOND
    form.default_msec_format = ""
    handler.setFormatter(form)
    logger = logging.getLogger("runq")
    logger.setLevel(level.upper())
    logger.addHandler(handler)
    logger.propagate = False

"""What a busy worker says is written at once, and reads as if it had been said line by line."""

from __future__ import annotations

import logging
import re
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from queue_core.home import locate
from queue_core.logs import log_to_home, say_each

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

FORM = "job %d: %s"


@pytest.fixture
def runq_log(tmp_path: Path) -> Iterator[Path]:
    """Where runq's loggers write, for one test."""
    logger = logging.getLogger("runq")
    before = logger.handlers[:], logger.level, logger.propagate
    logger.handlers.clear()
    (tmp_path / "q").mkdir(mode=0o700)
    log_to_home(locate({"RUNQ_HOME": str(tmp_path / "q"), "HOME": str(tmp_path)}), "info")
    yield tmp_path / "q" / "logs" / "runq.log"
    logger.handlers[:], logger.level, logger.propagate = before


def test_lines_that_are_written_together_read_like_any_others(tmp_path: Path) -> None:
    (tmp_path / "q").mkdir(mode=0o700)
    program = """
import logging, os
from queue_core.home import locate
from queue_core.logs import log_to_home, say_each
log_to_home(locate(os.environ), "info")
logger = logging.getLogger("runq.worker")
logger.info("job %d: %s", 1, "a\\udc80")
say_each(logger, "job %d: %s", [(1, "a\\udc80"), (2, "b")])
"""
    env = {"RUNQ_HOME": str(tmp_path / "q"), "HOME": str(tmp_path)}
    subprocess.run([sys.executable, "-c", program], env=env, check=True, timeout=60)  # what listens here is pytest's
    one, same, other = (tmp_path / "q" / "logs" / "runq.log").read_text().splitlines()
    assert "a\\udc80" in one
    stamp = r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z "
    assert re.sub(stamp, "", one) == re.sub(stamp, "", same)
    assert re.fullmatch(stamp + r"\d+ INFO runq\.worker: job 2: b", other)


def test_they_are_records_for_whoever_else_listens(runq_log: Path) -> None:
    heard: list[logging.LogRecord] = []

    class Listener(logging.Handler):
        def emit(self, record: logging.LogRecord) -> None:
            heard.append(record)

    logger, listener = logging.getLogger("runq.worker"), Listener()
    logger.addHandler(listener)
    try:
        say_each(logger, FORM, [(1, "a"), (2, "b")])
    finally:
        logger.removeHandler(listener)
    assert [record.getMessage() for record in heard] == ["job 1: a", "job 2: b"]
    assert len(runq_log.read_text().splitlines()) == 2


def test_a_level_above_keeps_them_out(runq_log: Path) -> None:
    logging.getLogger("runq").setLevel("WARNING")
    say_each(logging.getLogger("runq.worker"), FORM, [(1, "a")])
    assert not runq_log.read_text()

"""A disk that takes what is written and fails to make it durable: what was refused is not there afterwards.

The sync that fails is injected into the real process by strace, which a machine may lack or forbid.
"""

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest

from queue_core.errors import StoreFull
from queue_core.home import Home
from queue_core.sqlite.engine import SCHEMA_VERSION, Database
from queue_core.sqlite.store import SqliteStore
from tests import claims
from tests.conformance.builders import START, admission
from tests.helpers import short_folder
from tests.sqlite.conftest import raw

ROOT = str(Path(__file__).parents[2])
RUNQ = [sys.executable, "-m", "queue_core.launch"]
INJECTED = ["-f", "-qq", "-e", "trace=fdatasync", "-o", "/dev/null"]

pytestmark = pytest.mark.claim("full")


def may_trace() -> bool:
    """Whether a system call can be made to fail here."""
    if not (strace := shutil.which("strace")):
        return False
    return subprocess.run([strace, *INJECTED, "true"], capture_output=True, check=False).returncode == 0


@pytest.mark.skipif(not may_trace(), reason="strace is missing or not permitted here")
@pytest.mark.parametrize("failing", ["1+", "1"])
def test_what_could_not_be_made_durable_is_refused_or_spooled_and_never_there_twice(failing: str) -> None:
    with short_folder() as folder:
        env = {
            "PATH": "/usr/bin:/bin",
            "HOME": str(folder),
            "RUNQ_HOME": f"{folder}/home",
            "PYTHONPATH": ROOT,
        }

        def runq(*words: str, broken: bool = False) -> "subprocess.CompletedProcess[str]":
            inject = ["strace", *INJECTED, "-e", f"inject=fdatasync:error=EIO:when={failing}"] if broken else []
            return subprocess.run(
                [*inject, *RUNQ, *words], env=env, cwd=folder, input="", capture_output=True, text=True, check=False
            )

        assert runq("add", "--name", "before", "--", "true").returncode == 0
        refused = runq("add", "--name", "refused", "--", "true", broken=True)
        assert (refused.returncode, refused.stdout) == (1, "")
        assert "is full or fails (disk I/O error)" in refused.stderr
        assert runq("hook", "--name", "spooled", "--", "true", broken=True).returncode == 0
        listed = runq("list").stdout.splitlines()
        assert [line.split("\t")[8] for line in listed] == ["spooled", "before"]
        claims.tried("full", failing_syncs=2)


LOOK = """
import sys
from queue_core import checkup
from queue_core.errors import QueueError
from queue_core.home import Home
try:
    found = checkup.look(Home(data=sys.argv[1], config=sys.argv[1]))
except QueueError as error:
    found = error
sys.stdout.write(str(found))
"""


@pytest.mark.skipif(not may_trace(), reason="strace is missing or not permitted here")
@pytest.mark.claim("file")
@pytest.mark.parametrize("failing", ["6", "8", "12", "8+"])
def test_a_read_that_fails_is_not_taken_for_damage(home: Home, failing: str) -> None:
    """Nothing could be written any more, although nothing is wrong with the file."""
    store = SqliteStore(home)
    store.enqueue([admission("x" * 3000)] * 30, now=START, capacity=100, parallelism=4)
    store.close()
    inject = ["-e", "trace=pread64", "-P", home.database, "-e", f"inject=pread64:error=EIO:when={failing}"]
    looked = subprocess.run(
        ["strace", "-f", "-qq", "-o", "/dev/null", *inject, sys.executable, "-c", LOOK, home.data],
        capture_output=True,
        text=True,
        check=False,
    )
    assert (looked.returncode, looked.stderr) == (0, "")
    assert not os.path.exists(home.damaged), looked.stdout
    claims.tried("file", failing_reads=1)


class FailsOnce:
    """A connection whose first statement fails as on a failing disk; the others are real."""

    def __init__(self, real: sqlite3.Connection) -> None:
        self._real = real
        self._failed = False

    def execute(self, *statement: Any) -> sqlite3.Cursor:
        if not self._failed:
            self._failed = True
            raise sqlite3.OperationalError("disk I/O error")
        return self._real.execute(*statement)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


def test_a_newer_schema_stays_what_it_is_when_an_old_process_meets_a_failing_disk(home: Home) -> None:
    database = Database(home)
    raw(home, f"PRAGMA user_version = {SCHEMA_VERSION + 1}")
    database.connection = FailsOnce(database.connection)  # pyright: ignore[reportAttributeAccessIssue]
    with pytest.raises(StoreFull):
        database.write(lambda _: None)
    assert raw(home, "PRAGMA user_version") == [(SCHEMA_VERSION + 1,)]
    database.close()

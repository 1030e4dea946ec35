"""A disk that is really full, or read-only: what runs is recorded, what is new is refused, and all goes on afterwards.

The tests stand in `small_disk.py`, and run in a mount namespace of their own, where they may mount small disks.
"""

from __future__ import annotations

import os
import shutil
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from queue_core.cli.closing import Tally, say_end
from queue_core.cli.options import Given
from queue_core.home import Home
from queue_core.service import Queue
from queue_core.sqlite import ballast
from queue_core.sqlite.engine import Database

pytestmark = pytest.mark.claim("full")

ROOT = Path(__file__).parents[2]


def _may_mount(folder: Path) -> bool:
    if not shutil.which("unshare"):
        return False
    mount = ["unshare", "-rm", "mount", "-t", "tmpfs", "none", str(folder)]
    return subprocess.run(mount, capture_output=True, check=False).returncode == 0


def test_on_a_small_disk(tmp_path: Path) -> None:
    if not _may_mount(tmp_path):
        pytest.skip("no file system of a few MiB can be mounted here: `unshare -rm` is not permitted")
    inner = [sys.executable, "-m", "pytest", "-p", "no:cacheprovider", "--basetemp", str(tmp_path / "t")]
    done = subprocess.run(
        ["unshare", "-rm", *inner, "tests/sqlite/small_disk.py"],
        cwd=ROOT,
        env={**os.environ, "PYTEST_ADDOPTS": "", "PYTEST_XDIST_WORKER": ""},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stdout[-12_000:] + done.stderr[-2_000:]
    assert "6 passed" in done.stdout


class TestBallast:
    def test_it_is_of_real_blocks_and_for_its_user_alone(self, home: Home) -> None:
        assert ballast.lay(home)
        found = os.stat(home.ballast)
        assert (found.st_size, found.st_mode & 0o777) == (ballast.SIZE, 0o600)
        assert found.st_blocks * 512 >= ballast.SIZE
        assert ballast.lay(home)
        assert os.stat(home.ballast).st_mtime_ns == found.st_mtime_ns

    def test_it_is_spent_once_and_laid_again(self, home: Home) -> None:
        assert not ballast.spent(home), "none was laid yet"
        assert not ballast.give_up(home)
        ballast.lay(home)
        assert (ballast.spent(home), ballast.give_up(home)) == (False, True)
        assert (ballast.spent(home), ballast.give_up(home)) == (True, False)
        assert os.stat(home.ballast).st_blocks == 0
        assert ballast.lay(home) and not ballast.spent(home)

    def test_one_that_was_laid_in_part_by_a_process_that_was_killed_is_laid_anew(self, home: Home) -> None:
        Path(home.ballast).write_bytes(b"x" * 5000)
        assert ballast.spent(home)
        assert ballast.lay(home) and not ballast.spent(home)

    @pytest.mark.parametrize("what", ["link", "fifo", "folder"])
    def test_what_stands_in_its_place_is_left_alone(self, home: Home, what: str, tmp_path: Path) -> None:
        (tmp_path / "diary").write_text("dear diary")
        if what == "link":
            os.symlink(tmp_path / "diary", home.ballast)
        elif what == "fifo":
            os.mkfifo(home.ballast)
        else:
            os.mkdir(home.ballast)
        assert not ballast.lay(home)
        assert not ballast.give_up(home)
        assert not ballast.spent(home)
        assert (tmp_path / "diary").read_text() == "dear diary"


def test_an_end_for_which_the_ballast_was_not_enough_has_the_room_of_the_wal_as_well(home: Home) -> None:
    """Whatever fills the disk may take what the ballast gives up."""
    database, tries = Database(home), list[int]()
    ballast.lay(home)

    def end(tx: sqlite3.Connection) -> None:
        tries.append(os.path.getsize(home.database + "-wal"))
        if tries[-1]:
            raise sqlite3.OperationalError("database or disk is full")

    database.finish(end)
    assert (len(tries), tries[-1], ballast.spent(home)) == (3, 0, True)
    database.close()


def test_who_ran_what_was_there_says_at_the_end_that_the_ballast_is_spent(
    home: Home, capsys: pytest.CaptureFixture[str]
) -> None:
    queue = Queue.open({"RUNQ_HOME": home.data, "PATH": os.defpath})
    queue.submit(["true"])
    ballast.lay(home)
    ballast.give_up(home)
    say_end(queue, Tally(), Given(values={}, operands=(), command=None), until_empty=True)
    queue.close()
    assert f"The ballast is spent: free space in {home.data};" in capsys.readouterr().err

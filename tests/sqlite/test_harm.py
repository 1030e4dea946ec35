"""What stands in the database's place and is none of this runq's: every face says so in one sentence, and leaves it.

Command lines run in forks of a process that has loaded them, the server and the worker as usual.
"""

from __future__ import annotations

import json
import os
import random
import shutil
import sqlite3
import subprocess
import sys
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from queue_core.home import Home
from queue_core.service import Queue
from queue_core.sqlite.engine import SCHEMA_VERSION
from tests import claims
from tests.cli.conftest import ROOT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

pytestmark = pytest.mark.claim("file")

FORKER = """
import io, json, os, sys, select, signal, time
sys.path.insert(0, {root!r})
from queue_core.launch import main
import queue_core.service, queue_core.cli.look, queue_core.cli.checks, queue_core.worker.main
for line in sys.stdin:
    given = json.loads(line)
    files = [os.memfd_create(name) for name in ("in", "out", "err")]
    os.write(files[0], given["stdin"].encode()); os.lseek(files[0], 0, 0)
    pid = os.fork()
    if not pid:
        signal.alarm(30)
        for number, file in enumerate(files):
            os.dup2(file, number)
        os.environ.clear(); os.environ.update(given["environ"]); os.chdir(given["folder"])
        sys.stdin = open(0, closefd=False); sys.stdout = open(1, "w", closefd=False)
        sys.stderr = open(2, "w", closefd=False); sys.argv = ["runq", *given["words"]]
        try:
            code = main()
        except SystemExit as left:
            code = left.code
        except BaseException:
            import traceback; traceback.print_exc(); code = 70
        sys.stdout.flush(); sys.stderr.flush(); os._exit(code or 0)
    code = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
    texts = []
    for file in files[1:]:
        os.lseek(file, 0, 0); texts.append(open(file, "rb").read().decode("utf-8", "replace"))
    os.close(files[0])
    print(json.dumps([code, *texts]), flush=True)
"""


class Faces:
    """Runs verbs in a home."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.home = folder / "home"
        self.environ = {"HOME": str(folder), "PATH": os.environ["PATH"], "RUNQ_HOME": str(self.home)}
        self._forker = subprocess.Popen(
            [sys.executable, "-c", FORKER.format(root=str(ROOT))],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )

    def run(self, *words: str, stdin: str = "") -> tuple[int, str, str]:
        """The exit code, and what was written."""
        assert self._forker.stdin and self._forker.stdout
        given = {"words": words, "stdin": stdin, "environ": self.environ, "folder": str(self.folder)}
        self._forker.stdin.write(json.dumps(given) + "\n")
        self._forker.stdin.flush()
        code, out, err = json.loads(self._forker.stdout.readline())
        assert code != -14, f"{words} hung"
        assert "Traceback" not in err, err
        return code, out, err

    def refuses(self, *words: str) -> str:
        """What a verb says that can do nothing here: one sentence."""
        code, out, err = self.run(*words)
        assert (code, out) == (1, ""), (words, code, out, err)
        assert err.startswith("runq: ") and err.count("\n") == 1, err
        return err

    def close(self) -> None:
        self._forker.communicate()


@pytest.fixture(scope="module")
def good(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A home with jobs and a backup, in which nobody has anything open."""
    folder = tmp_path_factory.mktemp("good") / "home"
    environ = {"HOME": str(folder.parent), "PATH": os.environ["PATH"], "RUNQ_HOME": str(folder)}
    queue = Queue.open(environ)
    queue.submit_all([{"argv": ["true", "x" * 500]} for _ in range(60)])
    from queue_core import safekeeping

    safekeeping.take(queue.home, queue.clock)
    queue.close()
    return folder


@pytest.fixture
def faces(good: Path, tmp_path: Path) -> Iterator[Faces]:
    shutil.copytree(good, tmp_path / "home")
    made = Faces(tmp_path)
    yield made
    made.close()


def newer(path: Path) -> None:
    with closing(sqlite3.connect(path)) as database:
        database.execute(f"PRAGMA user_version = {SCHEMA_VERSION + 1}")


def foreign(path: Path) -> None:
    path.unlink()
    with closing(sqlite3.connect(path)) as database:
        database.execute("CREATE TABLE notes (text)")
        database.execute("INSERT INTO notes VALUES ('dear diary')")
        database.commit()


def text(path: Path) -> None:
    path.write_text("my diary " * 3000)


def folder(path: Path) -> None:
    path.unlink()
    path.mkdir()


def fifo(path: Path) -> None:
    path.unlink()
    os.mkfifo(path)


def link_to_nothing(path: Path) -> None:
    path.unlink()
    path.symlink_to(path.parent.parent / "elsewhere.db")


def link_to_a_foreign_one(path: Path) -> None:
    path.unlink()
    foreign_one = path.parent.parent / "elsewhere.db"
    foreign_one.touch()
    foreign(foreign_one)
    path.symlink_to(foreign_one)


def cut(length: int) -> Callable[[Path], None]:
    return lambda path: os.truncate(path, min(length, path.stat().st_size - 1))


CUTS = (1, 15, 16, 99, 100, 511, 512, 4095, 4096, 4097, 8192, 12_288, 20_480 + 7, 30_001)
HARMS: dict[str, Callable[[Path], None]] = {
    **{harm.__name__: harm for harm in (newer, foreign, text, folder, fifo, link_to_nothing, link_to_a_foreign_one)},
    **{f"cut to {length}": cut(length) for length in CUTS},
}


def content(path: Path) -> Any:
    """All there is to see of a file, and of what it leads to."""
    if path.is_symlink():
        target = Path(os.readlink(path))
        return os.readlink(path), target.read_bytes() if target.exists() else None
    if path.is_file():
        return path.read_bytes()
    return path.lstat().st_mode, path.is_dir() and os.listdir(path)


@pytest.mark.claim("spool")
@pytest.mark.parametrize("harm", HARMS)
def test_what_is_none_of_ours_is_left_as_it_is_and_told_in_one_sentence(faces: Faces, harm: str) -> None:
    path = faces.home / "runq.db"
    HARMS[harm](path)
    before = content(path)
    for words in (
        ("list", "--limit", "1000"),
        ("status",),
        ("add", "--", "true"),
        ("work", "--until-empty"),
        ("cancel", "1"),
    ):
        said = faces.refuses(*words)
        assert str(path) in said, said
        if (harm.startswith("cut") or harm == "text") and "not runq's" not in said:
            assert "`runq backup restore` brings back the newest good backup, manual-" in said
    if harm != "newer":  # which is sound: that it is too new stands in the list of backups
        assert faces.refuses("backup", "now")
    assert faces.run("hook", "--", "true", stdin="{}") == (0, "", "")
    assert len([name for name in os.listdir(faces.home / "spool") if name.endswith(".json")]) == 1
    code, out, err = faces.run("doctor")
    assert (code, err) == (1, "")
    assert "wrong\tdatabase\t" in out
    assert content(path) == before
    claims.tried("file", inputs=8)


@pytest.mark.claim("restore")
@pytest.mark.parametrize("harm", ["text", "cut to 100", "cut to 8192", "folder", "newer"])
def test_after_a_restore_the_hooks_job_is_taken_in_once(faces: Faces, harm: str) -> None:
    HARMS[harm](faces.home / "runq.db")
    faces.run("hook", "--name", "spooled", "--", "true", stdin="{}")
    if harm in ("newer", "folder"):
        path = faces.home / "runq.db"
        path.rename(faces.home / "away")
    assert faces.run("backup", "restore", "--yes")[0] == 0
    for _ in range(2):
        code, out, _ = faces.run("list", "--json", "--limit", "1000")
        assert code == 0
        assert len(json.loads(out)["jobs"]) == 61
    claims.tried("restore", restores=1)


def test_random_harm_to_a_header_is_told_or_harmless_and_never_a_traceback(faces: Faces, good: Path) -> None:
    """SQLite has no checksums of pages: some of what is overwritten cannot be told from what was written."""
    chance = random.Random(20261122)
    path = faces.home / "runq.db"
    told = 0
    for _ in range(25):
        shutil.rmtree(faces.home / "spool", ignore_errors=True)  # what is in there would be taken in first
        shutil.copy(good / "runq.db", path)
        for end in ("-wal", "-shm"):
            path.with_name(path.name + end).unlink(missing_ok=True)
        where = chance.choice((0, 0, 4096, 8192)) + chance.randrange(0, 100)
        with path.open("r+b") as file:
            file.seek(where)
            file.write(chance.randbytes(64))
        before = path.read_bytes()
        for words in (("list",), ("add", "--", "true")):
            code, _, err = faces.run(*words)
            assert code in (0, 1), (where, err)
            assert err.count("\n") == code, err
            if code and words[0] == "list":
                told += 1
                assert path.read_bytes() == before
        assert faces.run("hook", "--", "true", stdin="{}")[0] == 0
    assert told > 5
    claims.tried("file", inputs=75)


def test_a_database_that_was_made_and_never_filled_is_a_new_queue(faces: Faces) -> None:
    os.truncate(faces.home / "runq.db", 0)
    assert faces.run("add", "--", "true")[0] == 0
    home = Home(data=str(faces.home), config=str(faces.home))
    with closing(sqlite3.connect(home.database)) as database:
        assert database.execute("SELECT count(*) FROM jobs").fetchone() == (1,)

"""Fresh folders for everything that is measured, removed slowly and only at the end.

A file that is made on ext4 costs 20 microseconds, but 700 in a block group in which many were removed just before: a
benchmark that tidies up as it goes measures its own tidying.
"""

from __future__ import annotations

import os
import subprocess
import sys
import tempfile
import time

BIN = os.path.dirname(sys.executable)
ROOT = os.path.dirname(os.path.dirname(os.path.abspath(__file__)))
CHUNK = 500  # files that are removed at a time
PAUSE = 0.02  # seconds after each


class Ground:
    """A folder of folders, on the disk that is to be measured."""

    def __init__(self, place: str | None = None) -> None:
        self.root = tempfile.mkdtemp(prefix="runq-bench-", dir=place)
        self._made = 0

    def fresh(self) -> str:
        """An empty folder. Its path is short: sockets lie in some of them."""
        self._made += 1
        folder = f"{self.root}/{self._made}"
        os.mkdir(folder)
        return folder

    def environ(self, folder: str | None = None, **more: str) -> dict[str, str]:
        """The environment of somebody who has nothing but a home and a queue in this folder."""
        home = folder or self.fresh()
        return {"PATH": os.environ["PATH"], "HOME": home, "RUNQ_HOME": f"{home}/queue", **more}

    def close(self) -> None:
        """Remove everything, a chunk at a time."""
        removed = 0
        for folder, names, files in os.walk(self.root, topdown=False):
            for name in files + [name for name in names if os.path.islink(f"{folder}/{name}")]:
                _ignore_missing(os.unlink, f"{folder}/{name}")
                removed += 1
                if removed % CHUNK == 0:
                    time.sleep(PAUSE)
            _ignore_missing(os.rmdir, folder)


def _ignore_missing(remove: object, path: str) -> None:
    """Workers and keepers that leave may be removing the same."""
    try:
        remove(path)  # type: ignore[operator]
    except OSError:
        pass


def runq(env: dict[str, str], *arguments: str, timeout: float = 300) -> str:
    """Run `runq` to its end; what it printed."""
    done = subprocess.run(
        [f"{BIN}/runq", *arguments],
        env=env,
        cwd=env["HOME"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=timeout,
        check=True,
    )
    return done.stdout.decode()

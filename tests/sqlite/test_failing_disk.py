"""A disk that takes what is written and fails to make it durable: what was refused is not there afterwards.

The sync that fails is injected into the real process by strace, which a machine may lack or forbid.
"""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests import claims
from tests.helpers import short_folder

ROOT = str(Path(__file__).parents[2])
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

"""A worker that is killed while it masks a large output: the next one masks the rest, and the true end counts."""

from __future__ import annotations

import sys

import pytest

from queue_core.keeper import processes
from tests import claims
from tests.helpers import wait_until

from .conftest import PATIENCE, Rig

pytestmark = [pytest.mark.claim("twice"), pytest.mark.claim("truth")]

SECRET = b"ghp_" + b"a1B2c3D4e5" * 3 + b"f6G7h8"
LINE = SECRET + b" " + b"x" * 958 + b"\n"
LINES = 10_000  # of 1000 bytes
WRITE = f"import sys; [sys.stdout.buffer.write({LINE!r} * 100) for _ in range({LINES // 100})]; sys.exit(3)"


# A worker that stops itself in the middle, so that it cannot be done before it is killed.
STOPS_HALF_WAY = """
import os, signal, sys
import queue_core.outcomes as outcomes
write_pages, written = outcomes._write_pages, []
def write_and_stop(*args):
    write_pages(*args)
    written.append(args)
    if len(written) == 2:
        os.kill(os.getpid(), signal.SIGSTOP)
outcomes._write_pages = write_and_stop
from queue_core.launch import main
sys.argv = ["runq", "work"]
sys.exit(main())
"""


def test_a_worker_killed_while_it_masks_leaves_the_rest_to_the_next(rig: Rig) -> None:
    assert len(LINE) == 1000
    job = rig.add("--retries", "0", "--", sys.executable, "-I", "-S", "-c", WRITE)
    worker = rig.start_program(sys.executable, "-c", STOPS_HALF_WAY)
    wait_until(lambda: processes.stopped(worker.pid), "it masks", PATIENCE)
    path = rig.run_dir(job) / "output"
    half = path.read_bytes()
    assert half.count(SECRET) > 0 and half.count(b"*" * 36) > 0, "it was stopped in the middle"
    assert rig.state(job) == "running"
    worker.kill()
    heir = rig.worker()
    rig.reaches(job, "dead")
    assert rig.outcomes(job) == [("exited", 3)]
    whole = path.read_bytes()
    assert whole == LINE.replace(SECRET, b"ghp_" + b"*" * 36) * LINES
    assert SECRET not in rig.job(job).attempts[0].tail
    assert heir.popen.poll() is None
    claims.tried("twice", kills=1)

"""A keeper whose wall clock jumps by years: time-outs and graces count seconds that the machine was awake."""

from pathlib import Path

import pytest

from queue_core.keeper import boot, protocol, records

from .conftest import Rig

pytestmark = pytest.mark.claim("sleep")

YEAR = 365.25 * 24 * 3600
# Around the real keeper, before it is loaded: how far its wall clock is off stands in a file.
SHIFTED = """
import time
real = time.time
def shifted():
    try:
        with open({path!r}) as file:
            return real() + float(file.read())
    except OSError:
        return real()
time.time = shifted
"""


@pytest.mark.parametrize("years", [-40, 40])
def test_no_jump_of_the_wall_clock_ends_a_command_or_saves_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, years: int
) -> None:
    clock = tmp_path / "clock"
    monkeypatch.setattr(boot, "_CODE", SHIFTED.format(path=str(clock)) + boot._CODE)  # pyright: ignore[reportPrivateUsage]
    rig = Rig(tmp_path)
    rig.sh(1, "echo ready; while [ ! -e go ]; do sleep 0.02; done; exit 5", timeout=3600.0)
    rig.said(1, b"ready")
    rig.sh(2, "echo ready; exec sleep 60", timeout=1.0, grace=0.1)
    rig.sh(3, "trap '' TERM; echo ready; while :; do sleep 0.02; done", grace=0.3)
    rig.said(3, b"ready")
    clock.write_text(str(years * YEAR))
    rig.send(protocol.end((3, 1), "cancelled"))
    assert rig.end(3).reason == "cancelled"
    assert rig.end(2).reason == "timed_out"
    (rig.home / "go").touch()
    end = rig.end(1)
    assert (end.status, end.reason) == (0x500, None)
    start = rig.record(1).start
    assert start and (end.ended_at < start.started_at) == (years < 0)  # as the wall clock had it; nobody relies on it
    assert records.read(str(rig.run_dir(1))) is not None
    rig.hang_up()
    rig.wait()

"""An output above its cap keeps its beginning and its end, and says what is missing."""

import os
from pathlib import Path

import pytest

from queue_core.keeper import output as outputs
from queue_core.keeper.output import Output
from tests.helpers import wait_until

from .conftest import Rig

pytestmark = pytest.mark.claim("processes")


@pytest.fixture
def file(tmp_path: Path) -> Path:
    path = tmp_path / "output"
    path.touch()
    return path


def follow(file: Path, cap: int | None, chunks: list[bytes]) -> tuple[int, int]:
    """Write like a command, and let the keeper look after each chunk."""
    fd = os.open(file, os.O_RDWR)
    try:
        kept = Output(fd, cap)
        for chunk in chunks:
            with file.open("ab") as command:
                command.write(chunk)
            kept.trim()
        return kept.close_up()
    finally:
        os.close(fd)


def text(start: int, length: int) -> bytes:
    return b"".join(b"%09d\n" % number for number in range(start, start + length // 10))


@pytest.mark.parametrize("cap", [None, 1000, 1001, 10_000])
def test_an_output_within_its_cap_stays_as_it_is(file: Path, cap: int | None) -> None:
    content = text(0, 1000)
    assert follow(file, cap, [content[:500], content[500:]]) == (1000, 0)
    assert file.read_bytes() == content


@pytest.mark.parametrize("cap", [0, 1, 100, 4096, 20_000, 100_001, 299_000, 299_950])
@pytest.mark.parametrize("pieces", [1, 3, 60])
def test_head_and_tail_stay_around_a_marker(file: Path, cap: int, pieces: int) -> None:
    content = text(0, 300_000)
    size = len(content) // pieces
    written, cut = follow(file, cap, [content[at : at + size] for at in range(0, len(content), size)])
    assert (written, cut) == (300_000, 300_000 - cap)
    head = content[: cap // 2]
    tail = content[len(content) - (cap - cap // 2) :]
    assert file.read_bytes() == head + b"\n[runq: %d bytes cut here]\n" % cut + tail


def test_cutting_less_than_the_marker_takes_is_not_worth_it(file: Path) -> None:
    content = text(0, 1000)
    assert follow(file, 990, [content]) == (1000, 0)
    assert file.read_bytes() == content


def test_a_hole_gives_the_disk_its_blocks_back(file: Path) -> None:
    fd = os.open(file, os.O_RDWR)
    kept = Output(fd, 64 * 1024)
    for number in range(20):
        with file.open("ab") as command:
            command.write(text(number, 1_000_000))
        assert kept.trim()
    assert file.stat().st_size == 20_000_000
    assert file.stat().st_blocks * 512 < 200_000
    assert not kept.trim()
    os.close(fd)


def test_without_holes_the_head_stays_and_all_is_counted(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(outputs, "punch", lambda *_: False)
    content = text(0, 300_000)
    written, cut = follow(file, 20_000, [content[at : at + 25_000] for at in range(0, 300_000, 25_000)])
    assert written == 300_000
    kept = file.read_bytes()
    head, marker, tail = kept.partition(b"\n[runq: %d bytes cut here]\n" % cut)
    assert marker and head == content[:10_000] and content.endswith(tail)
    assert len(head) + len(tail) == 300_000 - cut <= 20_000


def test_a_disk_without_room_for_closing_up_leaves_a_true_head(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*_: object) -> None:
        raise OSError("no space left on device")

    monkeypatch.setattr(outputs, "_move", full)
    content = text(0, 100_000)
    assert follow(file, 20_000, [content]) == (100_000, 90_000)
    assert file.read_bytes() == content[:10_000]


def test_a_flood_stays_near_its_cap_and_its_ends_are_right(rig: Rig) -> None:
    cap = 1_000_000
    rig.sh(1, "echo first; yes | head -c 300000000; until [ -e go ]; do sleep 0.02; done; echo last", cap=cap)
    path = rig.run_dir(1) / "output"
    wait_until(lambda: path.exists() and path.stat().st_size > 290_000_000, "the flood is over")
    wait_until(lambda: path.stat().st_blocks * 512 < 2 * cap, "the middle has gone from the disk")
    (rig.home / "go").touch()
    end = rig.end(1)
    assert end.status == 0
    assert end.output_bytes == len("first\n") + 300_000_000 + len("last\n")
    assert end.cut_bytes == end.output_bytes - cap
    kept = rig.output(1)
    assert kept.startswith(b"first\ny\ny\n") and kept.endswith(b"y\ny\nlast\n")
    head, _, tail = kept.partition(b"\n[runq: %d bytes cut here]\n" % end.cut_bytes)
    assert len(head) == len(tail) == cap // 2
    assert set((head + tail).replace(b"first", b"").replace(b"last", b"")) == set(b"y\n")

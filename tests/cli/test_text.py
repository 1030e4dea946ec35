"""The words of the command line, and the reader of growing files: small pure parts."""

import os
import subprocess
from pathlib import Path

import pytest

from queue_core.cli.reading import GrowingOutput, marker, start_of_last
from queue_core.cli.text import ago, columns, duration, printable, quoted, readable, size

AWKWARD = [
    "",
    "plain",
    "two words",
    "it's",
    '"',
    "a\nb",
    "tab\t'",
    "\\",
    "\x1b[2J",
    "ü",
    "\u202e",
    "\udcff",
    "\u2800",
    "\u3164x",
    "-x",
    "$HOME",
    "\x07" + "f",
]


@pytest.mark.parametrize("argument", AWKWARD)
def test_a_quoted_command_means_the_same_to_a_shell(argument: str):
    line = quoted(["printf", "%s", argument])
    assert line.isprintable()
    said = subprocess.run(["bash", "-c", line], capture_output=True, check=True, env={"LC_ALL": "C.UTF-8"}).stdout
    assert said == os.fsencode(argument)


def test_what_is_not_printable_is_shown():
    assert printable("a\tb\x00\x85\u2028\U000e0001") == "a\\tb\\x00\\x85\\u2028\\U000e0001"
    assert printable("a\u2800b\ufe0f\U0001d159") == "a\\u2800b\\ufe0f\\U0001d159"
    assert columns(None, "", True, 0, "a\tb") == "-\t-\ttrue\t0\ta\\tb"
    assert readable("10%\r50%\r\x1b[32m100%\x1b[0m\r") == "100%"


@pytest.mark.parametrize(
    ("seconds", "words"),
    [
        (0.0421, "42 ms"),
        (1, "1 s"),
        (89, "89 s"),
        (119, "2 min"),
        (120, "2 min"),
        (7160, "119 min"),
        (7199, "2 h"),
        (172_790, "2 d"),
        (200_000, "2 d"),
    ],
)
def test_durations(seconds: float, words: str):
    assert duration(seconds) == words


@pytest.mark.parametrize(("seconds", "words"), [(0.0, "just now"), (0.99, "just now"), (1.0, "1 s ago")])
def test_how_long_ago_something_was(seconds: float, words: str):
    assert ago(seconds) == words


def test_sizes():
    assert [size(count) for count in (0, 1023, 1024, 3 << 20, 5 << 30)] == [
        "0 B",
        "1023 B",
        "1.0 KiB",
        "3.0 MiB",
        "5.0 GiB",
    ]


def test_the_last_lines_are_found_over_long_distances(tmp_path: Path):
    path = tmp_path / "long"
    lines = [b"x" * 1000 + b"%d" % number for number in range(2000)]
    path.write_bytes(b"\n".join(lines) + b"\n")
    descriptor = os.open(path, os.O_RDONLY)
    for wanted in (1, 300, 1999, 2000, 5000):
        start = start_of_last(descriptor, wanted)
        assert path.read_bytes()[start:].splitlines() == lines[-wanted:]
    os.close(descriptor)


class Growing:
    """A file as a keeper leaves it, and somebody who reads along."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.reader = GrowingOutput(str(path))

    def write(self, content: bytes) -> None:
        with self.path.open("ab") as file:
            file.write(content)

    def new(self) -> bytes:
        return b"".join(self.reader.new())

    def close_up(self, head: bytes, cut: int, tail: bytes) -> None:
        self.path.write_bytes(head + marker(cut) + tail)

    def rest(self, written: int, cut: int = 0) -> bytes:
        return b"".join(self.reader.rest(written=written, cut=cut))


@pytest.fixture
def growing(tmp_path: Path) -> Growing:
    return Growing(tmp_path / "output")


def test_nothing_comes_before_the_file_is_there(growing: Growing):
    assert growing.new() == b""
    growing.write(b"one")
    assert growing.new() == b"one"
    growing.write(b"two")
    assert (growing.rest(written=6), growing.new()) == (b"two", b"")


def test_who_has_read_into_the_tail_goes_on_there_after_the_closing_up(growing: Growing):
    growing.write(b"h" * 100 + b"m" * 800 + b"tail begins, ")
    growing.new()
    growing.close_up(b"h" * 100, 800, b"tail begins, tail ends")
    assert growing.new() == b""  # shorter than what was read: wait for the end
    assert growing.rest(written=922, cut=800) == b"tail ends"


def test_who_has_read_into_the_cut_part_sees_the_marker_and_the_tail(growing: Growing):
    growing.write(b"h" * 100 + b"m" * 10)
    growing.new()
    growing.close_up(b"h" * 100, 800, b"tail")
    assert growing.rest(written=904, cut=800) == marker(800) + b"tail"


def test_who_has_read_a_part_of_the_head_gets_all_the_rest(growing: Growing):
    growing.write(b"h" * 50)
    growing.new()
    growing.close_up(b"h" * 100, 800, b"tail")
    assert growing.rest(written=904, cut=800) == b"h" * 50 + marker(800) + b"tail"


def test_a_file_that_was_cut_and_grows_again_is_read_on(growing: Growing):
    growing.write(b"h" * 100 + b"m" * 800)
    growing.new()
    os.truncate(growing.path, 100)
    assert growing.new() == b""
    growing.write(b"more")
    assert growing.new() == b"more"


def test_a_hole_is_shown_as_what_was_cut(growing: Growing):
    block = 1 << 16
    with growing.path.open("wb") as file:
        file.write(b"head" + b"." * (block - 4))
        file.seek(4 * block)
        file.write(b"tail")
    if growing.path.stat().st_blocks * 512 >= 4 * block:
        pytest.skip("this file system keeps no holes")
    assert growing.new() == b"head" + b"." * (block - 4) + marker(3 * block) + b"tail"

"""Untrusted output as text: what is hidden, where a character ends, searching without holding it all."""

import sys
import tracemalloc
import unicodedata

import pytest

from mcp_server.text import BLOCK, clean, enclosed, head_and_tail, piece, quoted, search


class Bytes:
    """An output in memory that notes how much of it was asked for at once."""

    def __init__(self, content: bytes) -> None:
        self.content = content
        self.size = len(content)
        self.largest = 0

    def read(self, offset: int, length: int) -> bytes:
        self.largest = max(self.largest, length)
        return self.content[offset : offset + length]


def test_every_control_and_format_character_of_unicode_is_taken_out() -> None:
    hidden = [chr(code) for code in range(sys.maxunicode + 1) if unicodedata.category(chr(code)) in ("Cc", "Cf")]
    assert clean("".join(one for one in hidden if one not in "\n\t\r")) == ""
    assert clean("a\tb\nc ä€𝄞") == "a\tb\nc ä€𝄞"


@pytest.mark.parametrize(
    ("text", "seen"),
    [
        ("\x1b[1;31mred\x1b[m", "red"),
        ("\x1b]8;;http://x\x1b\\link\x1b]8;;\x07", "link"),
        ("\x1b(Bplain\x1bc\x1b=", "plain"),
        ("\x1bPdata\x1b\\rest", "rest"),
        ("\x1b]never closed\nthe text", "]never closed\nthe text"),
        ("\x1bPnever closed\nthe text", "Pnever closed\nthe text"),
        ("one\r\ntwo\rthree", "one\ntwo\nthree"),
        ("\x9b31mC1", "31mC1"),
        ("\x1b]8;id=1;file:///etc\x07here\x1b]8;;\x1b\\ it is", "here it is"),
        ("\x1b]0;a title\x07\x1b]52;c;cGFzdGU=\x07\x1b]1337;File=:eA==\x07x", "x"),
        ("\x1b[2J\x1b[1;1H\x1b[8mhidden\x1b[28m\x1b[?1049h\x1b[38;2;1;2;3mx\x1b[0K", "hiddenx"),
        ("\x1bP1$r0m\x1b\\\x1b_Gf=100;AAAA\x1b\\\x1b^pm\x1b\\\x1bXsos\x1b\\x", "x"),
        ("\x1b\x1b[31m[31mx", "[31mx"),
        ("\x1b]8;;a\x1b]8;;b\x07x", "]8;;ax"),
        ("good\rbad!\n", "good\nbad!\n"),
        ("pass\b\b\b\bfail\x7f", "passfail"),
        ("a\u202eb\u2066c\u2069d\u200fe\u061cf", "abcdef"),
        ("i\U000e0067\U000e0001\U000e007fgn", "ign"),
        ("a\ufe0fb\U000e0101c\u180bd\U000e01ef", "abcd"),
        ("a\u200bb\u200cc\u200dd\u2060e\ufefff\u00adg\u034fh", "abcdefgh"),
        ("a\u115fb\u3164c\uffa0d\u17b4e\u2800\U0001d159", "abcde"),
    ],
)
def test_control_sequences_go_and_the_text_behind_unclosed_ones_stays(text: str, seen: str) -> None:
    assert clean(text) == seen


def test_hostile_sequences_cost_no_more_than_their_length() -> None:
    assert len(clean("\x1bP" * 500_000)) == 500_000
    assert len(clean("\x1b[" + "0" * 1_000_000)) == 1_000_001


@pytest.mark.parametrize("budget", range(4, 12))
def test_pieces_put_together_are_the_whole(budget: int) -> None:
    text = "aä€𝄞" * 10
    output, whole, start = Bytes(text.encode()), "", 0
    while start < output.size:
        part = piece(output, start, budget)
        assert len(part.text) <= budget
        whole, start = whole + part.text, part.end
    assert whole == text


def test_bytes_that_are_no_text_do_not_hold_up_the_pages() -> None:
    output = Bytes(b"\xff\xf0" * 20)
    start, pages = 0, 0
    while start < output.size:
        after = piece(output, start, 4).end
        assert after > start
        start, pages = after, pages + 1
    assert pages <= 20


def test_a_search_never_holds_a_large_output_in_memory() -> None:
    line = b"some line of a build log that does not matter\n"
    output = Bytes(line * 200_000 + b"the needle\n" + line * 10)
    tracemalloc.start()
    found = search(output, "needle", 0, 1000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert (found.text, found.total, found.shown) == ("the needle", 1, 1)
    assert output.largest <= BLOCK and peak < 16 * BLOCK < output.size


def test_a_search_gives_the_last_lines_that_fit_and_counts_all() -> None:
    output = Bytes(b"".join(b"hit %d\n" % number for number in range(1000)) + b"hit last")
    found = search(output, "hit", 0, 20)
    assert (found.text, found.total, found.shown) == ("hit 999\nhit last", 1001, 2)
    assert search(output, "hit", output.size - 8, 100).total == 1


def test_a_search_of_a_line_without_end_is_bounded_and_shows_where() -> None:
    found = search(Bytes(b"x" * (3 * BLOCK) + b"needle" + b"y" * BLOCK), "needle", 0, 16_000)
    assert found.total == 1 and "needle" in found.text and len(found.text) < 1100


@pytest.mark.parametrize("size", [17, 40, 100])
def test_beginning_and_end_lose_nothing_but_what_they_say(size: int) -> None:
    text = "".join(chr(97 + number % 26) for number in range(size))
    shown, left_out = head_and_tail(Bytes(text.encode()), 16)
    head, gap, tail = shown.split("\n")
    assert (head, tail) == (text[:4], text[-12:])
    assert left_out == size - 16 and f" {left_out} bytes" in gap


def test_beginning_and_end_cut_no_character_in_two() -> None:
    shown, _ = head_and_tail(Bytes("ä€𝄞".encode() * 100), 64)
    assert "\ufffd" not in shown


def test_a_boundary_is_another_each_time_and_stands_before_and_after() -> None:
    one, other = enclosed("x", "y").splitlines(), enclosed("x", "y").splitlines()
    assert one[1] == other[1] == "x" and one[0] != other[0] and one[2] != other[2]


@pytest.mark.parametrize(
    ("text", "shown"),
    [
        ("plain ä", '"plain ä"'),
        ('a"b\\', '"a\\"b\\\\"'),
        ("a\nb\tc", '"a\\nb\\tc"'),
        ("\u2028\u00a0\u202e\u3164\udcff", '"\\u2028\\u00a0\\u202e\\u3164\\udcff"'),
        ("\\u200b", '"\\\\u200b"'),
    ],
)
def test_a_quoted_text_is_one_line_on_which_everything_is_seen(text: str, shown: str) -> None:
    assert quoted(text) == shown

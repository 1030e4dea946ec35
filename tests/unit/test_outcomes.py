"""From a recorded end to an outcome: raw wait statuses become words."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from queue_core import outcomes
from queue_core.keeper.records import End, Record, Start

if TYPE_CHECKING:
    from pathlib import Path

EXITED_3, KILLED = 3 << 8, 9


@pytest.mark.parametrize(
    ("end", "kind", "exit_code", "signal", "success"),
    [
        ({"status": 0}, "exited", 0, None, True),
        ({"status": EXITED_3}, "exited", 3, None, False),
        ({"status": 137 << 8}, "exited", 137, None, False),
        ({"status": KILLED}, "signalled", None, 9, False),
        ({"status": KILLED | 0x80}, "signalled", None, 9, False),
        ({"status": KILLED, "reason": "timed_out"}, "timed_out", None, 9, False),
        ({"status": 0, "reason": "timed_out"}, "timed_out", 0, None, False),
        ({"status": 15, "reason": "cancelled"}, "cancelled", None, 15, False),
        ({"status": 15, "reason": "interrupted"}, "interrupted", None, 15, False),
        ({"status": None, "error": "no such program"}, "spawn_failed", None, None, False),
    ],
)
def test_each_end_has_its_outcome(
    end: dict[str, Any], kind: str, exit_code: int | None, signal: int | None, success: bool
) -> None:
    outcome = outcomes.of_end(End(**end), started_at=1.0, tail=b"t")
    assert (outcome.kind, outcome.exit_code, outcome.signal, outcome.success) == (kind, exit_code, signal, success)
    assert outcome.error == end.get("error")


def test_everything_measured_is_passed_on() -> None:
    measured = {"user_seconds": 0.5, "system_seconds": 0.25, "output_bytes": 10, "cut_bytes": 3}
    outcome = outcomes.of_end(End(status=0, ended_at=9.0, max_rss=1024, **measured), started_at=8.0, tail=b"end")
    assert {name: getattr(outcome, name) for name in measured} == measured
    assert (outcome.started_at, outcome.finished_at, outcome.max_rss_kib, outcome.tail) == (8.0, 9.0, 1024, b"end")


def test_a_command_that_was_never_spawned_says_when_and_why() -> None:
    outcome = outcomes.of_end(End(error="no such program", ended_at=9.0), started_at=None, tail=b"")
    assert (outcome.error, outcome.finished_at, outcome.started_at) == ("no such program", 9.0, None)


def test_a_lost_attempt_began_when_its_record_says_if_there_is_one() -> None:
    start = Start(job=1, claim=1, keeper="k", boot_id="b", pid_namespace=1, started_at=5.0)
    assert outcomes.lost(Record(start=start), tail=b"t", now=9.0).started_at == 5.0
    outcome = outcomes.lost(None, tail=b"t", now=9.0)
    assert (outcome.kind, outcome.started_at, outcome.finished_at, outcome.tail) == ("lost", None, 9.0, b"t")


class TestTail:
    @pytest.mark.parametrize(("size", "tail"), [(3, b"fgh"), (8, b"abcdefgh"), (99, b"abcdefgh")])
    def test_it_is_the_last_bytes_of_the_output(self, tmp_path: Path, size: int, tail: bytes) -> None:
        (tmp_path / "output").write_bytes(b"abcdefgh")
        assert outcomes.tail_of(str(tmp_path), size) == tail

    def test_without_output_it_is_empty(self, tmp_path: Path) -> None:
        assert outcomes.tail_of(str(tmp_path)) == b""

    def test_a_link_is_not_followed(self, tmp_path: Path) -> None:
        (tmp_path / "secret").write_text("secret")
        (tmp_path / "output").symlink_to(tmp_path / "secret")
        assert outcomes.tail_of(str(tmp_path)) == b""

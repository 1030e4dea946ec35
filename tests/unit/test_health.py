"""Health's level at its edges, and how far each caller may fill the queue."""

from __future__ import annotations

import pytest

from queue_core.health import EXIT_CODES, level, limit_for, usage


@pytest.mark.parametrize(
    ("pending", "expected"),
    [(0, "ok"), (799, "ok"), (800, "warning"), (999, "warning"), (1000, "error"), (1001, "error")],
)
def test_the_level_changes_at_80_and_100_percent(pending: int, expected: str) -> None:
    assert level(pending, 1000) == expected


@pytest.mark.parametrize(("pending", "expected"), [(0, "ok"), (1, "error")])
def test_a_queue_for_one_job_is_either_empty_or_full(pending: int, expected: str) -> None:
    assert level(pending, 1) == expected


def test_usage_is_a_share_of_the_capacity() -> None:
    assert usage(250, 1000) == 0.25


def test_each_level_has_the_exit_code_that_was_promised() -> None:
    assert EXIT_CODES == {"ok": 0, "warning": 1, "error": 2}


@pytest.mark.parametrize(("caller", "limit"), [("agent", 100), ("person", 1000), ("hook", 1000)])
def test_only_agents_are_held_to_the_capacity_itself(caller: str, limit: int) -> None:
    assert limit_for(caller, 100) == limit

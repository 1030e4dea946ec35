"""Figures: percentiles by nearest rank, sums that agree, and where a window begins."""

from __future__ import annotations

import calendar
from typing import TYPE_CHECKING, Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queue_core.errors import UsageError
from queue_core.figures import (
    DAY,
    MOST_PROGRAMS,
    Attempted,
    Counts,
    Kept,
    Timed,
    Work,
    beginning,
    percentile,
    report,
    spread,
)
from queue_core.model import STATES

if TYPE_CHECKING:
    from collections.abc import Sequence

NOW = 1_800_000_000.0
FOR_EVER = Kept(since=0.0, count=10**9)


def naive(values: Sequence[float], percent: int) -> float:
    """By its definition: the smallest value that at least so many of a hundred values do not exceed."""
    return min(value for value in values if sum(other <= value for other in values) * 100 >= percent * len(values))


class TestPercentile:
    @given(st.lists(st.floats(0, 1e6), min_size=1, max_size=250), st.integers(1, 100))
    def test_it_is_what_its_definition_says(self, values: list[float], percent: int) -> None:
        assert percentile(sorted(values), percent / 100) == naive(values, percent)

    @pytest.mark.parametrize(
        ("count", "share", "value"),
        [(1, 0.5, 1), (2, 0.5, 1), (3, 0.5, 2), (4, 0.5, 2), (10, 0.9, 9), (11, 0.9, 10), (100, 0.99, 99), (9, 1.0, 9)],
    )
    def test_by_hand(self, count: int, share: float, value: int) -> None:
        assert percentile(range(1, count + 1), share) == value

    def test_a_spread_leaves_out_what_is_not_known_and_is_empty_without_anything(self) -> None:
        assert spread([3.0, None, 1.0, 2.0]) == {"p50": 2.0, "p90": 3.0, "p99": 3.0, "max": 3.0}
        assert spread([None]) == {"p50": None, "p90": None, "p99": None, "max": None}


def work(program: str = "/bin/a", queue: str = "q", handler: str | None = None) -> Work:
    return Work(queue=queue, program=program, handler=handler)


def attempted(of: Work, count: int = 1, outcome: str = "exited", **more: Any) -> Attempted:
    return Attempted(work=of, outcome=outcome, count=count, **{"failed": False, "retries": 0, "seconds": 0.0, **more})


def counts(**given: Any) -> Counts:
    nothing: dict[str, Any] = {
        "added": [],
        "ended": [],
        "attempted": [],
        "timed": [],
        "now": dict.fromkeys(STATES, 0),
        "kept_ended": 0,
    }
    return Counts(**{**nothing, **given})


def reported(found: Counts, *, hours: float = 24.0, kept: Kept = FOR_EVER) -> dict[str, Any]:
    return report(found, since=NOW - hours * 3600, until=NOW, queue=None, kept=kept)


class TestReport:
    def test_nothing_at_all_is_zeros_and_nulls(self) -> None:
        view = reported(counts())
        assert view["jobs"] == {"added": 0, "succeeded": 0, "dead": 0, "cancelled": 0}
        assert (view["attempts"], view["retry_rate"], view["ran"]["p50"]) == (0, None, None)
        assert (view["queues"], view["programs"], view["other_programs"]) == ({}, [], None)

    def test_all_queues_and_programs_are_sums_of_their_parts(self) -> None:
        a, b, c = work(), work("/bin/b"), work(queue="r")
        view = reported(
            counts(
                added=[(a, 4), (c, 2)],
                ended=[(a, "succeeded", 3), (b, "dead", 1), (c, "succeeded", 2)],
                attempted=[
                    attempted(a, 3, retries=1, seconds=6.0),
                    attempted(b, 2, "timed_out", failed=True, seconds=4.0),
                    attempted(c, 3, "exited", failed=True, retries=2),
                ],
                timed=[Timed(work=a, waited=1.0, ran=2.0), Timed(work=b, waited=3.0, ran=None)],
            ),
            hours=2.0,
        )
        assert view["jobs"] == {"added": 6, "succeeded": 5, "dead": 1, "cancelled": 0}
        assert view["jobs_per_hour"] == {"added": 3.0, "succeeded": 2.5, "dead": 0.5, "cancelled": 0.0}
        assert (view["attempts"], view["failed"], view["retries"], view["retry_rate"]) == (8, 5, 3, 0.375)
        assert view["outcomes"] == {"exited": 6, "timed_out": 2}
        assert (view["waited"]["max"], view["ran"]["max"], view["ran_in_all"]) == (3.0, 2.0, 10.0)
        assert view["queues"]["q"]["jobs"]["succeeded"] == 3
        assert view["queues"]["r"]["attempts"] == 3
        assert [(one["program"], one["ran_in_all"], one["attempts"]) for one in view["programs"]] == [
            ("/bin/a", 6.0, 6),
            ("/bin/b", 4.0, 2),
        ]

    def test_jobs_for_handlers_are_told_apart_by_handler(self) -> None:
        view = reported(counts(added=[(work("", handler="mail"), 1), (work("", handler="scan"), 2)]))
        assert [(one["program"], one["handler"]) for one in view["programs"]] == [(None, "scan"), (None, "mail")]

    def test_beyond_the_busiest_programs_the_others_are_summed_up(self) -> None:
        many = [
            attempted(work(f"/bin/{n:03d}"), seconds=float(n), count=2, retries=1) for n in range(MOST_PROGRAMS + 3)
        ]
        view = reported(counts(attempted=many))
        assert [one["ran_in_all"] for one in view["programs"]] == [float(n) for n in range(MOST_PROGRAMS + 2, 2, -1)]
        others = view["other_programs"]
        assert (others["programs"], others["attempts"], others["retries"], others["ran_in_all"]) == (3, 6, 3, 3.0)

    def test_it_says_when_times_are_those_of_a_part(self) -> None:
        timed = [Timed(work=work(), waited=1.0, ran=1.0)]
        assert not reported(counts(attempted=[attempted(work(), 2)], timed=timed))["all_timed"]
        assert reported(counts(attempted=[attempted(work(), 1)], timed=timed))["all_timed"]

    def test_it_says_when_pruning_may_have_taken_something(self) -> None:
        assert reported(counts(kept_ended=9), kept=Kept(since=NOW - 2 * DAY, count=10))["complete"]
        assert not reported(counts(kept_ended=9), hours=49, kept=Kept(since=NOW - 2 * DAY, count=10))["complete"]
        assert not reported(counts(kept_ended=10), kept=Kept(since=NOW - 2 * DAY, count=10))["complete"]


class TestBeginning:
    @pytest.mark.parametrize(("span", "seconds"), [("90m", 5400.0), ("24h", DAY), ("7d", 7 * DAY)])
    def test_a_span_lies_before_now(self, span: str, seconds: float) -> None:
        assert beginning(span, NOW) == NOW - seconds

    def test_a_time_is_itself_in_every_form(self) -> None:
        then = calendar.timegm((2026, 1, 2, 3, 4, 5))
        for given_time in (float(then), str(then), "2026-01-02T03:04:05Z", "2026-01-02T05:04:05+02:00"):
            assert beginning(given_time, NOW) == then

    @pytest.mark.parametrize(
        "wrong", ["", "h", "0h", "-1h", "1.5h", "24", "3x", "²h", "soon", "99999d", "2099-01-01", NOW, NOW + 1, -5.0]
    )
    def test_what_is_neither_or_no_past_is_refused(self, wrong: float | str) -> None:
        with pytest.raises(UsageError, match="since is a span such as 90m, 24h or 7d, or a time in the past"):
            beginning(wrong, NOW)

    @pytest.mark.parametrize("wrong", [float("nan"), float("inf")])
    def test_nor_is_what_is_no_number(self, wrong: float) -> None:
        with pytest.raises(UsageError):
            beginning(wrong, NOW)

"""Pins: a person's and automatic ones, and who gives way to whom."""

from __future__ import annotations

import pytest

from queue_core.errors import NotAllowed, UnknownJob
from tests.conformance.builders import Bench


def pins(bench: Bench) -> dict[int, str]:
    return {job.id: job.pinned for job in bench.everything() if job.pinned}


def jobs(bench: Bench, count: int) -> list[int]:
    return [bench.add() for _ in range(count)]


class TestTheCap:
    def test_beyond_it_the_oldest_automatic_pin_gives_way(self, bench: Bench) -> None:
        first, second, third, fourth = jobs(bench, 4)
        for job in (second, first, third):
            bench.tick(1)
            assert bench.pin(job, by="automatic", cap=3) == ([(job, "available")], [])
        bench.tick(1)
        assert bench.pin(fourth, by="automatic", cap=3) == ([(fourth, "available")], [second])
        assert set(pins(bench)) == {first, third, fourth}

    def test_all_pins_count_and_a_persons_never_gives_way(self, bench: Bench) -> None:
        mine, theirs, more, last = jobs(bench, 4)
        bench.pin(theirs, by="automatic", cap=2)
        bench.tick(1)
        assert bench.pin(mine, cap=2)[1] == []
        bench.tick(1)
        assert bench.pin(more, cap=2)[1] == [theirs]
        assert bench.pin(last, by="automatic", cap=2)[1] == []  # beyond the cap: nothing is left that could go
        assert pins(bench) == {mine: "person", more: "person", last: "automatic"}

    def test_those_just_set_do_not_give_way_to_one_another(self, bench: Bench) -> None:
        old, *new = jobs(bench, 4)
        bench.pin(old, by="automatic", cap=2)
        assert bench.pin(*new, by="automatic", cap=2)[1] == [old]
        assert set(pins(bench)) == set(new)

    def test_a_pin_that_is_set_again_is_the_newest(self, bench: Bench) -> None:
        first, second, third = jobs(bench, 3)
        for job in (first, second, first):
            bench.tick(1)
            bench.pin(job, by="automatic", cap=2)
        bench.tick(1)
        assert bench.pin(third, by="automatic", cap=2)[1] == [second]

    def test_a_cap_that_is_lowered_takes_as_many_as_are_too_many(self, bench: Bench) -> None:
        first, second, third, fourth = jobs(bench, 4)
        for job in (first, second, third):
            bench.tick(1)
            bench.pin(job, by="automatic", cap=3)
        assert bench.pin(fourth, cap=2)[1] == [first, second]
        assert pins(bench) == {third: "automatic", fourth: "person"}


class TestWhose:
    def test_an_automatic_pin_leaves_a_persons_as_it_is(self, bench: Bench) -> None:
        job, other = jobs(bench, 2)
        bench.pin(job)
        bench.pin(job, by="automatic")
        assert pins(bench) == {job: "person"}
        assert bench.pin(other, cap=1)[1] == []

    def test_a_person_makes_an_automatic_pin_their_own(self, bench: Bench) -> None:
        job = bench.add()
        bench.pin(job, by="automatic")
        bench.pin(job)
        assert pins(bench) == {job: "person"}

    def test_a_persons_pin_is_a_persons_to_take_off(self, bench: Bench) -> None:
        mine, theirs = jobs(bench, 2)
        bench.pin(mine)
        bench.pin(theirs, by="automatic")
        with pytest.raises(NotAllowed, match=f"job {mine} was pinned by a person"):
            bench.unpin(theirs, mine, by="automatic")
        assert pins(bench) == {mine: "person", theirs: "automatic"}
        assert bench.unpin(theirs, by="automatic") == [(theirs, "available")]
        assert bench.unpin(mine) == [(mine, "available")]
        assert pins(bench) == {}

    @pytest.mark.parametrize("by", ["person", "automatic"])
    def test_an_unknown_job_changes_nothing(self, bench: Bench, by: str) -> None:
        pinned, free = jobs(bench, 2)
        bench.pin(pinned, by="automatic")
        with pytest.raises(UnknownJob):
            bench.pin(free, 999, by=by, cap=1)  # pyright: ignore[reportArgumentType]
        with pytest.raises(UnknownJob):
            bench.unpin(pinned, 999, by=by)  # pyright: ignore[reportArgumentType]
        assert pins(bench) == {pinned: "automatic"}

    @pytest.mark.parametrize("by", ["person", "automatic"])
    def test_either_spares_from_pruning(self, bench: Bench, by: str) -> None:
        pinned, other = bench.added_and_run(), bench.added_and_run()
        bench.pin(pinned, by=by)  # pyright: ignore[reportArgumentType]
        bench.tick(1)
        assert bench.prune() == [other]

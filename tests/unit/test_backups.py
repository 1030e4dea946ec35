"""When a backup is due, how it is called, which one goes: at given times, in given places."""

from __future__ import annotations

from datetime import datetime
from zoneinfo import ZoneInfo

import pytest

from queue_core import backups
from queue_core.backups import Backup, described, last_time, name_of, nightly_due, rotated_out, snapshot_due

BERLIN = ZoneInfo("Europe/Berlin")  # on 2026-03-29 there is no 02:30, on 2026-10-25 it comes twice
LONG_AGO = 0.0


def at(text: str, *, fold: int = 0) -> float:
    """A time on a clock in Berlin, in seconds since the epoch."""
    return datetime.fromisoformat(text).replace(tzinfo=BERLIN, fold=fold).timestamp()


def due(now: str, *taken: str, since: str | None = None, wanted: str = "03:00", fold: int = 0) -> bool:
    return nightly_due(
        at(now, fold=fold),
        [at(one) for one in taken],
        since=LONG_AGO if since is None else at(since),
        at=wanted,
        zone=BERLIN,
    )


class TestTheNightlyBackup:
    @pytest.mark.parametrize(
        ("now", "taken", "expected"),
        [
            ("2026-11-22 02:59:59", "2026-11-21 03:00:00", False),
            ("2026-11-22 03:00:00", "2026-11-21 03:00:00", True),
            ("2026-11-22 03:00:03", "2026-11-22 03:00:01", False),  # taken a moment ago
            ("2026-11-22 23:00:00", "2026-11-22 03:00:01", False),
            ("2026-11-22 09:00:00", "2026-11-20 03:00:00", True),  # the machine was off: it catches up
            ("2026-11-22 03:00:00", "2026-11-21 09:00:00", False),  # yesterday's came late: no two within 23 hours
            ("2026-11-22 08:00:00", "2026-11-21 09:00:00", True),
        ],
    )
    def test_it_is_due_once_the_hour_has_passed_and_the_newest_is_old_enough(
        self, now: str, taken: str, expected: bool
    ) -> None:
        assert due(now, taken) is expected

    def test_without_any_the_first_is_due_at_the_first_such_hour_after_backups_began(self) -> None:
        assert not due("2026-11-22 02:00", since="2026-11-21 10:00")
        assert due("2026-11-22 03:00", since="2026-11-21 10:00")
        assert due("2026-11-25 17:00", since="2026-11-21 10:00")

    def test_without_an_hour_none_is_ever_due(self) -> None:
        assert not due("2026-11-22 03:00", wanted="")

    def test_the_day_with_an_hour_less_has_one_though_it_lacks_the_hour(self) -> None:
        assert not due("2026-03-29 01:59", "2026-03-28 02:30", wanted="02:30")
        assert due("2026-03-29 03:30", "2026-03-28 02:30", wanted="02:30")
        assert due("2026-03-29 03:00", "2026-03-28 03:00")

    def test_the_hour_that_comes_twice_makes_one(self) -> None:
        assert due("2026-10-25 02:30", "2026-10-24 02:30", wanted="02:30")
        assert not due("2026-10-25 02:30", "2026-10-25 02:30", wanted="02:30", fold=1)
        assert not due("2026-10-25 02:59", "2026-10-25 02:30", wanted="02:30", fold=1)
        assert due("2026-10-26 02:30", "2026-10-25 02:30", wanted="02:30")

    def test_a_clock_that_was_set_back_makes_no_second_one(self) -> None:
        assert not due("2026-11-22 02:50", "2026-11-21 03:00", "2026-11-22 03:00")
        assert not due("2026-11-22 03:00", "2026-11-21 03:00", "2026-11-22 03:20")

    def test_one_from_a_far_future_was_taken_by_a_wrong_clock_and_does_not_count(self) -> None:
        assert due("2026-11-22 03:00", "2026-11-21 03:00", "2031-01-01 03:00")
        assert not due("2026-11-22 03:00", "2026-11-21 09:00", "2031-01-01 03:00")
        assert due("2026-11-22 12:00", since="2031-01-01 03:00")

    def test_the_last_time_is_of_the_place(self) -> None:
        assert last_time(at("2026-11-22 01:00"), "03:00", BERLIN) == at("2026-11-21 03:00")
        assert last_time(at("2026-11-22 04:00"), "03:00", ZoneInfo("UTC")) == at("2026-11-22 04:00")

    def test_it_is_missed_after_two_days(self) -> None:
        newest = Backup(path="n", kind="nightly", taken_at=at("2026-11-20 03:00"))
        manual = Backup(path="m", kind="manual", taken_at=at("2026-11-22 03:00"))
        two_days = at("2026-11-22 03:00")
        assert backups.missed(two_days, [newest, manual], since=LONG_AGO, at="03:00") is None
        assert backups.missed(two_days + 1, [newest, manual], since=LONG_AGO, at="03:00") == 48 * 3600 + 1
        assert backups.missed(two_days + 1, [], since=two_days, at="03:00") is None
        assert backups.missed(two_days + 1, [newest], since=LONG_AGO, at="") is None

    def test_one_from_a_far_future_hides_no_missed_one(self) -> None:
        future = Backup(path="f", kind="nightly", taken_at=at("2031-01-01 03:00"))
        soon = Backup(path="s", kind="nightly", taken_at=at("2026-11-22 04:00"))
        now = at("2026-11-22 03:00")
        assert backups.missed(now, [future], since=now - 72 * 3600, at="03:00") == 72 * 3600
        assert backups.missed(now, [future, soon], since=LONG_AGO, at="03:00") is None


class TestSnapshots:
    @pytest.mark.parametrize(
        ("ended", "newest", "every", "expected"),
        [
            (999, None, 1000, False),
            (1000, None, 1000, True),
            (1999, 1000, 1000, False),
            (2000, 1000, 1000, True),
            (50_000, 1000, 0, False),
            (10, 1000, 1000, True),  # fewer than there were: the count has begun anew
        ],
    )
    def test_one_is_due_every_so_many_completions(
        self, ended: int, newest: int | None, every: int, expected: bool
    ) -> None:
        taken = [] if newest is None else [Backup(path="s", kind="snapshot", taken_at=1.0, ended=newest)]
        assert snapshot_due(ended, taken, every, now=2.0) is expected

    def test_the_newest_is_none_from_the_future_unless_there_is_no_other(self) -> None:
        past = Backup(path="p", kind="snapshot", taken_at=1.0, ended=6000)
        future = Backup(path="f", kind="snapshot", taken_at=9.0, ended=5000)
        assert not snapshot_due(6500, [future, past], 1000, now=2.0)
        assert not snapshot_due(5500, [future], 1000, now=2.0)
        assert snapshot_due(6000, [future], 1000, now=2.0)


class TestNames:
    @pytest.mark.parametrize("kind", ["nightly", "manual", "before-restore"])
    @pytest.mark.parametrize("again", [0, 1])
    def test_a_name_says_what_it_is_and_when_it_was_taken(self, kind: backups.Kind, again: int) -> None:
        name = name_of(kind, 1795316404.9, again=again)
        assert name == f"{kind}-2026-11-22T030004Z{'-2' if again else ''}.db"
        assert described("/b/" + name) == Backup(path="/b/" + name, kind=kind, taken_at=1795316404.0, again=again)

    def test_a_name_is_never_later_than_the_moment(self) -> None:
        found = described(name_of("manual", 1795316404.9999997))
        assert found is not None
        assert found.taken_at == 1795316404.0

    def test_a_snapshots_says_how_many_had_ended(self) -> None:
        name = name_of("snapshot", 1795316404, ended=4000)
        assert name == "snapshot-4000-2026-11-22T030004Z.db"
        found = described(name)
        assert found is not None
        assert (found.kind, found.ended, found.name) == ("snapshot", 4000, name)

    @pytest.mark.parametrize(
        "name",
        [
            "lock",
            "notes.db",
            ".nightly-2026-11-22T030004Z.db.1a2b.part",
            "nightly-2026-11-22T030004Z.db-wal",
            "nightly-2026-13-22T030004Z.db",
            "snapshot-2026-11-22T030004Z.db",
            "snapshot-4000-2026-11-22T030004Z.db\n",
            "weekly-2026-11-22T030004Z.db",
        ],
    )
    def test_another_file_is_none(self, name: str) -> None:
        assert described(name) is None


class TestRotation:
    NOW = 1000.0

    def many(self, kind: backups.Kind, count: int, start: int = 0) -> list[Backup]:
        return [Backup(path=f"{kind}-{number}", kind=kind, taken_at=number) for number in range(start, start + count)]

    @pytest.mark.parametrize(("kind", "keep"), [("nightly", 14), ("snapshot", 5)])
    def test_the_newest_of_each_kind_are_kept(self, kind: backups.Kind, keep: int) -> None:
        found = [*self.many("nightly", 16), *self.many("snapshot", 16), *self.many("manual", 30)]
        gone = rotated_out(found, kind, keep, now=self.NOW)
        assert {one.path for one in gone} == {f"{kind}-{number}" for number in range(16 - keep)}
        assert rotated_out(self.many(kind, keep), kind, keep, now=self.NOW) == []

    @pytest.mark.parametrize("kind", ["manual", "before-restore"])
    def test_what_a_person_made_is_kept(self, kind: backups.Kind) -> None:
        assert rotated_out(self.many(kind, 50), kind, 1, now=self.NOW) == []

    def test_what_a_wrong_clock_dated_in_the_future_goes_first(self) -> None:
        future = self.many("nightly", 14, start=2000)
        (past,) = self.many("nightly", 1, start=999)
        assert rotated_out([*future, past], "nightly", 14, now=self.NOW) == [future[0]]
        assert rotated_out([*future, past], "nightly", 1, now=self.NOW) == future[::-1]

    def test_what_was_just_taken_stays_whatever_the_clock_says(self) -> None:
        older = self.many("nightly", 2, start=500)
        taken = Backup(path="now", kind="nightly", taken_at=self.NOW + 1)
        assert rotated_out([*older, taken], "nightly", 2, now=self.NOW, just_taken="now") == []
        assert rotated_out([*older, taken], "nightly", 1, now=self.NOW, just_taken="now") == [older[0]]

    def test_a_restore_tries_the_newest_first_and_never_unasked_what_another_left(self) -> None:
        old, new = Backup(path="o", kind="nightly", taken_at=1), Backup(path="n", kind="manual", taken_at=2)
        left = Backup(path="l", kind="before-restore", taken_at=3)
        assert backups.worth_restoring([old, left, new], now=self.NOW) == [new, old]

    def test_a_restore_tries_those_from_the_future_last(self) -> None:
        old, new, future = (Backup(path=str(when), kind="nightly", taken_at=when) for when in (1, 1000, 1001))
        assert backups.worth_restoring([old, future, new], now=self.NOW) == [new, old, future]

    def test_of_one_second_the_highest_number_is_the_newest(self) -> None:
        one = [described(name_of("manual", 5.0, again=again)) for again in (0, 1, 9, 10)]
        found = [it for it in one if it is not None]
        assert backups.worth_restoring(found, now=self.NOW) == found[::-1]

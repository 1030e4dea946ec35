"""When schedules are due, and what becomes of due times that nobody was there for: pure rules, in any time zone."""

from __future__ import annotations

from datetime import datetime
from typing import Any
from zoneinfo import ZoneInfo

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queue_core.errors import UsageError
from queue_core.jobs import ScheduleRow
from queue_core.recurrence import GRACE, Firing, check_cron, decide, following, interval, seconds_of, time_zone

START = 1_800_000_000.0  # Friday, 2027-01-15 08:00 UTC
DAY = 86400.0
BERLIN = "Europe/Berlin"  # 2026: forward on 29 March at 02:00, back on 25 October at 03:00


def row(**fields: Any) -> ScheduleRow:
    """A schedule at an interval of a minute, or by `cron`."""
    timing = {"cron": None, "every": None if "cron" in fields else 60.0}
    defaults = {"name": "s", "zone": "UTC", "missed": "once", "job": "{}", "created_at": START, "next_at": START + 60}
    return ScheduleRow(**{"decided_at": START, **timing, **defaults, **fields})


def at(local: str, zone: str = BERLIN, fold: int = 0) -> float:
    return datetime.fromisoformat(local).replace(tzinfo=ZoneInfo(zone), fold=fold).timestamp()


def due_times(line: str, since: str, count: int, zone: str = BERLIN) -> list[str]:
    """The next due times, as clocks in that zone show them, with their offset from UTC."""
    schedule, found, time = row(cron=line, zone=zone), [], at(since, zone)
    for _ in range(count):
        later = following(schedule, time)
        assert later is not None and later > time
        time = later
        found.append(datetime.fromtimestamp(time, ZoneInfo(zone)).strftime("%d %H:%M %z"))
    return found


class TestIntervals:
    def test_the_first_is_due_one_interval_after_it_was_added(self) -> None:
        assert following(row(every=90.0), START) == START + 90

    def test_all_are_counted_from_when_it_was_added_however_late_somebody_looks(self) -> None:
        assert following(row(every=90.0), START + 1000.5) == START + 1080
        assert following(row(every=90.0), START + 1080) == START + 1170

    @given(every=st.floats(1.0, 1e8), after=st.floats(-1e8, 1e9))
    def test_the_next_is_always_later_and_never_more_than_an_interval_away(self, every: float, after: float) -> None:
        due = following(row(every=every), START + after)
        assert due is not None and due > START + after
        assert due <= max(START + after, START) + every + 1e-5  # what a float of today can tell apart

    @pytest.mark.parametrize(
        ("typed", "seconds"),
        [("90", 90), ("90s", 90), ("15m", 900), ("2h", 7200), ("1d", 86400), ("1.5h", 5400), (" 5m ", 300)],
    )
    def test_units(self, typed: str, seconds: float) -> None:
        assert seconds_of(typed) == seconds
        assert seconds_of(interval(seconds)) == seconds

    @pytest.mark.parametrize(
        "typed", ["", "0", "0.5", "-5", "h", "5x", "1e3", "nan", "inf", "4000d", "1h30m", "٥", "9" * 5000, "1_0"]
    )
    def test_what_is_no_interval_is_refused(self, typed: str) -> None:
        with pytest.raises(UsageError, match="an interval is such as"):
            seconds_of(typed)


MALFORMED = {
    "61 3 * * *": "the minute field (`61`) of the cron line `61 3 * * *` is not valid; minutes are 0 to 59",
    "* 24 * * *": "the hour field (`24`)",
    "* * 0 * *": "the day-of-month field (`0`)",
    "* * 32 * *": "days of the month are 1 to 31",
    "* * * 13 *": "the month field (`13`)",
    "* * * JANUARY *": "months are 1 to 12, or JAN to DEC",
    "* * * * 8": "the day-of-week field (`8`)",
    "* * * * FUN": "days of the week are 0 to 7 (0 and 7 are Sunday), or SUN to SAT",
    "30-10 * * * *": "ranges go up",
    "*/0 * * * *": "the minute field (`*/0`)",
    "1,,2 * * * *": "the minute field (`1,,2`)",
    "-5 * * * *": "the minute field (`-5`)",
    "1.5 * * * *": "the minute field (`1.5`)",
    "* * * * 1#6": "the day-of-week field (`1#6`)",
    "* * * * XL": "the day-of-week field (`XL`)",
    "² * * * *": "the minute field (`²`)",
    "a; rm * * *": "the minute field (`a;`)",
    "": "a cron line has five fields (minute hour day-of-month month day-of-week), not 0",
    "* * * *": "not 4",
    "0 * * * * *": "not 6",
    "@daily": "not 1",
    "* " * 3000: "not 3000",
    "9" * 900 + " * * * *": "the minute field",
}


class TestCronLines:
    @pytest.mark.parametrize("line", MALFORMED, ids=[line[:20] for line in MALFORMED])
    def test_an_error_names_the_field_and_what_it_may_hold(self, line: str) -> None:
        with pytest.raises(UsageError) as refused:
            check_cron(line)
        assert MALFORMED[line] in str(refused.value)

    @pytest.mark.parametrize("line", ["0 0 30 2 *", "0 0 31 4,6 *", "0 0 LW * */6"])
    def test_a_line_that_never_fires_has_no_next_time(self, line: str) -> None:
        assert following(row(cron=check_cron(line)), START) is None

    @pytest.mark.parametrize(
        ("line", "expected"),
        [
            ("*/20 * * * *", ["15 08:20", "15 08:40", "15 09:00"]),
            ("30 3 * * MON-FRI", ["18 03:30", "19 03:30", "20 03:30"]),
            ("0 12 1,15 * *", ["15 12:00", "01 12:00", "15 12:00"]),
            ("0 0 L * *", ["31 00:00", "28 00:00", "31 00:00"]),
            ("0 0 29 feb *", ["29 00:00"]),
            ("0 0 13 * 5", ["22 00:00", "29 00:00", "05 00:00"]),  # the 13th, or any Friday
        ],
    )
    def test_the_next_times(self, line: str, expected: list[str]) -> None:
        found = due_times(check_cron(line), "2027-01-15T08:00:00", len(expected), "UTC")
        assert [time.removesuffix(" +0000") for time in found] == expected

    def test_spaces_are_tidied(self) -> None:
        assert check_cron("  0\t3  * * *\n") == "0 3 * * *"


class TestTimeZones:
    def test_the_same_line_is_due_at_each_zones_own_time(self) -> None:
        noon = "0 12 * * *"
        assert following(row(cron=noon, zone="Asia/Tokyo"), START) == at("2027-01-16T12:00", "Asia/Tokyo")
        assert following(row(cron=noon, zone="America/New_York"), START) == at("2027-01-15T12:00", "America/New_York")

    @pytest.mark.parametrize(
        "name", ["Mars/Olympus", "", "../etc/passwd", "/etc/localtime", "Europe", "\0", "é", "x" * 999]
    )
    def test_what_is_no_zone_is_refused(self, name: str) -> None:
        with pytest.raises(UsageError, match="there is no time zone"):
            time_zone(name)


class TestClockChanges:
    def test_a_time_that_the_spring_leaves_out_comes_as_soon_as_the_clock_goes_on(self) -> None:
        found = due_times("30 2 * * *", "2026-03-28T00:00", 3)
        assert found == ["28 02:30 +0100", "29 03:00 +0200", "30 02:30 +0200"]

    def test_two_times_that_the_spring_leaves_out_are_one(self) -> None:
        assert due_times("0,30 2 * * *", "2026-03-29T00:00", 2) == ["29 03:00 +0200", "30 02:00 +0200"]

    def test_a_time_that_the_autumn_has_twice_counts_once(self) -> None:
        found = due_times("30 2 * * *", "2026-10-24T00:00", 3)
        assert found == ["24 02:30 +0200", "25 02:30 +0200", "26 02:30 +0100"]

    def test_whoever_looks_in_the_second_of_two_equal_hours_finds_the_next_day(self) -> None:
        schedule = row(cron="30 2 * * *", zone=BERLIN)
        assert following(schedule, at("2026-10-25T02:15", fold=1)) == at("2026-10-26T02:30")

    def test_every_hour_is_every_hour_in_spring_and_in_autumn(self) -> None:
        spring = due_times("0 * * * *", "2026-03-29T00:30", 3)
        assert spring == ["29 01:00 +0100", "29 03:00 +0200", "29 04:00 +0200"]
        autumn = due_times("0 * * * *", "2026-10-25T01:30", 4)
        assert autumn == ["25 02:00 +0200", "25 02:00 +0100", "25 03:00 +0100", "25 04:00 +0100"]

    @pytest.mark.parametrize("line", ["*/15 * * * *", "15 1-3 * * *", "*/20 2 * * *", "0 0 * * *", "5 */2 * * *"])
    @pytest.mark.parametrize("zone", [BERLIN, "Australia/Lord_Howe", "America/Sao_Paulo", "Asia/Kathmandu", "UTC"])
    def test_it_always_goes_on_and_at_most_one_day_is_left_out(self, line: str, zone: str) -> None:
        """Around every change of these zones' clocks in 2018; in Brazil midnight itself is left out."""
        schedule = row(cron=line, zone=zone)
        for day in ("02-17", "03-24", "03-31", "10-06", "10-27", "11-03"):
            time = at(f"2018-{day}T00:00", zone)
            end = time + 3 * DAY
            while time < end:
                later = following(schedule, time)
                assert later is not None and time < later <= time + 2.1 * DAY
                time = later


class TestMissed:
    """Added at START, at an interval of a minute where nothing else is said."""

    @pytest.mark.parametrize("rule", ["skip", "once", "all"])
    def test_what_is_not_due_produces_nothing_and_stays(self, rule: str) -> None:
        assert decide(row(missed=rule), START + 59.9, limit=100) == Firing(jobs=0, next_at=START + 60)

    @pytest.mark.parametrize("rule", ["skip", "once", "all"])
    @pytest.mark.parametrize("late", [0.0, 0.5, 59.0])
    def test_what_is_due_within_the_grace_fires_by_any_rule(self, rule: str, late: float) -> None:
        assert decide(row(missed=rule), START + 60 + late, limit=100) == Firing(jobs=1, next_at=START + 120)

    @pytest.mark.parametrize(("rule", "jobs"), [("skip", 0), ("once", 1), ("all", 3)])
    def test_three_days_off(self, rule: str, jobs: int) -> None:
        daily = row(cron="0 9 * * *", missed=rule, next_at=START + 3600)
        assert decide(daily, START + 3 * DAY, limit=100) == Firing(jobs=jobs, next_at=START + 3 * DAY + 3600)

    @pytest.mark.parametrize(("late", "jobs"), [(GRACE, 1), (GRACE + 0.001, 0)])
    def test_a_minute_late_is_late_and_more_is_missed(self, late: float, jobs: int) -> None:
        hourly = row(every=3600.0, missed="skip", next_at=START + 3600)
        assert decide(hourly, START + 3600 + late, limit=100) == Firing(jobs=jobs, next_at=START + 7200)

    @pytest.mark.parametrize(("rule", "jobs"), [("skip", 1), ("once", 1), ("all", 4)])
    def test_missed_times_and_one_that_is_just_due_do_not_add_up_to_two_beside_each_other(
        self, rule: str, jobs: int
    ) -> None:
        daily = row(cron="0 9 * * *", missed=rule, next_at=START + 3600)
        assert decide(daily, START + 3 * DAY + 3630, limit=100) == Firing(jobs=jobs, next_at=START + 4 * DAY + 3600)

    @pytest.mark.parametrize("rule", ["skip", "once"])
    def test_a_short_interval_does_not_pile_up(self, rule: str) -> None:
        each_second = row(every=1.0, missed=rule, next_at=START + 1)
        assert decide(each_second, START + 3 * DAY + 0.5, limit=100) == Firing(jobs=1, next_at=START + 3 * DAY + 1)

    def test_all_comes_in_batches_that_leave_nothing_out(self) -> None:
        schedule, jobs, batches = row(missed="all"), 0, 0
        while (firing := decide(schedule, START + DAY, limit=100)).jobs:
            assert firing.jobs <= 100
            jobs, batches = jobs + firing.jobs, batches + 1
            schedule = row(missed="all", next_at=firing.next_at)
        assert (jobs, batches, schedule.next_at) == (1440, 15, START + DAY + 60)

    def test_one_that_is_never_due_again_does_nothing(self) -> None:
        assert decide(row(next_at=None), START + DAY, limit=100) == Firing(jobs=0, next_at=None)

    @given(late=st.floats(0, 1e5), every=st.floats(1, 1e4), rule=st.sampled_from(["skip", "once", "all"]))
    def test_whatever_was_missed_the_next_time_is_to_come(self, late: float, every: float, rule: str) -> None:
        firing = decide(row(every=every, missed=rule, next_at=START + every), START + every + late, limit=10**6)
        assert firing.next_at is not None and firing.next_at > START + every + late


class TestAClockThatWasSetBack:
    """What was decided later than now was decided under another clock."""

    @pytest.mark.parametrize("timing", [{"every": 900.0}, {"cron": "*/15 * * * *"}], ids=["interval", "cron"])
    def test_the_next_time_is_put_right(self, timing: dict[str, Any]) -> None:
        far = START + 30 * DAY
        ahead = row(**timing, next_at=far + 900, decided_at=far)
        assert decide(ahead, START + 1000, limit=100) == Firing(jobs=0, next_at=START + 1800)

    def test_also_of_an_interval_that_was_added_under_it(self) -> None:
        far = START + 30 * DAY + 0.5
        ahead = row(every=900.0, created_at=far, next_at=far + 900, decided_at=far)
        assert decide(ahead, START, limit=100) == Firing(jobs=0, next_at=START + 0.5)

    @pytest.mark.parametrize("back", [0.0, 1.0, GRACE])
    def test_a_correction_of_up_to_a_minute_leaves_it_as_it_is(self, back: float) -> None:
        just_fired = row(next_at=START + 120, decided_at=START + 60)
        assert decide(just_fired, START + 60 - back, limit=100) == Firing(jobs=0, next_at=START + 120)

    def test_it_never_comes_later_by_that(self) -> None:
        ahead = row(cron="0 0 * * *", next_at=START + 5, decided_at=START + DAY)
        assert decide(ahead, START, limit=100) == Firing(jobs=0, next_at=START + 5)

    @given(back=st.floats(61, 1e8), every=st.floats(1, 1e6), passed=st.floats(0, 1e7))
    def test_nothing_is_further_away_than_an_interval(self, back: float, every: float, passed: float) -> None:
        then = START + passed
        ahead = row(every=every, next_at=following(row(every=every), then), decided_at=then)
        firing = decide(ahead, then - back, limit=1)
        assert firing.jobs == 0 and firing.next_at is not None
        assert then - back < firing.next_at <= then - back + every + 1e-5

"""Retry delays: how each kind grows, where it stops, what chance may take off."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from queue_core.admission import retry_of
from queue_core.backoff import PRESETS, checked_presets, delay, preset_named
from queue_core.errors import InvalidJob, SettingsError
from queue_core.model import BACKOFFS, NewJob, Retry
from queue_core.settings import Settings, load

if TYPE_CHECKING:
    from queue_core.home import Home


@pytest.mark.parametrize(
    ("kind", "delays"),
    [
        ("exponential", [10, 20, 40, 80, 160, 320]),
        ("linear", [10, 20, 30, 40, 50, 60]),
        ("fibonacci", [10, 10, 20, 30, 50, 80]),
        ("immediate", [0, 0, 0, 0, 0, 0]),
    ],
)
def test_each_kind_grows_in_its_own_way(kind: str, delays: list[float]) -> None:
    retry = Retry(backoff=kind, base=10.0, cap=1e9)
    assert [delay(retry, failures) for failures in range(1, 7)] == delays


@pytest.mark.parametrize("kind", BACKOFFS)
def test_no_delay_is_above_the_cap_however_many_failures(kind: str) -> None:
    retry = Retry(backoff=kind, base=10.0, cap=25.0)
    for failures in (1, 2, 3, 4, 100, 10_000, 10**9):
        assert 0 <= delay(retry, failures) <= 25.0


@pytest.mark.parametrize(("chance", "seconds"), [(0.0, 100.0), (0.5, 90.0), (1.0, 80.0)])
def test_chance_takes_at_most_the_jitters_share_off(chance: float, seconds: float) -> None:
    assert delay(Retry(base=100.0, jitter=0.2), 1, chance) == pytest.approx(seconds)


def test_without_jitter_chance_means_nothing() -> None:
    assert delay(Retry(base=100.0), 1, 1.0) == 100.0


@pytest.mark.parametrize("preset", PRESETS.values())
def test_every_preset_is_a_retry_rule(preset: dict[str, object]) -> None:
    retry = Retry(**preset)
    assert 0 <= delay(retry, 1) <= retry.cap


class TestPresets:
    @pytest.mark.parametrize(
        ("fields", "retry"),
        [
            ({"retry": "fast"}, Retry(retries=5, backoff="exponential", base=1.0, cap=30.0, jitter=0.5)),
            ({"retry": "none"}, Retry(retries=0, backoff="immediate", base=0.0, cap=0.0, jitter=0.5)),
            (
                {"retry": "fast", "retries": 1, "backoff": "linear", "backoff_base": 2.0, "backoff_cap": 3.0},
                Retry(retries=1, backoff="linear", base=2.0, cap=3.0, jitter=0.5),
            ),
            ({"backoff_cap": 7.0}, Retry(retries=9, backoff="fibonacci", base=8.0, cap=7.0, jitter=0.5)),
            ({"retry": "slow"}, Retry(retries=2, backoff="fibonacci", base=8.0, cap=90.0, jitter=0.1)),
            ({"retry": "patient"}, Retry(retries=99, backoff="immediate", base=8.0, cap=90.0, jitter=0.5)),
        ],
        ids=lambda value: repr(value)[:40],
    )
    def test_a_jobs_own_word_counts_before_its_preset_and_that_before_the_settings(
        self, fields: dict[str, Any], retry: Retry
    ) -> None:
        presets = {"slow": {"retries": 2, "jitter": 0.1}, "patient": {"retries": 99, "backoff": "immediate"}}
        chosen = Settings(retries=9, backoff="fibonacci", backoff_base=8.0, backoff_cap=90.0, jitter=0.5, retry=presets)
        assert retry_of(NewJob(argv=("x",), **fields), chosen) == retry

    def test_one_that_nobody_knows_is_refused_with_those_there_are(self) -> None:
        with pytest.raises(InvalidJob, match="no retry preset 'slwo', only default, fast, mine, none, slow;"):
            preset_named("slwo", {"mine": {}})

    def test_they_come_from_the_users_file(self, home: Home) -> None:
        Path(home.settings_file).write_text('[retry.mine]\nretries = 7\nbackoff = "linear"\nbase = 1\n[retry.none]\n')
        assert load(home, {}).retry == {"mine": {"retries": 7, "backoff": "linear", "base": 1.0}, "none": {}}

    @pytest.mark.parametrize(
        ("value", "words"),
        [
            (3, "retry is a table of presets"),
            ({"mine": 3}, "retry is a table of presets"),
            ({"mine": {"tries": 3}}, "retry.mine knows retries, backoff, base, cap and jitter, not `tries`"),
            ({"mine": {"retries": 1.5}}, "retry.mine.retries is a whole number"),
            ({"mine": {"retries": True}}, "retry.mine.retries is a whole number"),
            ({"mine": {"retries": -1}}, "retry.mine.retries is a whole number from 0"),
            ({"mine": {"backoff": "cubic"}}, "retry.mine.backoff is one of exponential"),
            ({"mine": {"backoff": ["linear"]}}, "retry.mine.backoff is one of exponential"),
            ({"mine": {"base": "1"}}, "retry.mine.base is a number"),
            ({"mine": {"cap": float("nan")}}, "retry.mine.cap is a number"),
            ({"mine": {"jitter": 1.5}}, "retry.mine.jitter is a number from 0 to 1"),
        ],
    )
    def test_a_wrong_one_is_told_with_its_name_and_its_place(self, value: object, words: str) -> None:
        with pytest.raises(SettingsError) as error:
            checked_presets(value, "/config.toml")
        assert str(error.value).startswith("/config.toml: ")
        assert words in str(error.value)

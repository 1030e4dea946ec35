"""Retry delays: how each kind grows, where it stops, what chance may take off."""

from __future__ import annotations

import pytest

from queue_core.backoff import PRESETS, delay
from queue_core.model import BACKOFFS, Retry


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

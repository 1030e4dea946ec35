"""A busy worker rings whoever is there, and costs nearly nothing where nobody is."""

from __future__ import annotations

import os
import time
from typing import TYPE_CHECKING

import pytest

from queue_core.changes import Bell
from queue_core.worker import ringing
from queue_core.worker.ringing import Ringer
from tests.helpers import rung

if TYPE_CHECKING:
    from collections.abc import Callable

    from queue_core.home import Home


@pytest.fixture
def looks(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Which folders were read."""
    seen: list[str] = []
    real: Callable[[str], list[str]] = os.listdir
    monkeypatch.setattr(os, "listdir", lambda path: seen.append(path) or real(path))  # pyright: ignore
    return seen


def unchanged_for_long(home: Home) -> None:
    ago = time.time_ns() - 2 * ringing.SETTLED
    os.utime(home.bells, ns=(ago, ago))


def test_whoever_comes_is_heard_at_once_and_the_own_bell_never_rings(home: Home, work: Bell) -> None:
    ringer = Ringer(home, work)
    unchanged_for_long(home)
    ringer.ring("work", "watch")
    with_others = [Bell(home, "work"), Bell(home, "watch")]
    for _ in range(2):
        ringer.ring("work", "watch")
        assert [rung(bell) for bell in (work, *with_others)] == [False, True, True]
        for bell in with_others:
            bell.clear()
    unchanged_for_long(home)
    ringer.ring("watch")
    assert [rung(bell) for bell in with_others] == [False, True]
    for bell in with_others:
        bell.close()


def test_a_folder_in_which_nobody_else_waits_is_read_once(home: Home, work: Bell, looks: list[str]) -> None:
    ringer = Ringer(home, work)
    unchanged_for_long(home)
    for _ in range(5):
        ringer.ring("work", "watch")
    assert looks == [home.bells]


def test_one_that_has_just_changed_is_read_again(home: Home, work: Bell, looks: list[str]) -> None:
    """Another bell may be hung within the same tick of the file system's clock."""
    ringer = Ringer(home, work)
    for _ in range(3):
        ringer.ring("work", "watch")
    assert looks == [home.bells] * 3


def test_a_single_bell_that_is_somebody_elses_is_rung(home: Home, work: Bell) -> None:
    """The worker's own may be gone: a folder that was cleaned, or made anew."""
    ringer = Ringer(home, work)
    os.unlink(f"{home.bells}/{work.name}")
    other = Bell(home, "watch")
    for _ in range(2):
        unchanged_for_long(home)
        ringer.ring("watch")
        assert rung(other)
        other.clear()
    other.close()


def test_a_home_without_bells_is_no_error(home: Home, work: Bell) -> None:
    ringer = Ringer(home, work)
    os.rename(home.bells, home.bells + ".gone")
    ringer.ring("work", "watch")
    os.rename(home.bells + ".gone", home.bells)

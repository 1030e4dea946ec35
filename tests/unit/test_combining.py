"""Threads that add jobs at once: what one does for all, and what each gets."""

from __future__ import annotations

import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest

from queue_core import combining as combining_module
from queue_core.combining import Combining
from queue_core.errors import InvalidJob, StoreBusy, StoreFull
from queue_core.model import NewJob, Receipt
from tests.helpers import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from types import FrameType

LONG = 10.0
NOW = object()
LINES = Path(combining_module.__file__).read_text(encoding="utf-8").splitlines()


def job(name: str) -> NewJob:
    return NewJob(argv=("true",), name=name)


class Store:
    """Stores nothing before it is let; remembers the batches."""

    def __init__(self) -> None:
        self.batches: list[list[str]] = []
        self.gate = threading.Event()
        self.error: Exception | None = None

    def __call__(self, jobs: Sequence[NewJob]) -> list[Receipt]:
        self.batches.append([one.name or "" for one in jobs])
        assert self.gate.wait(LONG)
        if self.error is not None:
            raise self.error
        return [Receipt(id=int(one.name or "0"), state="available") for one in jobs]


class Callers:
    """Threads that each add a job, and what they were told."""

    def __init__(self, combining: Combining, store: Store) -> None:
        self.combining, self.store = combining, store
        self.told: dict[int, Receipt | Exception | None] = {}
        self.threads: list[threading.Thread] = []

    def add(self, number: int) -> None:
        def run() -> None:
            try:
                self.told[number] = self.combining.enqueue(job(str(number)))
            except Exception as error:
                self.told[number] = error

        self.threads.append(threading.Thread(target=run))
        self.threads[-1].start()

    def lead_and_follow(self, followers: Sequence[int]) -> None:
        """One whose batch is being stored, and these that wait for the next."""
        self.add(1)
        wait_until(lambda: self.store.batches, "nobody leads")
        for number in followers:
            self.add(number)
        waiting = self.combining._waiting  # pyright: ignore[reportPrivateUsage]
        wait_until(lambda: len(waiting) == len(followers), "they do not wait")

    def end(self) -> dict[int, Receipt | Exception | None]:
        self.store.gate.set()
        for thread in self.threads:
            thread.join(LONG)
            assert not thread.is_alive()
        return self.told


@pytest.fixture
def store() -> Store:
    return Store()


def test_who_comes_while_one_is_stored_is_stored_together_and_gets_its_own_receipt(store: Store) -> None:
    callers = Callers(Combining(store, lambda: LONG), store)
    callers.lead_and_follow([2, 3, 4])
    told = callers.end()
    assert (store.batches[0], sorted(store.batches[1])) == (["1"], ["2", "3", "4"])
    assert told == {number: Receipt(id=number, state="available") for number in (1, 2, 3, 4)}


def test_what_the_store_cannot_do_is_told_to_all_and_what_one_is_refused_for_is_left_to_each(store: Store) -> None:
    store.error = StoreFull("full")
    callers = Callers(Combining(store, lambda: LONG), store)
    callers.lead_and_follow([2, 3])
    assert {type(answer) for answer in callers.end().values()} == {StoreFull}
    store.error = InvalidJob("one of them")
    assert Callers(callers.combining, store).combining.enqueue(job("5")) is None


def test_one_that_is_not_begun_in_time_is_taken_back_and_the_next_still_come_in(store: Store) -> None:
    callers = Callers(Combining(store, lambda: -0.99), store)
    callers.add(1)
    wait_until(lambda: store.batches, "nobody leads")
    with pytest.raises(StoreBusy):
        callers.combining.enqueue(job("2"))
    assert callers.end() == {1: Receipt(id=1, state="available")}
    assert callers.combining.enqueue(job("3")) == Receipt(id=3, state="available")
    assert store.batches == [["1"], ["3"]]


def test_an_error_that_nobody_foresaw_ends_nobodys_lead(store: Store) -> None:
    store.gate.set()
    combining = Combining(store, lambda: LONG)
    store.error = ZeroDivisionError()
    with pytest.raises(ZeroDivisionError):
        combining.enqueue(job("1"))
    store.error = None
    assert combining.enqueue(job("2")) == Receipt(id=2, state="available")


@pytest.mark.parametrize("needs", [{"ref": "a"}, {"after": (1,)}, {"after_any": ("a",)}, {"after_failure": (1,)}])
def test_what_speaks_of_other_jobs_goes_alone(store: Store, needs: dict[str, object]) -> None:
    fields: dict[str, object] = {"argv": ("true",), **needs}
    assert Combining(store, lambda: LONG).enqueue(NewJob(**fields)) is None  # pyright: ignore[reportArgumentType]
    assert store.batches == []


class Interrupted(BaseException):
    """As Ctrl-C is: no Exception, at whatever moment."""


def steps_of_an_add(combining: Combining, number: int) -> int:
    """How many lines of the module one that is stored alone runs through."""
    seen: list[int] = []
    _traced(lambda: combining.enqueue(job(str(number))), lambda: seen.append(1))
    return len(seen)


def _traced(call: Callable[[], object], at_a_line: Callable[[], object]) -> None:
    """Run something, and something else before each line of the module that it comes to."""

    def trace(frame: FrameType, event: str, argument: object) -> Callable[..., Any] | None:
        if frame.f_code.co_filename != combining_module.__file__:
            return None
        if event == "line" and "with self._lock" not in LINES[frame.f_lineno - 1]:
            at_a_line()  # Python looks for signals after calls: never between a block's last line and its way out
        return trace

    before = sys.gettrace()
    sys.settrace(trace)
    try:
        call()
    finally:
        sys.settrace(before)


def test_whoever_is_interrupted_at_whatever_moment_leaves_nobody_waiting(store: Store) -> None:
    store.gate.set()
    steps = steps_of_an_add(Combining(store, lambda: LONG), 1)
    assert steps > 20
    for step in range(steps):
        combining = Combining(store, lambda: -0.99)
        left = iter([None] * step)

        def interrupt(left: Iterator[None] = left) -> None:
            if next(left, NOW) is NOW:
                sys.settrace(None)
                raise Interrupted

        with pytest.raises(Interrupted):
            _traced(lambda combining=combining: combining.enqueue(job("1")), interrupt)
        assert combining.enqueue(job("2")) == Receipt(id=2, state="available"), step


def test_what_the_store_cannot_do_is_not_tried_for_each_of_many(store: Store) -> None:
    """Each try may take as long as the store has patience, and all wait for the last."""
    tried: list[int] = []

    def broken(jobs: Sequence[NewJob]) -> list[Receipt]:
        if jobs[0].name == "1":
            return store(jobs)
        tried.append(len(jobs))
        raise ZeroDivisionError if len(jobs) > 1 else StoreBusy("busy")

    callers = Callers(Combining(broken, lambda: LONG), store)
    callers.lead_and_follow([2, 3, 4])
    told = callers.end()
    assert tried == [3, 1]
    assert [isinstance(told[number], StoreBusy) for number in (2, 3, 4)] == [True] * 3


def test_an_error_that_nobody_foresaw_is_told_to_the_one_whose_it_is(store: Store) -> None:
    def choosy(jobs: Sequence[NewJob]) -> list[Receipt]:
        receipts = store(jobs)
        if any(one.name == "3" for one in jobs):
            raise ZeroDivisionError
        return receipts

    callers = Callers(Combining(choosy, lambda: LONG), store)
    callers.lead_and_follow([2, 3, 4])
    told = callers.end()
    assert isinstance(told.pop(3), ZeroDivisionError)
    assert told == {number: Receipt(id=number, state="available") for number in (1, 2, 4)}

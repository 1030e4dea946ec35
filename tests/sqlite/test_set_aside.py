"""Jobs that cannot start are set aside so many in one transaction; what comes after them starts all the same."""

from __future__ import annotations

from typing import TYPE_CHECKING

from queue_core.sqlite import claim

if TYPE_CHECKING:
    import pytest

    from queue_core.sqlite.store import SqliteStore
    from tests.conformance.builders import Bench


def wait_for_a_lock(bench: Bench, count: int) -> None:
    bench.claim_one(bench.add(locks=(("gpu", 1),)))
    for _ in range(count):
        bench.add(locks=(("gpu", 1),))


def test_a_claim_that_sets_many_aside_lets_others_write_meanwhile(
    store: SqliteStore, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "MOST_PARKED", 10)
    wait_for_a_lock(bench, 25)
    free = bench.add()
    sent: list[str] = []
    connection = store._writer._database.connection  # pyright: ignore
    connection.set_trace_callback(sent.append)  # pyright: ignore
    assert [lease.job for lease in bench.claim()] == [free]
    connection.set_trace_callback(None)  # pyright: ignore
    assert sent.count("COMMIT") == 3


def test_a_worker_stays_while_a_claim_has_not_been_through_all_that_is_to_be_set_aside(
    store: SqliteStore, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(claim, "MOST_PARKED", 10)
    wait_for_a_lock(bench, 10)
    bench.add()
    assert not store.leave_if_idle("w1", now=bench.now)

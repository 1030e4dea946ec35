"""What an exchange has done is handed over before it goes on: nobody waits for it, and no error can lose it."""

from __future__ import annotations

import itertools
from typing import TYPE_CHECKING

from queue_core.sqlite import claim
from tests.conformance.builders import SUCCESS, settlement

if TYPE_CHECKING:
    import pytest

    from queue_core.jobs import Lease, Settlement
    from queue_core.sqlite.store import SqliteStore
    from tests.conformance.builders import Bench


def exchange(store: SqliteStore, bench: Bench, *ended: Settlement) -> tuple[list[str | None], list[Lease], list[str]]:
    """One exchange, and how often it said that there may be more."""
    said: list[str] = []
    tokens = (f"of-exchange-{number}" for number in itertools.count())
    states, leases = store.exchange(
        ended,
        worker="w1",
        keeper="k1",
        host="here",
        want=10,
        max_running=1000,
        now=bench.now,
        tokens=lambda: next(tokens),
        chance=lambda: 0.0,
        on_more=lambda: said.append("more"),
    )
    return list(states), leases, said


def many_that_wait(bench: Bench, monkeypatch: pytest.MonkeyPatch) -> Lease:
    """The holder of a lock for which more jobs wait than one transaction sets aside."""
    monkeypatch.setattr(claim, "MOST_PARKED", 10)
    holder = bench.claim_one(bench.add(locks=(("gpu", 1),)))
    bench.add(priority="high")
    for _ in range(15):
        bench.add(locks=(("gpu", 1),))
    return holder


def test_a_lease_is_handed_over_before_all_was_looked_at(
    store: SqliteStore, bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    many_that_wait(bench, monkeypatch)
    last = bench.add()
    _, leases, said = exchange(store, bench)
    assert (len(leases), said) == (1, ["more"])
    _, leases, said = exchange(store, bench)
    assert ([lease.job for lease in leases], said) == ([last], [])


def test_so_is_how_a_job_ended(store: SqliteStore, bench: Bench, monkeypatch: pytest.MonkeyPatch) -> None:
    other = bench.claim_one(bench.add())
    many_that_wait(bench, monkeypatch)
    bench.claim(1)
    last = bench.add()
    states, leases, said = exchange(store, bench, settlement(other, SUCCESS))
    assert (states, leases, said) == (["succeeded"], [], ["more"])
    _, leases, said = exchange(store, bench)
    assert ([lease.job for lease in leases], said) == ([last], [])

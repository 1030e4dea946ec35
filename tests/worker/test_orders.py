"""Orders to a worker whose store takes nothing in: they can be read all the same, and are followed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from queue_core import stopping
from queue_core.errors import StoreBusy, StoreFull
from queue_core.liveness import ask_to_leave
from queue_core.worker import loop
from tests.helpers import wait_until

from .conftest import PATIENCE, alive
from .test_faults import Flaky

if TYPE_CHECKING:
    from .conftest import Rig


@pytest.fixture(autouse=True)
def _short_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(loop, "STORE_PAUSE", 0.02)


TROUBLE = pytest.mark.parametrize(
    ("verb", "error"),
    [("due_schedules", StoreFull("full")), ("due_schedules", StoreBusy("busy")), ("exchange", StoreBusy("busy"))],
    ids=["schedules, full", "schedules, busy", "claims, busy"],
)


@TROUBLE
def test_a_cancellation_is_followed(rig: Rig, verb: str, error: Exception, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(stopping, "stop_claims", lambda *_: None)  # pyright: ignore - by the worker, and nobody else
    gate = rig.gate()
    job = rig.sh(gate.wait)
    inner = rig.inner()
    pid = rig.pid_of(job)
    flaky = Flaky(inner.queue.store, verb)
    flaky.error = error
    rig.queue.cancel([job])
    wait_until(lambda: not alive(pid), "the command is ended", PATIENCE)
    assert flaky.error is error
    flaky.error = None
    rig.reaches(job, "cancelled")


@TROUBLE
def test_an_order_to_leave_is_followed(rig: Rig, verb: str, error: Exception) -> None:
    inner = rig.inner()
    flaky = Flaky(inner.queue.store, verb)
    flaky.error = error
    inner.portal.call(inner.worker.wake)
    rig.sh("true", "--delay", "60")  # a ring: it looks around
    flaky.fails()
    ask_to_leave(rig.queue.home, inner.worker.id, now=True)
    wait_until(lambda: inner.worker.mode == "stop", "it has heard of it", PATIENCE)
    assert flaky.error is error
    flaky.error = None
    assert inner.left() is None

"""Claims that no connected keeper tells of: what is made of a keeper that knows nothing, and of failed looks."""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

import anyio
import pytest

from queue_core.keeper import protocol, started, verdict
from queue_core.worker.groups import task_group
from queue_core.worker.sealing import Sealer
from queue_core.worker.strays import Strays

if TYPE_CHECKING:
    from queue_core.jobs import Outcome
    from queue_core.keeper.protocol import Claim

    from .conftest import Rig


def looked(rig: Rig, *, times: int = 1, promised: bool) -> dict[Claim, str]:
    """How two claims of the keeper `k1` have ended, for all that is found out in so many looks."""
    ends: dict[Claim, str] = {}

    def end(claim: Claim, outcome: Outcome) -> None:
        ends[claim] = outcome.kind

    async def look() -> None:
        sealer = Sealer(rig.queue)
        strays = Strays(rig.queue, {}, sealer)
        async with task_group() as tasks:
            sealer.open(tasks)
            strays.begin(tasks, lambda _: None)
            (strays.add_promised if promised else strays.add)([(1, 1), (2, 1)], "k1")
            for _ in range(times):
                await strays.look(end, ())
            with anyio.move_on_after(60 if not strays.any else 0):
                while len(ends) < 2:
                    await anyio.sleep(0.01)
            tasks.cancel_scope.cancel()

    anyio.run(look)
    return ends


@pytest.mark.claim("again")
def test_what_a_keeper_has_noted_did_run_although_it_knows_of_no_end(rig: Rig) -> None:
    """The command has removed its record, and the keeper could not put it back, and has forgotten it since."""
    keeper = rig.home / "keepers" / "k1"
    keeper.mkdir(parents=True)
    (keeper / protocol.BOOT).write_text(verdict.processes.boot_id())
    (keeper / started.FILE).write_text("\n1 1 99 7 1 1.5\n")
    assert looked(rig, promised=True) == {(1, 1): "lost", (2, 1): "never_started"}


@pytest.mark.parametrize("promised", [False, True])
def test_a_claim_that_cannot_be_looked_at_is_told_of_once(
    rig: Rig, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture, promised: bool
) -> None:
    def fail(*_: object) -> None:
        raise OSError("the disk is gone")

    monkeypatch.setattr(verdict.records, "read", fail)
    with caplog.at_level(logging.WARNING):
        assert looked(rig, times=5, promised=promised) == {}
    assert len([message for message in caplog.messages if "the disk is gone" in message]) == 2, "one for each"

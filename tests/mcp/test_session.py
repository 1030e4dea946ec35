"""The session by itself: waking those who wait, reading on the loop, leaving nothing behind."""

import threading
from collections.abc import AsyncGenerator

import anyio
import pytest

from mcp_server.session import Session
from queue_core.errors import HomeError
from queue_core.jobs import Filter
from queue_core.sqlite import reads
from tests.helpers import wait_until
from tests.mcp.places import Place

pytestmark = pytest.mark.anyio

LIMIT = 240


@pytest.fixture
async def session(place: Place) -> AsyncGenerator[Session]:
    place.pause()
    session = Session(place.environ)
    async with session.lifespan():
        yield session
    session.close()


async def watches(place: Place) -> None:
    """Until the session hears of changes."""
    while not list((place.home / "bells").glob("watch-*")):
        await anyio.sleep(0.01)


async def test_whoever_waits_is_woken_by_another_process_and_misses_nothing(session: Session, place: Place) -> None:
    with anyio.fail_after(LIMIT):
        await watches(place)
        for _ in range(3):
            seen = session.changes
            await anyio.to_thread.run_sync(place.add)
            assert await session.changed(seen, timeout=60)
        assert await session.changed(seen, timeout=0)  # what has happened before one waits counts too
        assert not await session.changed(session.changes + 0, timeout=0)


async def test_a_read_sees_what_was_committed_before_it(session: Session, place: Place) -> None:
    ids = [place.add() for _ in range(3)]
    assert await session.read(reads.states_of(tuple(ids))) == dict.fromkeys(ids, "available")
    async with anyio.create_task_group() as tasks:
        for _ in range(5):
            tasks.start_soon(session.read, reads.ids(Filter()))
        tasks.cancel_scope.cancel()
    assert await session.read(reads.ids(Filter())) == ids  # cancelled readers leave no transaction behind


async def test_a_queue_that_cannot_be_opened_is_said_by_every_read_and_no_thread_is_left(place: Place) -> None:
    place.home.chmod(0o755)
    session = Session(place.environ)
    async with session.lifespan():
        for _ in range(2):
            with pytest.raises(HomeError, match="open to other users"):
                await session.read(reads.ids(Filter()))
        place.home.chmod(0o700)
        assert await session.read(reads.ids(Filter())) == []
    session.close()
    wait_until(lambda: not any("_connection_worker" in one.name for one in threading.enumerate()), "the thread is gone")

"""The engines that the conformance suite holds to the Store protocol; a test file names none of them."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING

import pytest

from queue_core.home import Home
from queue_core.sqlite.store import SqliteStore
from tests.conformance.builders import Bench
from tests.helpers import short_folder

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from queue_core.store import Store


@pytest.fixture(params=["sqlite", "sqlite-group-commit"])
def engine(request: pytest.FixtureRequest) -> str:
    return request.param


@pytest.fixture
def open_store(engine: str) -> Iterator[Callable[[], Store]]:
    """Opens an empty store each time it is called; all are closed at the end."""
    with ExitStack() as open_ones:

        def fresh() -> Store:
            folder = str(open_ones.enter_context(short_folder()))
            store = SqliteStore(Home(data=folder, config=folder), group_commit=engine == "sqlite-group-commit")
            open_ones.callback(store.close)
            return store

        yield fresh


@pytest.fixture
def store(open_store: Callable[[], Store]) -> Store:
    return open_store()


@pytest.fixture
def bench(store: Store) -> Bench:
    return Bench(store)

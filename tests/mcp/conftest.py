from collections.abc import Iterator

import pytest

from tests.helpers import short_folder
from tests.mcp.places import Place


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


def _places() -> Iterator[Place]:
    with short_folder() as folder, Place(folder) as place:
        yield place


@pytest.fixture
def place() -> Iterator[Place]:
    """A home and a project of the test's own, with nothing in them."""
    yield from _places()


@pytest.fixture(scope="module")
def workshop() -> Iterator[Place]:
    """A home that a module's tests share, with a worker that stands; agents may run anything."""
    for place in _places():
        place.configure(agents="allow")
        place.start_worker()
        yield place


@pytest.fixture(scope="module")
def office() -> Iterator[Place]:
    """A place with a worker and without rules."""
    for place in _places():
        place.start_worker()
        yield place


@pytest.fixture
def quiet(place: Place) -> Place:
    """A place where nothing runs."""
    place.pause()
    return place

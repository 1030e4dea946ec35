import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.helpers import remove
from tests.mcp.places import Place

IN_MEMORY = Path("/dev/shm")  # where there is one: what a disk costs is not what is tested here


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


def _places() -> Iterator[Place]:
    # Not tmp_path: the path of a keeper's socket has to be short.
    folder = Path(tempfile.mkdtemp(prefix="runq-", dir=IN_MEMORY if IN_MEMORY.is_dir() else None))
    try:
        with Place(folder) as place:
            yield place
    finally:
        remove(folder)


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

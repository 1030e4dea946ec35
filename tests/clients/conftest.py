from collections.abc import Iterator

import pytest

from tests.helpers import short_folder
from tests.mcp.places import Place


@pytest.fixture
def place() -> Iterator[Place]:
    """A home and a project of the test's own, with nothing in them."""
    with short_folder() as folder, Place(folder) as it:
        yield it

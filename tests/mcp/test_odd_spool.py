"""A server whose spool holds what cannot be read: the backlog is worked off all the same."""

import socket
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.mcp.places import Place
from tests.mcp.servers import Server

pytestmark = pytest.mark.claim("spool")


def as_socket(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as left, pytest.MonkeyPatch.context() as here:
        here.chdir(path.parent)  # a relative name is never too long
        left.bind(path.name)


def as_no_job(path: Path) -> None:
    path.write_text('[{"job": []}]')


@pytest.mark.parametrize("put", [as_socket, as_no_job])
def test_a_file_that_cannot_be_read_keeps_no_worker_from_being_booted(
    place: Place, put: Callable[[Path], None]
) -> None:
    job_id = place.add("true")
    spool = place.home / "spool"
    spool.mkdir(exist_ok=True)
    put(spool / "0000000000000-1-000000000000.json")
    with Server(place) as server:
        server.shake_hands()
        place.end(job_id)
        assert place.job(job_id).state == "succeeded"

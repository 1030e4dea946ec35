"""The SDK's own client over HTTP, in both eras; and limits, in the test's own loop so that it can reach them."""

import json
import signal
from collections.abc import Iterator
from typing import Any

import anyio
import anyio.to_thread
import pytest
from mcp.client.subscriptions import ResourcesListChanged, ResourceUpdated
from mcp.shared.exceptions import MCPError

from tests.helpers import TIME_OUTS
from tests.mcp.http_servers import (
    ACCEPT,
    INITIALIZE,
    JSON,
    MODULE_LIMIT,
    TOKEN,
    Served,
    client_of,
    exchange_here,
    known,
    limited,
    open_connection,
    request,
    staying,
)
from tests.mcp.places import Place, ask, read

pytestmark = pytest.mark.anyio


@pytest.fixture(scope="module")
def served(workshop: Place) -> Iterator[Served]:
    with Served(workshop, limit=MODULE_LIMIT) as server:
        yield server


# -- clients -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_of_either_era_works_with_the_queue(served: Served, mode: Any) -> None:
    async with served.client(mode) as client:
        assert {"enqueue", "run", "status", "wait"} <= {tool.name for tool in (await client.list_tools()).tools}
        queued = await ask(client, "enqueue", argv=["sh", "-c", "echo one; exit 3"], retries=0)
        assert (await ask(client, "wait", job_ids=[queued["id"]]))["done"]
        ran = await ask(client, "run", argv=["echo", "two"])
        assert (ran["state"], ran["output_tail"].strip().endswith("two")) == ("succeeded", True)
        assert (await ask(client, "status", job_id=queued["id"]))["exit_code"] == 3
        assert "one\n" in await read(client, f"queue://jobs/{queued['id']}/output")
        assert json.loads(await read(client, "queue://status"))["counts"]["dead"] >= 1
    job = served.place.job(ran["id"])
    assert (job.caller, job.project, job.cwd) == ("agent", str(served.place.project), str(served.place.project))


async def test_a_modern_client_hears_of_changes(served: Served) -> None:
    job_id = served.place.add("true", delay=1000)
    uri = f"queue://jobs/{job_id}"
    async with served.client() as client, client.listen(resource_subscriptions=[uri]) as events:
        await anyio.to_thread.run_sync(served.place.queue.cancel, [job_id])
        assert await anext(aiter(events)) == ResourceUpdated(uri=uri)
        async with client.listen(resources_list_changed=True) as lists:
            newest = await anyio.to_thread.run_sync(lambda: served.place.add("true", delay=1000))
            assert await anext(aiter(lists)) == ResourcesListChanged()
        assert (await client.list_resources()).resources[3].uri == f"queue://jobs/{newest}"


@pytest.mark.filterwarnings("ignore:resources/")
@pytest.mark.parametrize("method", ["subscribe_resource", "unsubscribe_resource"])
async def test_a_session_cannot_unsubscribe_others(served: Served, method: str) -> None:
    job_id = served.place.add("true", delay=1000)
    uri = f"queue://jobs/{job_id}"
    async with served.client() as client, client.listen(resource_subscriptions=[uri]) as events:
        async with served.client("legacy") as older:
            with pytest.raises(MCPError, match="Method not found"):
                await getattr(older.session, method)(uri)
        await anyio.to_thread.run_sync(served.place.queue.cancel, [job_id])
        assert await anext(aiter(events)) == ResourceUpdated(uri=uri)


async def test_a_backlog_is_drained_before_any_client_comes_and_nobody_is_asked_on_the_spot(place: Place) -> None:
    """Whoever holds the token may be a program: what no rule covers waits for the user."""

    async def answer(*_: Any) -> Any:
        raise AssertionError("a client was asked")

    ids = [place.add("sh", "-c", f"exit {code}") for code in range(3)]
    with Served(place) as server:
        await anyio.to_thread.run_sync(place.all_end, ids)
        for mode in ("auto", "legacy"):
            async with client_of(server.port, server.token, mode, elicitation_callback=answer) as client:
                assert (await ask(client, "enqueue", argv=["sh", "-c", "true"]))["state"] == "held"
        assert server.end(signal.SIGINT) == (0, b"")
    assert [place.job(job_id).exit_code for job_id in ids] == [0, 1, 2]


async def test_the_queue_is_opened_and_watched_once_for_all_clients(place: Place) -> None:
    place.pause()
    async with limited(place) as port:
        for mode in ("auto", "legacy", "auto"):
            async with client_of(port, TOKEN, mode) as client:
                await ask(client, "status")
        assert len(list((place.home / "bells").glob("watch-*"))) == 1


async def test_the_health_check_tells_of_a_queue_that_cannot_be_opened_and_not_why(place: Place) -> None:
    place.home.chmod(0o755)
    async with limited(place) as port:
        reply = await exchange_here(port, request("GET", "/healthz", f"Host: 127.0.0.1:{port}"))
    assert (reply.status, json.loads(reply.body)) == (503, {"status": "unavailable"})


# -- limits --------------------------------------------------------------------------------------------------


def opening(port: int) -> bytes:
    return request("POST", "/mcp", *known(port, ACCEPT, JSON), body=INITIALIZE)


async def test_a_body_has_a_bounded_time_to_arrive(place: Place) -> None:
    async with limited(place, body_seconds=0.05) as port:
        half = request("POST", "/mcp", *known(port, ACCEPT, JSON, "Content-Length: 100"))
        assert (await exchange_here(port, half, b"{")).status == 408
        assert (await exchange_here(port, opening(port))).status == 200


async def test_a_connection_has_a_bounded_time_to_bring_a_request(place: Place) -> None:
    async with limited(place, head_seconds=0.05) as port:
        for begun in (b"", b"GET /mcp HTTP/1.1\r\nHost: 127"):
            with open_connection(port, begun) as connection:
                assert await anyio.to_thread.run_sync(_rest_of, connection) == b""
        after_one = staying(request("GET", "/healthz", f"Host: 127.0.0.1:{port}"))
        with open_connection(port, after_one + b"GET /heal") as connection:
            assert (await anyio.to_thread.run_sync(_rest_of, connection)).startswith(b"HTTP/1.1 200")


def _rest_of(connection: Any) -> bytes:
    """What comes until the other end closes."""
    received = bytearray()
    try:
        while chunk := connection.recv(65536):
            received += chunk
    except ConnectionResetError:
        pass
    return bytes(received)


async def test_so_many_requests_at_once_and_no_more(place: Place) -> None:
    async with limited(place, requests=1) as port:
        half = request(
            "POST", "/mcp", *known(port, ACCEPT, JSON, f"Content-Length: {len(INITIALIZE)}", "Expect: 100-continue")
        )
        with open_connection(port, half) as first:
            # It is asked for its body, so it is being served.
            assert (await anyio.to_thread.run_sync(first.recv, 65536)).startswith(b"HTTP/1.1 100")
            refused = await exchange_here(port, opening(port))
            assert (refused.status, refused.headers["retry-after"]) == (503, "1")
            assert (await exchange_here(port, request("GET", "/healthz", f"Host: 127.0.0.1:{port}"))).status == 200
            first.sendall(INITIALIZE)
            assert b"HTTP/1.1 200" in await anyio.to_thread.run_sync(_rest_of, first)
        assert (await exchange_here(port, opening(port))).status == 200


async def test_so_many_connections_at_once_and_no_more(place: Place) -> None:
    async with limited(place, connections=1, head_seconds=1000) as port:
        health = staying(request("GET", "/healthz", f"Host: 127.0.0.1:{port}"))
        with open_connection(port, health) as first:
            assert (await anyio.to_thread.run_sync(first.recv, 65536)).startswith(b"HTTP/1.1 200")
            with open_connection(port, b"") as second:
                assert await anyio.to_thread.run_sync(_rest_of, second) == b""


async def test_so_many_sessions_and_an_idle_one_makes_room(place: Place) -> None:
    for idle in TIME_OUTS:
        if await an_idle_session_made_room(place, idle):
            break
    else:
        pytest.fail("there was always room")


async def an_idle_session_made_room(place: Place, idle: float) -> bool:
    """False if the machine was so busy that the first had been idle for long when the second came."""
    async with limited(place, sessions=1, session_idle=idle) as port:
        first = await exchange_here(port, opening(port))
        assert first.status == 200
        if (await exchange_here(port, opening(port))).status == 200:
            return False
        while (await exchange_here(port, opening(port))).status == 503:
            await anyio.sleep(0.01)
        gone = request("GET", "/mcp", *known(port, ACCEPT, f"Mcp-Session-Id: {first.headers['mcp-session-id']}"))
        assert (await exchange_here(port, gone)).status == 404
    return True

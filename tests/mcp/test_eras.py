"""The SDK's own client over real stdio, in both eras: what there is besides tools, and what is told unasked."""

import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager
from typing import Any

import anyio
import anyio.to_thread
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.subscriptions import ResourcesListChanged, ResourceUpdated
from mcp.shared.exceptions import MCPError
from mcp_types import (
    PromptReference,
    ResourceListChangedNotification,
    ResourceTemplateReference,
    ResourceUpdatedNotification,
)

from mcp_server.server import ICON
from tests.mcp.places import Place

pytestmark = [pytest.mark.anyio, pytest.mark.filterwarnings("ignore:resources/subscribe")]

LIMIT = 240
JOB, OUTPUT = "queue://jobs/{job_id}", "queue://jobs/{job_id}/output"
SAYS = """echo "first line" > "$RUNQ_PROGRESS"; until [ -e "$1" ]; do sleep 0.02; done
echo "a \tsecond   line" >> "$RUNQ_PROGRESS"; until [ -e "$2" ]; do sleep 0.02; done"""


class Ears:
    """A client with what it is told unasked."""

    def __init__(self) -> None:
        self.client: Client
        self.told: list[Any] = []
        self._news = anyio.Event()

    async def hear(self, message: Any) -> None:
        self.told.append(message)
        self._news.set()
        self._news = anyio.Event()

    async def until(self, kind: type) -> Any:
        """The next of this kind, which is then forgotten."""
        while True:
            for one in self.told:
                if isinstance(one, kind):
                    self.told.remove(one)
                    return one
            await self._news.wait()


@asynccontextmanager
async def connected(place: Place, mode: Any) -> AsyncGenerator[Ears]:
    server = StdioServerParameters(command=sys.executable, args=["-m", "mcp_server"], env=place.environ)
    ears = Ears()
    with anyio.fail_after(LIMIT):
        async with Client(server, mode=mode, message_handler=ears.hear) as ears.client:
            yield ears


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_of_either_era_is_offered_and_told_everything(workshop: Place, mode: Any) -> None:
    async with connected(workshop, mode) as ears:
        client = ears.client
        assert (client.protocol_version >= "2026") == (mode == "auto")
        capabilities = client.server_capabilities
        assert capabilities.completions is not None
        assert capabilities.resources and capabilities.resources.list_changed and capabilities.resources.subscribe
        assert client.server_info.icons and client.server_info.icons[0].src == ICON
        await is_told_how_far_it_is(workshop, client, workshop.project / mode)
        job_id = await is_told_of_new_jobs(workshop, ears, mode)
        await is_told_of_a_job(workshop, ears, mode, job_id)
        await completes(client, job_id)
        await explains(client, job_id)


async def is_told_how_far_it_is(place: Place, client: Client, gate: Any) -> None:
    told: list[tuple[float, float | None, str]] = []
    gates = [gate.with_suffix(".first"), gate.with_suffix(".second")]

    async def progress(done: float, total: float | None, message: str | None) -> None:
        assert message
        told.append((done, total, message))
        if message.endswith(": first line"):
            gates[0].touch()
        if message.endswith(": a second line"):
            gates[1].touch()

    arguments = {"argv": ["sh", "-c", SAYS, "sh", *map(str, gates)]}
    result = await client.call_tool("run", arguments, progress_callback=progress)
    assert result.structured_content and result.structured_content["state"] == "succeeded"
    values = [done for done, _, _ in told]
    assert values == sorted(set(values)), "each is more than the one before"
    assert {total for _, total, _ in told} == {1} and values[-1] == 1
    assert told[-1][2] == f"job {result.structured_content['id']} has ended: succeeded"


async def is_told_of_new_jobs(place: Place, ears: Ears, mode: str) -> int:
    before = {resource.uri for resource in (await ears.client.list_resources()).resources}
    if mode == "legacy":
        job_id = place.add("make", "test", "-j", delay=3600.0)
        await ears.until(ResourceListChangedNotification)
    else:
        async with ears.client.listen(resources_list_changed=True) as events:
            job_id = place.add("make", "test", "-j", delay=3600.0)
            assert await anext(aiter(events)) == ResourcesListChanged()
    newest = (await ears.client.list_resources()).resources[3]
    assert (newest.uri, newest.name) == (f"queue://jobs/{job_id}", f"job-{job_id}")
    assert newest.title == f"Job {job_id}: make test …" and newest.uri not in before
    return job_id


async def is_told_of_a_job(place: Place, ears: Ears, mode: str, job_id: int) -> None:
    uris = [f"queue://jobs/{job_id}", "queue://status"]
    if mode == "legacy":
        for uri in uris:
            await ears.client.session.subscribe_resource(uri)
        place.queue.cancel([job_id])
        updates = [await ears.until(ResourceUpdatedNotification) for _ in uris]
        assert {str(update.params.uri) for update in updates} == set(uris)
    else:
        async with ears.client.listen(resource_subscriptions=uris) as events:
            place.queue.cancel([job_id])
            updated = [await anext(aiter(events)) for _ in uris]
            assert set(updated) == {ResourceUpdated(uri=uri) for uri in uris}


async def completes(client: Client, job_id: int) -> None:
    async def offered(ref: PromptReference | ResourceTemplateReference, name: str, value: str) -> list[str]:
        return (await client.complete(ref, {"name": name, "value": value})).completion.values

    summarize, explain = PromptReference(name="summarize_jobs"), PromptReference(name="explain_job")
    for ref in (ResourceTemplateReference(uri=JOB), ResourceTemplateReference(uri=OUTPUT), explain):
        assert (await offered(ref, "job_id", ""))[0] == str(job_id)
        assert str(job_id) in await offered(ref, "job_id", str(job_id)[:1])
        assert await offered(ref, "job_id", "x") == []
    assert await offered(summarize, "state", "s") == ["scheduled", "succeeded"]
    assert "default" in await offered(summarize, "queue", "def")
    assert await offered(summarize, "no_such", "") == []
    assert await offered(PromptReference(name="no_such"), "no_such", "") == []


async def explains(client: Client, job_id: int) -> None:
    for name, arguments, expected in (
        ("explain_job", {"job_id": str(job_id)}, '"argv": ["make", "test", "-j"]'),
        ("summarize_jobs", {"state": "cancelled", "queue": ""}, f'"id": {job_id}'),
        ("triage_dead_letters", {"queue": "nowhere"}, "\n[]\n"),
    ):
        (message,) = (await client.get_prompt(name, arguments)).messages
        assert expected in message.content.text  # type: ignore[union-attr]
    with pytest.raises(MCPError, match='There is no tool "no_such"; there are enqueue, run'):
        await client.call_tool("no_such")


async def test_of_many_ids_the_newest_are_offered_and_the_others_counted(place: Place) -> None:
    from queue_core.model import NewJob, Origin

    jobs = [NewJob(argv=("true",), delay=3600.0)] * 120
    newest = place.queue.enqueue(jobs, Origin(caller="person"), folder=str(place.project))[-1].id
    async with place.client() as client:
        found = (await client.complete(ResourceTemplateReference(uri=JOB), {"name": "job_id", "value": ""})).completion
        assert (found.values[0], len(found.values), found.total, found.has_more) == (str(newest), 100, 120, True)
        some = (await client.complete(ResourceTemplateReference(uri=JOB), {"name": "job_id", "value": "11"})).completion
        assert (some.values[-1], some.total, some.has_more) == ("11", 11, False)
        listed = (await client.list_resources()).resources
        assert [one.uri for one in listed[3:]] == [f"queue://jobs/{one}" for one in range(newest, newest - 20, -1)]

"""Resources, the updates that are told about them, and prompts."""

import json
import re
from typing import Any

import anyio
import pytest
from mcp.client import Client
from mcp.client.subscriptions import ResourceUpdated
from mcp.shared.exceptions import MCPError
from mcp_types import INVALID_PARAMS

from tests.mcp.places import Place, ask, nulls_in, read
from tests.mcp.servers import Server

pytestmark = pytest.mark.anyio

LIMIT = 240


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_the_five_resources_are_read(workshop: Place, mode: Any) -> None:
    dead = workshop.die("sh", "-c", "echo why; exit 4")
    async with workshop.client(mode=mode) as client:
        listed = [resource.uri for resource in (await client.list_resources()).resources]
        assert listed[:4] == ["queue://status", "queue://statistics", "queue://dead-letters", f"queue://jobs/{dead}"]
        templates = {one.uri_template for one in (await client.list_resource_templates()).resource_templates}
        assert templates == {"queue://jobs/{job_id}", "queue://jobs/{job_id}/output"}
        status = json.loads(await read(client, "queue://status"))
        assert status["counts"]["dead"] >= 1 and status["worker"]["state"] in ("idle", "busy")
        figures = json.loads(await read(client, "queue://statistics"))
        assert figures["jobs"]["dead"] >= 1 and figures["ran"]["max"] >= 0 and figures["hours"] == 24.0
        assert json.loads(await read(client, "queue://dead-letters"))["jobs"][0]["id"] == dead
        job = json.loads(await read(client, f"queue://jobs/{dead}"))
        assert (job["exit_code"], job["attempts"][0]["output_bytes"]) == (4, 4)
        assert job["output_tail"] == f"[untrusted output of job {dead}]\nwhy\n"
        assert not list(nulls_in({**job, "attempts": []}))
        lines = (await read(client, f"queue://jobs/{dead}/output")).splitlines()
        assert lines[0].startswith(f"[untrusted output of job {dead}, up to") and lines[1] == "why"


@pytest.mark.parametrize("job_id", ["0", "999999", "x", "-1", "9" * 30, "1%20", "²"])
@pytest.mark.parametrize("tail", ["", "/output"])
async def test_a_job_that_there_is_not_is_not_found(workshop: Place, job_id: str, tail: str) -> None:
    async with workshop.client() as client:
        with pytest.raises(MCPError) as refusal:
            await client.read_resource(f"queue://jobs/{job_id}{tail}")
    assert refusal.value.error.code == -32602
    assert "no job" in refusal.value.error.message or "whole number" in refusal.value.error.message


async def test_a_modern_client_hears_of_what_it_subscribed_to_and_of_nothing_else(place: Place) -> None:
    place.configure(agents="allow")
    place.pause()
    first, second = place.add("true"), place.add("true")
    wanted = [f"queue://jobs/{second}", "queue://status"]
    async with place.client() as client:
        with anyio.fail_after(LIMIT):
            async with client.listen(resource_subscriptions=wanted) as events:
                await ask(client, "cancel", job_ids=[first])
                assert await anext(aiter(events)) == ResourceUpdated(uri="queue://status")
                place.queue.cancel([second])  # another process, in effect
                heard = await heard_until(events, ResourceUpdated(uri=f"queue://jobs/{second}"))
        assert heard <= {ResourceUpdated(uri=uri) for uri in wanted}


async def heard_until(events: Any, last: object) -> set[object]:
    heard: set[object] = set()
    async for event in events:
        heard.add(event)
        if event == last:
            break
    return heard


ROUNDS = """for round in 1 2 3; do until [ -e "$1.$round" ]; do sleep 0.02; done; echo more; done"""


async def test_growing_output_and_later_changes_of_a_dead_letter_are_told(workshop: Place) -> None:
    gate = workshop.project / "growing"
    running = workshop.add("sh", "-c", ROUNDS, "sh", str(gate))
    dead = workshop.die("false")
    output, letter = (ResourceUpdated(uri=uri) for uri in (f"queue://jobs/{running}/output", f"queue://jobs/{dead}"))
    async with workshop.client() as client:
        with anyio.fail_after(LIMIT):
            async with client.listen(resource_subscriptions=[output.uri, letter.uri]) as events:
                for number in (1, 2):  # while nothing changes in the queue itself
                    gate.with_name(f"growing.{number}").touch()
                    await heard_until(events, output)
                workshop.queue.discard([dead])
                await heard_until(events, letter)
                gate.with_name("growing.3").touch()
                assert (await ask(client, "wait", job_ids=[running]))["done"]


def test_a_client_of_the_handshake_era_hears_until_it_unsubscribes(place: Place) -> None:
    place.pause()
    job_id, other = place.add("true"), place.add("true")
    uri = f"queue://jobs/{job_id}"
    with Server(place) as server:
        server.shake_hands()
        assert server.ask("resources/subscribe", uri=uri) == {}
        place.queue.cancel([other, job_id])
        assert server.notification("notifications/resources/updated") == {"uri": uri}
        assert server.ask("resources/unsubscribe", uri=uri) == {}
        assert server.ask("resources/subscribe", uri="queue://status") == {}
        third = place.add("true", unique="third")
        assert server.notification("notifications/resources/updated") == {"uri": "queue://status"}
        assert place.job(third).state == "available"


async def test_the_prompts_show_what_they_speak_of(workshop: Place) -> None:
    dead = workshop.die("sh", "-c", "exit 9")
    waiting = workshop.add("true", name="a job to come", delay=3600.0)
    async with workshop.client() as client:
        triage = await prompt(client, "triage_dead_letters")
        assert f'"id": {dead}' in triage and '"exit_code": 9' in triage and "change nothing before I agree" in triage
        backlog = await prompt(client, "explain_backlog")
        assert f'"id": {waiting}' in backlog and "a job to come" in backlog and '"counts"' in backlog
        for text in (triage, backlog):
            frame = r"\n\[untrusted data of jobs, up to the line with (\w{16})\]\n(.|\n)*\n\[end of .*: \1\]$"
            assert re.search(frame, text), text


@pytest.mark.parametrize("mode", ["auto", "legacy"])
@pytest.mark.parametrize(
    ("name", "arguments", "told"),
    [
        ("no_such", None, "There is no such prompt; there are triage_dead_letters, explain_backlog, explain_job"),
        ("explain_backlog", {"job_id": "1"}, 'explain_backlog takes `queue`, and no "job_id".'),
        ("summarize_jobs", {"stat\u202ee": "1"}, r'takes the arguments `state` and `queue`, and no "stat\u202ee".'),
        ("summarize_jobs", {"state": "done"}, "There is no such state; there are held, blocked"),
        ("explain_job", {}, "explain_job needs the argument `job_id`."),
        ("explain_job", {"job_id": ""}, "explain_job needs the argument `job_id`."),
        ("explain_job", {"job_id": "seven"}, "A job's id is a positive whole number, not 'seven'."),
        ("explain_job", {"job_id": "99999"}, "there is no job 99999; `list_jobs` shows"),
    ],
)
async def test_a_prompt_or_an_argument_that_there_is_not_is_the_client_s_mistake(
    workshop: Place, mode: Any, name: str, arguments: dict[str, str] | None, told: str
) -> None:
    async with workshop.client(mode=mode) as client:
        with pytest.raises(MCPError) as refused:
            await client.get_prompt(name, arguments)
    assert refused.value.error.code == INVALID_PARAMS
    assert told in refused.value.error.message


async def prompt(client: Client, name: str) -> str:
    (message,) = (await client.get_prompt(name)).messages
    return message.content.text  # type: ignore[union-attr]

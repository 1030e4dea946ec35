"""The tools that put in, look and change, as a client sees them. Nothing runs here: the queue is paused."""

import sqlite3
from collections.abc import AsyncGenerator
from typing import Any

import anyio
import pytest
from mcp.client import Client

from queue_core.jobs import Filter
from tests.mcp.places import Place, ask, refused

SECRET = "s3cr3t-value"

pytestmark = pytest.mark.anyio


@pytest.fixture
async def client(place: Place) -> AsyncGenerator[Client]:
    place.configure(agents="allow", capacity=100)
    place.pause()
    async with place.client() as client:
        yield client


async def queued(client: Client, place: Place, **arguments: Any) -> Any:
    """The job that `enqueue` has made of these arguments."""
    reply = await ask(client, "enqueue", **arguments)
    return place.job(reply["id"])


# -- enqueue -------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("on_dead", "steps"),
    [
        (["echo", "dead"], [["echo", "dead"]]),
        ([["echo", "1"], ["true", "2"]], [["echo", "1"], ["true", "2"]]),
        ([], []),
    ],
)
async def test_every_argument_of_enqueue_reaches_the_job(
    client: Client, place: Place, on_dead: list[Any], steps: list[list[str]]
) -> None:
    first = (await ask(client, "enqueue", argv=["true"]))["id"]
    (place.project / "sub").mkdir()
    given: dict[str, Any] = {
        "cwd": "sub",
        "env": {"TOKEN": SECRET},
        "stdin": "input",
        "queue": "builds",
        "priority": "high",
        "sequential": True,
        "after": [first],
        "timeout": 5.5,
        "retries": 2,
        "backoff": "linear",
        "unique": "key",
        "locks": ["gpu=2"],
        "name": "a name",
        "meta": {"k": "v"},
        "on_dead": on_dead,
    }
    job = await queued(client, place, argv=["echo", "a b", "$HOME"], **given)
    assert job.argv == ("echo", "a b", "$HOME")
    assert (job.cwd, job.env["TOKEN"]) == (str(place.project / "sub"), SECRET)
    assert (job.queue, job.priority, job.sequential, job.state) == ("builds", "high", True, "blocked")
    assert (job.timeout, job.retries, job.unique_key, job.locks) == (5.5, 2, "key", ("gpu",))
    assert (job.name, job.meta) == ("a name", {"k": "v"})
    assert [list(step.argv) for step in job.on_dead] == steps
    assert (job.caller, job.project) == ("agent", str(place.project))


async def test_a_command_is_split_like_a_shell_would_and_kwargs_become_flags(client: Client, place: Place) -> None:
    flags = {"dry_run": True, "quiet": False, "label": ["a", "b c"], "n": 3, "skip": None}
    job = await queued(client, place, command="echo 'one two' $X | cat", kwargs=flags)
    assert job.argv[:5] == ("echo", "one two", "$X", "|", "cat")
    assert job.argv[5:] == ("--dry-run", "--label", "a", "--label", "b c", "--n", "3")


async def test_a_time_to_come_schedules_and_a_key_finds_the_live_job(client: Client) -> None:
    first = await ask(client, "enqueue", argv=["true"], delay=3600, unique="k")
    again = await ask(client, "enqueue", argv=["true"], unique="k")
    assert first["state"] == "scheduled"
    assert again == {"id": first["id"], "state": "scheduled", "existing": True}
    later = await ask(client, "enqueue", argv=["true"], at="2099-01-01T00:00:00Z")
    assert (await ask(client, "status", job_id=later["id"]))["scheduled_at"] == "2099-01-01T00:00:00.000Z"


async def test_a_single_id_may_be_given_without_a_list(client: Client, place: Place) -> None:
    first = place.add("true")
    assert (await ask(client, "enqueue", argv=["true"], after=first))["state"] == "blocked"
    assert (await ask(client, "cancel", job_ids=str(first)))["jobs"] == [{"id": first, "state": "cancelled"}]


BAD_JOBS = [
    ({}, "either as argv"),
    ({"argv": ["true"], "command": "true"}, "either as argv"),
    ({"command": "echo 'open"}, "quot"),
    ({"argv": ["no-such-program-here"]}, "there is no program `no-such-program-here`"),
    ({"argv": ["./nothing"]}, "check the path and cwd"),
    ({"argv": ["a\0b"]}, "NUL byte"),
    ({"argv": ["true"], "cwd": "nowhere"}, "give another cwd"),
    ({"argv": ["true"], "cwd": "a\0b"}, ""),
    ({"argv": ["true"], "queue": "no spaces"}, "letters, digits"),
    ({"argv": ["true"], "queue": "a\0"}, "letters, digits"),
    ({"argv": ["true"], "priority": "urgent"}, "one of critical, high, normal, low"),
    ({"argv": ["true"], "after": [999]}, "`list_jobs` shows the ids"),
    ({"argv": ["true"], "after": [2**70]}, "positive whole number"),
    ({"argv": ["true"], "delay": -1}, "at least 0"),
    ({"argv": ["true"], "at": "soonish"}, "2026-11-22T18:00"),
    ({"argv": ["true"], "delay": 1, "at": "2099-01-01"}, "not both"),
    ({"argv": ["true"], "timeout": 0}, "at least 0.001"),
    ({"argv": ["true"], "retries": "many"}, "must be an integer"),
    ({"argv": ["true"], "locks": ["a=x"]}, "NAME=CAPACITY"),
    ({"argv": ["true"], "env": {"": "x"}}, "name is not empty"),
    ({"argv": "true"}, "must be a list of strings"),
    ({"argv": ["true"], "prio": "low"}, "did you mean `priority`"),
]


@pytest.mark.parametrize(("arguments", "sentence"), BAD_JOBS)
async def test_a_job_that_makes_no_sense_is_refused_with_what_to_do(
    client: Client, place: Place, arguments: dict[str, Any], sentence: str
) -> None:
    text = await refused(client, "enqueue", **arguments)
    assert sentence.lower() in text.lower()
    assert "failed inside runq" not in text
    assert "runq add" not in text
    assert not place.queue.ids(Filter())


async def test_an_agent_is_refused_where_the_queue_is_full_for_it(place: Place) -> None:
    place.configure(agents="allow", capacity=10)
    place.pause()
    async with place.client() as client:
        receipts = [await client.call_tool("enqueue", {"argv": ["true"]}) for _ in range(11)]
        assert not receipts[0].is_error
        assert "the queue is full" in (await refused(client, "enqueue", argv=["true"])).lower()
        assert (await ask(client, "health"))["level"] in ("warning", "error")
        waiting = (await ask(client, "list_jobs", state="available", limit=1))["jobs"][0]["id"]
        await ask(client, "cancel", job_ids=[waiting])
        assert (await ask(client, "enqueue", argv=["true"]))["state"] == "available"


# -- policy --------------------------------------------------------------------------------------------------

RULES = """
[[allow]]
argv = ["echo", "..."]
[[deny]]
argv = ["env"]
reason = "it shows keys"
"""


async def test_rules_allow_hold_or_deny(place: Place) -> None:
    place.rules(RULES)
    place.pause()
    async with place.client() as client:
        assert (await ask(client, "enqueue", argv=["echo", "x"]))["state"] == "available"
        held = await ask(client, "enqueue", argv=["touch", "x"])
        assert held["state"] == "held"
        assert f"`runq approve --show {held['id']}`, then `runq approve {held['id']}`" in held["next"]
        assert (await ask(client, "run", argv=["touch", "y"]))["state"] == "held"
        assert "it shows keys" in await refused(client, "enqueue", argv=["env"])
        assert "outside the folders" in await refused(client, "run", argv=["echo"], cwd="/")
        assert "TOKEN" in (await ask(client, "enqueue", argv=["echo"], env={"TOKEN": SECRET}))["next"]
        status = await ask(client, "status", job_id=held["id"])
        assert "approval" in status["waiting_for"]
        problems = (await ask(client, "health"))["problems"]
        assert any("`list_jobs`" in problem for problem in problems)
        assert not any("runq list" in problem for problem in problems)


async def test_no_reply_ever_shows_a_variables_value_or_input(client: Client, place: Place) -> None:
    given: dict[str, Any] = {"argv": ["true"], "env": {"KEY": SECRET}, "stdin": SECRET}
    job_id = (await ask(client, "enqueue", **given))["id"]
    seen = [
        await ask(client, "status", job_id=job_id),
        await ask(client, "list_jobs"),
        await ask(client, "wait", job_ids=[job_id], timeout=0),
        (await client.read_resource(f"queue://jobs/{job_id}")).contents,
        (await client.get_prompt("explain_backlog")).messages,
        await ask(client, "cancel", job_ids=[job_id]),
    ]
    assert SECRET not in repr(seen)
    assert place.job(job_id).env["KEY"] == SECRET


# -- status, health, lists -----------------------------------------------------------------------------------


async def test_the_status_is_short_and_says_what_a_job_waits_for(client: Client, place: Place) -> None:
    allowed = 'agents may run anything: config.toml says agents = "allow"'
    assert await ask(client, "status") == {
        "counts": {},
        "worker": {"state": "off", "pids": []},
        "health": {"level": "ok", "pending": 0, "capacity": 100, "usage": 0.0, "dead": 0, "problems": [allowed]},
        "queues": {"default": {"paused": True}},
    }
    job_id = place.add("echo", "x" * 1000, *["y"] * 100)
    reply = await ask(client, "status", job_id=job_id)
    assert {"id", "state", "argv", "cwd", "max_attempts", "created_at", "waiting_for"} <= reply.keys()
    assert "runq resume default" in reply["waiting_for"]
    assert reply["argv"][1] == "x" * 300 + "…" and reply["argv"][-1] == "… 62 more"


async def test_lists_are_filtered_and_a_cursor_tells_what_ended_since(client: Client, place: Place) -> None:
    ids = [place.add("true", queue="default" if number % 2 else "other", delay=3600.0) for number in range(4)]
    found = await ask(client, "list_jobs", state="scheduled", queue="other")
    assert [job["id"] for job in found["jobs"]] == [ids[2], ids[0]]
    assert len((await ask(client, "list_jobs", limit=3))["jobs"]) == 3
    await ask(client, "cancel", job_ids=ids[:2])
    since = await ask(client, "list_jobs", since=found["cursor"])
    assert [job["id"] for job in since["jobs"]] == ids[:2]
    assert (await ask(client, "list_jobs", since=int(since["cursor"])))["jobs"] == []


async def test_a_wait_with_a_cursor_brings_what_ended_since_and_the_next_cursor(client: Client, place: Place) -> None:
    ids = [(await ask(client, "enqueue", argv=["true"]))["id"] for _ in range(3)]
    cursor = (await ask(client, "list_jobs"))["cursor"]
    await ask(client, "cancel", job_ids=ids[:2])
    first = await ask(client, "wait", since=cursor, timeout=20)
    assert [job["id"] for job in first["jobs"]] == ids[:2]
    assert first["done"] is True
    nothing = await ask(client, "wait", since=first["cursor"], timeout=0)
    assert nothing == {"jobs": [], "done": False, "cursor": first["cursor"]}
    async with anyio.create_task_group() as tasks:  # it is woken by what ends while it waits

        async def wait() -> None:
            later = await ask(client, "wait", since=first["cursor"], timeout=20)
            assert [job["id"] for job in later["jobs"]] == ids[2:]

        tasks.start_soon(wait)
        await ask(client, "cancel", job_ids=ids[2:])


@pytest.mark.parametrize("given", [{}, {"job_ids": [1], "since": "0"}])
async def test_a_wait_is_for_jobs_or_for_whatever_ends(client: Client, given: dict[str, Any]) -> None:
    assert "either job_ids or since" in await refused(client, "wait", **given)


@pytest.mark.parametrize("since", ["²", "-1", "yesterday", 2**80])
async def test_a_cursor_that_is_none_is_refused(client: Client, since: Any) -> None:
    assert "cursor" in await refused(client, "list_jobs", since=since)


@pytest.mark.parametrize("job_id", [0, -1, 2**63, 2**80])
@pytest.mark.parametrize("tool", ["status", "output", "wait", "cancel", "dead_letter_retry", "dead_letter_discard"])
async def test_an_impossible_id_is_refused_by_every_tool(client: Client, tool: str, job_id: int) -> None:
    arguments = {"job_id": job_id} if tool in ("status", "output") else {"job_ids": [job_id]}
    assert "positive whole number" in await refused(client, tool, **arguments)


async def test_an_unknown_id_is_named_and_nothing_is_changed(client: Client, place: Place) -> None:
    known = place.add("true")
    for tool in ("status", "output"):
        assert await refused(client, tool, job_id=77) == "There is no job 77; `list_jobs` shows the jobs there are."
    for tool in ("wait", "cancel"):
        assert "no job 77" in await refused(client, tool, job_ids=[known, 77])
    for tool in ("dead_letter_retry", "dead_letter_discard"):
        assert "no job 77" in await refused(client, tool, job_ids=[77])
        assert "no job 77" in await refused(client, tool, job_ids=[known, 77], dry_run=True)
        assert f"Job {known} is available; only" in await refused(client, tool, job_ids=[known])
    assert place.job(known).state == "available"


async def test_cancelling_says_what_became_of_each(client: Client, place: Place) -> None:
    first, second = place.add("true"), place.add("true")
    await ask(client, "cancel", job_ids=[first])
    reply = await ask(client, "cancel", job_ids=[second, first, second])
    assert reply["jobs"] == [{"id": second, "state": "cancelled"}, {"id": first, "state": "cancelled"}]
    assert reply["note"] == f"had ended before: {first}"


async def test_a_bulk_is_told_in_short(client: Client, place: Place) -> None:
    ids = [place.add("true") for _ in range(30)]
    reply = await ask(client, "cancel", job_ids=ids)
    assert len(reply["jobs"]) == 20 and reply["counts"] == {"cancelled": 30}
    waited = await ask(client, "wait", job_ids=ids, timeout=0)
    assert len(waited["jobs"]) == 20 and waited["counts"] == {"cancelled": 30} and waited["done"]
    assert "1 to 500 ids" in await refused(client, "cancel", job_ids=list(range(1, 502)))
    assert "1 to 500 ids" in await refused(client, "wait", job_ids=[])


# -- a queue that cannot be opened ---------------------------------------------------------------------------

EVERY_TOOL: dict[str, dict[str, Any]] = {
    "enqueue": {"argv": ["true"]},
    "run": {"argv": ["true"]},
    "status": {},
    "health": {},
    "list_jobs": {},
    "output": {"job_id": 1},
    "wait": {"job_ids": [1]},
    "cancel": {"job_ids": [1]},
    "dead_letter_list": {},
    "dead_letter_retry": {"job_ids": [1]},
    "dead_letter_discard": {"job_ids": [1]},
}


async def test_every_tool_says_why_the_queue_cannot_be_opened_until_it_can(place: Place) -> None:
    place.home.chmod(0o755)
    async with place.client() as client:
        assert {tool.name for tool in (await client.list_tools()).tools} == set(EVERY_TOOL)
        for tool, arguments in EVERY_TOOL.items():
            assert "is open to other users" in await refused(client, tool, **arguments), tool
        with pytest.raises(Exception, match="is open to other users"):
            await client.read_resource("queue://status")
        with pytest.raises(Exception, match="is open to other users"):
            await client.get_prompt("explain_backlog")
        place.home.chmod(0o700)
        assert (await ask(client, "status"))["counts"] == {}


def upgrade(place: Place) -> None:
    """What a newer runq does to the database."""
    assert place.queue
    with sqlite3.connect(place.queue.home.database) as connection:
        connection.execute("PRAGMA user_version = 99")
    connection.close()


async def test_a_database_of_a_newer_version_is_not_touched(place: Place) -> None:
    upgrade(place)
    async with place.client() as client:
        assert "newer runq" in await refused(client, "enqueue", argv=["true"])
        assert "newer runq" in await refused(client, "wait", job_ids=[1])


async def test_an_upgrade_under_its_feet_is_told_too(client: Client, place: Place) -> None:
    await ask(client, "enqueue", argv=["true"])
    upgrade(place)
    assert "newer runq" in await refused(client, "enqueue", argv=["true"])

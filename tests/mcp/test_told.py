"""What a session's agent has been given by a tool, `runq digest` does not tell it once more."""

import json
import subprocess
import sys

import pytest

from tests.mcp.places import Place, ask

DIGEST = [sys.executable, "-P", "-c", "import sys; from queue_core.launch import main; sys.exit(main())", "digest"]
SESSION = {"CLAUDE_CODE_SESSION_ID": "S", "CLAUDECODE": "1"}


def told(place: Place, session: str, event: str = "UserPromptSubmit") -> list[str]:
    """What the next digest tells a session's agent."""
    done = subprocess.run(
        DIGEST,
        input=json.dumps({"session_id": session, "hook_event_name": event}).encode(),
        env={**place.environ, **SESSION, "CLAUDE_CODE_SESSION_ID": session},
        capture_output=True,
        check=True,
        timeout=60,
    )
    assert done.stderr == b""
    return [line for line in done.stdout.decode().splitlines() if line.startswith("- ")]


@pytest.mark.anyio
async def test_what_a_tool_gave_is_not_told_again(workshop: Place) -> None:
    told(workshop, "S", "SessionStart")
    told(workshop, "other", "SessionStart")
    async with workshop.client(**SESSION) as client:
        cursor = (await ask(client, "list_jobs", limit=1))["cursor"]
        ran = await ask(client, "run", argv=["true"])
        assert ran["state"] == "succeeded"
        since = await ask(client, "wait", since=cursor)
        assert [job["id"] for job in since["jobs"]] == [ran["id"]]

        waited = (await ask(client, "enqueue", argv=["false"], retries=0))["id"]
        await ask(client, "wait", job_ids=[waited], timeout=30)
        seen = (await ask(client, "enqueue", argv=["false"], retries=0))["id"]
        workshop.end(seen)
        await ask(client, "status", job_id=seen)
        assert told(workshop, "S") == []

        unseen = (await ask(client, "enqueue", argv=["false"], retries=0))["id"]
        workshop.end(unseen)
        mine = [f'- failed for good (1): {unseen} "false" exit 1']
        assert told(workshop, "S") == mine
        assert told(workshop, "other") == mine  # what that one agent knows, the project's others need not hear
        assert told(workshop, "new", "SessionStart") == []

        after = (await ask(client, "list_jobs", limit=1))["cursor"]
        late = (await ask(client, "enqueue", argv=["false"], retries=0))["id"]
        workshop.end(late)
        await ask(client, "wait", since=after)
        assert told(workshop, "S") == []
        await ask(client, "dead_letter_retry", job_ids=[late])
        workshop.end(late)
        assert told(workshop, "S") == [f'- failed for good (1): {late} "false" exit 1']


@pytest.mark.anyio
async def test_of_many_that_were_waited_for_those_that_were_only_counted_are_no_news_either(workshop: Place) -> None:
    told(workshop, "S", "SessionStart")
    async with workshop.client(**SESSION) as client:
        cwd = workshop.project / "sub"  # the server's project is still the client's
        cwd.mkdir()
        many = [(await ask(client, "enqueue", argv=["true"], cwd=str(cwd)))["id"] for _ in range(22)]
        waited = await ask(client, "wait", job_ids=many, timeout=50)
        assert (len(waited["jobs"]), waited["counts"]) == (20, {"succeeded": 22})
        assert told(workshop, "S") == []
        last = (await ask(client, "enqueue", argv=["false"], retries=0))["id"]
        workshop.end(last)
        assert told(workshop, "S") == [f'- failed for good (1): {last} "false" exit 1']


@pytest.mark.anyio
async def test_where_the_client_names_no_session_nothing_is_noted(place: Place) -> None:
    place.configure(agents="allow")
    place.start_worker()
    told(place, "S", "SessionStart")
    async with place.client() as client:
        ran = (await ask(client, "run", argv=["true"]))["id"]
    assert told(place, "S") == [f'- succeeded (1): {ran} "true"']
    assert not list((place.home / "sessions").glob("*.told"))

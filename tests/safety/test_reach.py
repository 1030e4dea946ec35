"""What an agent cannot reach: approval, rules, another project's jobs, a person's secrets; by no tool and no verb."""

import json
import os
import subprocess
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import anyio
import pytest
from mcp.client import Client
from mcp.client.subscriptions import ResourceUpdated
from mcp.shared.exceptions import MCPError
from mcp_types import ResourceTemplateReference

from queue_core.jobs import DeedFilter, Filter
from queue_core.model import NewJob, Origin
from tests.helpers import short_folder, wait_until
from tests.mcp.places import PERSON, ROOT, Place

MARK = "M4RK"  # in everything that belongs to others
PARTS = ("argv", "output", "env", "stdin", "name", "meta", "error", "progress", "key", "schedule", "deed")
SCRIPT = 'cat; echo "$2"; echo "$3" > "$RUNQ_PROGRESS"; exit 4'
LIMIT = 240


def mark(part: str) -> str:
    assert part in PARTS
    return f"{MARK}-{part}"


class Others:
    """Jobs of another project's agent and of a person, in every state in which there is something to see or to do."""

    def __init__(self, place: Place) -> None:
        self.place = place
        self.project = place.project.parent / "other"
        self.project.mkdir()
        self.agent = Origin(caller="agent", project=str(self.project), session="other", client="other 1")
        self.dead = [self._dead(self.agent), self._dead(PERSON)]
        self.held = self._add(self.agent, argv=("touch", mark("argv")))
        self.waiting = [
            self._add(origin, argv=("touch", mark("argv")), delay=36_000.0, unique=f"key-{origin.caller}")
            for origin in (PERSON, Origin(caller="hook", project=str(self.project)))
        ]
        self.spoilt = self._spoilt()
        self.ids = [*self.dead, self.held, *self.waiting, self.spoilt]

    def _add(self, origin: Origin, **fields: Any) -> int:
        marks: dict[str, Any] = {
            "env": {"TOKEN": mark("env")},
            "stdin": mark("stdin").encode(),
            "name": mark("name"),
            "meta": {mark("meta"): mark("meta")},
            "retries": 0,
        }
        job = NewJob(**{**marks, **fields})
        return self.place.queue.enqueue([job], origin, folder=str(self.project))[0].id

    def _dead(self, origin: Origin) -> int:
        argv = ("sh", "-c", SCRIPT, "sh", mark("argv"), mark("output"), mark("progress"))
        job_id = self._add(origin, argv=argv)
        if origin.caller == "agent":
            self.place.queue.approve([job_id])
        return self.place.end(job_id)

    def _spoilt(self) -> int:
        """One whose failure says why: its program was there when it was queued."""
        program = self.project / mark("error")
        program.write_text("#!/bin/sh\n")
        program.chmod(0o755)
        self.place.pause("spoilt")
        job_id = self._add(PERSON, argv=(str(program),), queue="spoilt")
        program.unlink()
        self.place.queue.pause("spoilt", paused=False)
        return self.place.end(job_id)

    def state(self) -> Any:
        """All that an agent could have changed: the jobs, and who did what to them."""
        queue = self.place.queue
        jobs = [repr(queue.job(one)) for one in self.ids]
        return jobs, [queue.audit(DeedFilter(job=one)) for one in self.ids], repr(queue.store.schedules())


@contextmanager
def a_place(**settings: Any) -> Iterator[Place]:
    with short_folder() as folder, Place(folder) as place:
        place.configure(**settings)
        place.start_worker()
        yield place


@pytest.fixture(scope="module")
def apart() -> Iterator[Others]:
    """Two projects that the user keeps apart."""
    with a_place(isolation="project") as place:
        yield Others(place)


@pytest.fixture(scope="module")
def together() -> Iterator[Others]:
    """Two projects, each of which may look at the other."""
    with a_place() as place:
        yield Others(place)


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


# -- the tools -----------------------------------------------------------------------------------------------


def calls(others: Others, job_id: int) -> dict[str, list[dict[str, Any]]]:
    """Every way to name somebody else's job to a tool."""
    one, ids, touch = {"job_id": job_id}, {"job_ids": [job_id]}, {"argv": ["touch", "x"]}
    bulks = [{"program": "sh"}, {"program": "touch"}, {"queue": "default"}, {"queue": "spoilt"}, {"older_than": 0}]
    bulk = [ids, {**ids, "dry_run": True}, *bulks, *({**one, "dry_run": True} for one in bulks)]
    return {
        "enqueue": [
            *({**touch, key: [job_id]} for key in ("after", "after_any", "after_failure")),
            *({**touch, "unique": f"key-{caller}"} for caller in ("person", "hook")),
            {**touch, "cwd": str(others.project)},
            {"argv": ["cat", f"/proc/{os.getpid()}/environ"]},
        ],
        "run": [{**touch, "cwd": str(others.project)}, {**touch, "cwd": "../other"}],
        "status": [{}, one],
        "health": [{}],
        "list_jobs": [
            *({}, {"limit": 100}, {"since": "0"}, {"since": "0", "limit": 100}, {"queue": "spoilt"}),
            *({"state": state} for state in ("held", "scheduled", "dead", "available", "succeeded")),
        ],
        "output": [one, {**one, "tail": 5}, {**one, "offset": 0}, {**one, "grep": MARK}],
        "wait": [{**ids, "timeout": 0}, {"since": "0", "timeout": 0}],
        "cancel": [ids],
        "dead_letter_list": [{}, ids, *bulks],
        "dead_letter_retry": bulk,
        "dead_letter_discard": bulk,
    }


NAMES_IT = {"job_id", "job_ids", "after", "after_any", "after_failure", "unique"}
UNKNOWN = ("no job", "does not exist", "of another project")


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_no_tool_shows_or_changes_what_is_another_projects(apart: Others, mode: Any) -> None:
    before = apart.state()
    async with apart.place.client(mode=mode) as client:
        names = {tool.name for tool in (await client.list_tools()).tools}
        for job_id in apart.ids:
            tools = calls(apart, job_id)
            assert set(tools) == names, "a tool that this test does not know"
            for tool, ways in tools.items():
                for arguments in ways:
                    result = await client.call_tool(tool, arguments)
                    said = result.model_dump_json()
                    assert MARK not in said, (tool, arguments, said)
                    if NAMES_IT & set(arguments) and tool != "dead_letter_list":
                        assert result.is_error and any(words in said for words in UNKNOWN), (tool, arguments, said)
    assert apart.state() == before


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_no_resource_and_no_prompt_shows_what_is_another_projects(apart: Others, mode: Any) -> None:
    async with apart.place.client(mode=mode) as client:
        listed = (await client.list_resources()).resources
        assert not {f"queue://jobs/{job_id}" for job_id in apart.ids} & {resource.uri for resource in listed}
        for resource in listed:
            assert MARK not in resource.model_dump_json() + await looked_at(client, resource.uri), resource.uri
        for template in [one.uri_template for one in (await client.list_resource_templates()).resource_templates]:
            for job_id in apart.ids:
                said = await looked_at(client, template.replace("{job_id}", str(job_id)))
                assert "no job" in said and MARK not in said, (template, job_id)
                offered = await client.complete(ResourceTemplateReference(uri=template), OF_AN_ID)
                assert str(job_id) not in offered.completion.values
        for job_id in apart.ids:
            said = await prompted(client, job_id)
            assert "no job" in said and MARK not in said


async def prompted(client: Client, job_id: int) -> str:
    """What all prompts say, those of a job about this one."""
    said = ""
    for prompt in (await client.list_prompts()).prompts:
        needed = {argument.name for argument in prompt.arguments or () if argument.required}
        assert needed <= {"job_id"}, "an argument that this test does not know"
        try:
            said += (await client.get_prompt(prompt.name, {name: str(job_id) for name in needed})).model_dump_json()
        except MCPError as error:
            said += error.error.message
    return said


OF_AN_ID = {"name": "job_id", "value": ""}


async def looked_at(client: Client, uri: str) -> str:
    try:
        return (await client.read_resource(uri)).model_dump_json()
    except MCPError as error:
        return error.error.message


@pytest.mark.anyio
async def test_no_notification_tells_of_another_projects_jobs(apart: Others) -> None:
    place = apart.place
    theirs = apart._add(PERSON, argv=("touch", "x"), delay=36_000.0)
    mine = Origin(caller="hook", project=str(place.project))
    (own,) = place.queue.enqueue([NewJob(argv=("touch", "x"), delay=36_000.0)], mine, folder=str(place.project))
    uris = [f"queue://jobs/{theirs}", f"queue://jobs/{theirs}/output", f"queue://jobs/{own.id}", "queue://dead-letters"]
    heard: list[Any] = []
    async with place.client() as client:
        with anyio.fail_after(LIMIT):
            async with client.listen(resource_subscriptions=uris) as events:
                place.queue.cancel([theirs])
                place.queue.cancel([own.id])
                async for event in events:
                    heard.append(event)
                    if event == ResourceUpdated(uri=f"queue://jobs/{own.id}"):
                        break
    assert heard == [ResourceUpdated(uri=f"queue://jobs/{own.id}")]


@pytest.mark.anyio
async def test_without_walls_others_are_seen_but_no_variables_value_and_no_input(together: Others) -> None:
    seen = ""
    async with together.place.client() as client:
        for job_id in together.ids:
            tools = calls(together, job_id)
            for tool in ("status", "health", "list_jobs", "output", "wait", "dead_letter_list"):
                for arguments in tools[tool]:
                    seen += (await client.call_tool(tool, arguments)).model_dump_json()
            for tail in ("", "/output"):
                seen += await looked_at(client, f"queue://jobs/{job_id}{tail}")
        for uri in ("queue://status", "queue://statistics", "queue://dead-letters"):
            seen += await looked_at(client, uri)
        for job_id in together.ids:
            seen += await prompted(client, job_id)
    for part in ("argv", "output", "name", "meta", "error"):
        assert mark(part) in seen, f"this test sees no {part}, so it would not see a leak of one"
    assert mark("env") not in seen
    assert mark("stdin") not in seen.replace(mark("stdin") + mark("output"), "")  # `cat` wrote it: that is output


# -- the command line in an agent's hands --------------------------------------------------------------------

SHELL = {"CLAUDECODE": "1"}


def runq(place: Place, *words: str, **marks: str) -> subprocess.CompletedProcess[str]:
    """`runq` in a shell of the project's."""
    environ = {name: value for name, value in place.environ.items() if name != "CLAUDE_PROJECT_DIR"}
    code = "import sys; from queue_core.launch import main; sys.exit(main())"
    return subprocess.run(
        [sys.executable, "-P", "-c", code, *words],
        env={**environ, **marks, "PYTHONPATH": ROOT},
        cwd=place.project,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )


def looks(others: Others) -> list[tuple[str, ...]]:
    """Every verb that shows something, or that does something to jobs, at others' jobs."""
    project, dead, waiting = str(others.project), str(others.dead[0]), str(others.waiting[0])
    both = [str(others.dead[1]), str(others.held)]
    return [
        ("status",),
        ("status", "--json"),
        *(("status", one) for one in (dead, waiting, *both)),
        ("health", "--json"),
        ("list",),
        ("list", "--json", "--limit", "100"),
        ("list", "--project", project),
        ("list", "--project", project, "--json"),
        ("list", "--state", "held"),
        ("list", "--state", "dead", "--json"),
        ("list", "--queue", "spoilt"),
        ("list", "--meta", f"{mark('meta')[:2]}={mark('meta')[:2]}"),
        *(("output", one) for one in (dead, *both)),
        ("output", dead, "--attempt", "1"),
        ("wait", waiting, "--timeout", "0"),
        ("wait", dead),
        ("wait", "--all", "--timeout", "0", "--json"),
        ("cancel", waiting),
        ("pin", dead),
        ("unpin", dead),
        ("audit",),
        ("audit", "--json"),
        ("audit", dead),
        ("audit", "--project", project),
        ("audit", "--caller", "person"),
        ("stats",),
        ("stats", "--json"),
        ("dead", "list"),
        ("dead", "list", "--json"),
        ("dead", "retry", dead),
        ("dead", "retry", "--all"),
        ("dead", "discard", both[0]),
        ("dead", "discard", "--all"),
        ("schedule", "list"),
        ("schedule", "list", "--json"),
        ("schedule", "remove", "nightly-other"),
        ("schedule", "pause", "nightly-other"),
        ("schedule", "add", "nightly-other", "--every", "1h", "--replace", "--", "touch", "x"),
        ("logs",),
        ("doctor",),
        ("backup", "list"),
        ("add", "--after", dead, "--", "touch", "x"),
        ("add", "--unique", "key-hook", "--", "touch", "x"),
    ]


@pytest.fixture(scope="module")
def scheduled(apart: Others) -> Others:
    """With a schedule of a person's, too."""
    done = runq(
        apart.place,
        *("schedule", "add", "nightly-other", "--cron", "0 3 * * *", "--cwd", str(apart.project)),
        *("--", "touch", mark("schedule")),
    )
    assert done.returncode == 0, done.stderr
    return apart


def places_of_an_agent(others: Others) -> dict[str, dict[str, str]]:
    """Where a verb is an agent's: in its shell, and inside a job that it has queued."""
    return {"a shell": SHELL, "a job": {"RUNQ_JOB_ID": str(others.held)}}


def test_no_verb_in_an_agents_shell_shows_or_changes_what_is_another_projects(scheduled: Others) -> None:
    before = scheduled.state()
    for verb in looks(scheduled):
        done = runq(scheduled.place, *verb, **SHELL)
        said = done.stdout + done.stderr
        assert MARK not in said, (verb, said)
        assert "Traceback" not in said, (verb, said)
    assert scheduled.state() == before
    assert MARK in runq(scheduled.place, "list", "--json").stdout, "a person does see it"
    assert MARK in runq(scheduled.place, "schedule", "list").stdout


def test_inside_an_agents_job_no_verb_shows_what_is_another_projects(scheduled: Others) -> None:
    before = scheduled.state()
    for verb in (
        ("list", "--json"),
        ("status", str(scheduled.dead[0])),
        ("output", str(scheduled.dead[0])),
        ("audit",),
    ):
        done = runq(scheduled.place, *verb, RUNQ_JOB_ID=str(scheduled.held))
        assert MARK not in done.stdout + done.stderr, verb
    assert scheduled.state() == before


DECISIONS = [
    ("approve", "HELD"),
    ("approve", "--show", "HELD"),
    ("reject", "HELD"),
    ("allow", "touch x"),
    ("backup", "restore", "latest"),
    ("backup", "now", "--to", "COPY"),
    ("prune", "--older-than", "0"),
    ("work", "--app", "os:path"),
    ("install", "claude", "--scope", "project", "--yes"),
]


@pytest.mark.parametrize("verb", DECISIONS, ids=[" ".join(verb[:2]) for verb in DECISIONS])
@pytest.mark.parametrize("where", ["a shell", "a job"])
def test_what_a_person_decides_no_agent_does(together: Others, verb: tuple[str, ...], where: str) -> None:
    place, copy = together.place, together.place.project / "copy.db"
    before = together.state()
    copies = sorted(place.home.rglob("*.db*"))
    words = [str(together.held) if word == "HELD" else str(copy) if word == "COPY" else word for word in verb]
    done = runq(place, *words, **places_of_an_agent(together)[where])
    assert done.returncode == 1, (verb, done.stdout, done.stderr)
    assert done.stdout == "" and "ask the user" in done.stderr and done.stderr.count("\n") == 1, done.stderr
    assert together.state() == before
    assert place.job(together.held).state == "held"
    assert not copy.exists() and not (place.home / "rules.toml").exists()
    assert sorted(place.home.rglob("*.db*")) == copies


@pytest.mark.anyio
async def test_no_tool_writes_into_the_users_files(together: Others) -> None:
    place = together.place
    home = place.home
    before = (home / "config.toml").read_bytes()
    async with place.client() as client:
        for target in ("config.toml", "rules.toml"):
            for argv in (["tee", str(home / target)], ["cp", "x", str(home / target)], ["runq", "allow", "touch x"]):
                result = await client.call_tool("enqueue", {"argv": argv, "stdin": 'agents = "allow"'})
                state = (result.structured_content or {}).get("state", "denied")
                assert state in ("held", "denied"), argv
            result = await client.call_tool("enqueue", {"argv": ["touch", target], "cwd": str(home)})
            assert result.is_error and "outside the folders" in json.dumps(result.model_dump(mode="json"))
    assert (home / "config.toml").read_bytes() == before and not (home / "rules.toml").exists()
    wait_until(lambda: not place.queue.ids(Filter(states=("running",))), "nothing runs")

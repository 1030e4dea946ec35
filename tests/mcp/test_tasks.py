"""Tasks: what `run` becomes for clients that declare the extension, and how each end looks to them."""

import json
import os
import re
import signal
from typing import Any

import anyio
import pytest
from mcp.client.extension import advertise
from mcp_types import HEADER_MISMATCH, INVALID_PARAMS, METHOD_NOT_FOUND, MISSING_REQUIRED_CLIENT_CAPABILITY

from mcp_server import approving, asking
from mcp_server.session import Session
from mcp_server.tasks import IDENTIFIER
from queue_core import rules
from queue_core.jobs import Filter, Job
from queue_core.service import Queue
from tests.helpers import wait_until
from tests.mcp.followers import (
    answer,
    assert_acknowledged,
    begin,
    check,
    check_created,
    follower,
    look,
    question,
    refusal,
    request,
    until,
)
from tests.mcp.http_servers import Served
from tests.mcp.places import INFO, PERSON, Place, ask, refused
from tests.mcp.servers import Server
from tests.mcp.test_asking import CLIENT, User, deeds, rules_of

pytestmark = pytest.mark.anyio

METHODS = pytest.mark.parametrize("method", ["get", "update", "cancel"])


def job_of(place: Place, task: str) -> int:
    return place.queue.task(task).job


def reply_of(found: dict[str, Any]) -> dict[str, Any]:
    """What the tool has replied, by its task."""
    return found["result"]["structuredContent"]


def params_of(method: str, task: str) -> dict[str, Any]:
    """The least that a request is made of."""
    return {"taskId": task, "inputResponses": {}} if method == "update" else {"taskId": task}


# -- how it ends -------------------------------------------------------------------------------------------


async def test_success_brings_the_very_result_of_an_inline_run(workshop: Place) -> None:
    argv = ["sh", "-c", "echo hello"]
    async with follower(workshop) as client, follower(workshop, extensions=()) as other:
        found = await until(client, await begin(client, *argv), "completed")
        inline = await other.call_tool("run", {"argv": argv})
    plain = inline.model_dump(by_alias=True, mode="json", exclude_none=True)
    result = found["result"]
    assert result["isError"] is False
    assert json.loads(result["content"][0]["text"]) == result["structuredContent"]

    def of_none(value: Any) -> str:
        """Without what differs between any two jobs."""
        return re.sub(r"\d{4}-\d\d-\d\dT[\d:.]+Z", "TIME", re.sub(r'(id": |job )\d+', r"\1N", json.dumps(value)))

    assert of_none(result["structuredContent"]) == of_none(plain["structuredContent"])
    assert set(result) == set(plain) - {"_meta"}
    job = workshop.job(result["structuredContent"]["id"])
    assert found["ttlMs"] == pytest.approx(workshop.queue.settings.keep_days * 86_400_000, abs=60_000)
    assert job.finished_at is not None and job.caller == "agent"


@pytest.mark.parametrize(
    ("argv", "more", "outcome"),
    [
        (["sh", "-c", "echo told; exit 3"], {}, {"state": "dead", "exit_code": 3}),
        (["sleep", "60"], {"timeout": 0.2}, {"state": "dead", "outcome": "timed_out"}),
        (["sh", "-c", "kill -9 $$"], {}, {"state": "dead", "outcome": "signalled", "signal": 9}),
    ],
)
async def test_a_command_that_fails_is_completed_with_a_result_that_is_an_error(
    workshop: Place, argv: list[str], more: dict[str, Any], outcome: dict[str, Any]
) -> None:
    async with follower(workshop) as client:
        found = await until(client, await begin(client, *argv, **more), "completed", "failed", "cancelled")
    assert found["status"] == "completed" and found["result"]["isError"] is True
    reply = found["result"]["structuredContent"]
    assert {key: reply[key] for key in outcome} == outcome
    assert f"job {reply['id']} has failed: {reply['error']}" == found["statusMessage"]


async def test_an_agent_that_was_given_the_result_is_not_told_once_more(
    workshop: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    told: list[int] = []
    monkeypatch.setattr(Session, "told", lambda _, jobs: told.extend(job["id"] for job in jobs))  # pyright: ignore[reportUnknownLambdaType, reportUnknownArgumentType, reportUnknownMemberType]
    async with follower(workshop) as client:
        task = await begin(client, "true")
        assert not told
        await until(client, task, "completed")
    assert told == [job_of(workshop, task)]


async def test_a_waiting_task_and_a_running_one_are_cancelled(workshop: Place) -> None:
    async with follower(workshop) as client:
        running = await begin(client, "sh", "-c", 'echo "half way" > "$RUNQ_PROGRESS"; sleep 60')
        job = job_of(workshop, running)
        with anyio.fail_after(30):
            while not (found := await look(client, running))["statusMessage"].endswith("half way"):
                await anyio.sleep(0.02)
        assert (found["status"], found["statusMessage"]) == ("working", f"job {job} runs: half way")
        workshop.pause("slow")
        waiting = await begin(client, "true", queue="slow")
        assert "its queue to be resumed" in (await look(client, waiting))["statusMessage"]
        for task in (running, waiting):
            assert_acknowledged(await request(client, "cancel", taskId=task))
            found = await until(client, task, "cancelled", "completed")
            assert found["status"] == "cancelled" and "cancelled" in found["statusMessage"]
            assert_acknowledged(await request(client, "cancel", taskId=task))  # once more does no harm
    assert ("cancelled", "agent", CLIENT) in deeds(workshop, job=job)


async def test_a_failed_attempt_is_told_and_so_is_when_the_next_one_comes(workshop: Place) -> None:
    async with follower(workshop) as client:
        task = await begin(client, "false", retries=1)
        with anyio.fail_after(30):
            while "again at" not in (told := (await look(client, task))["statusMessage"]):
                await anyio.sleep(0.02)
        await request(client, "cancel", taskId=task)
    assert re.fullmatch(r"attempt 1 of job \d+ failed \(.*1.*\); again at \d{4}-.*Z", told)


async def test_what_took_over_counts_and_can_be_cancelled(place: Place) -> None:
    place.configure(agents="allow")
    with (place.home / "config.toml").open("a") as config:
        config.write('[escalate.false]\nrun = ["sh", "-c", "exit 0"]\n[escalate.test]\nrun = ["sleep", "60"]\n')
    place.start_worker()
    async with follower(place) as client:
        found = await until(client, await begin(client, "false"), "completed")
        assert found["result"]["isError"] is False
        assert "handed over: " in found["statusMessage"] and "succeeded" in found["statusMessage"]
        task = await begin(client, "test", "-n", "")
        with anyio.fail_after(30):
            while "taken over" not in (await look(client, task))["statusMessage"]:
                await anyio.sleep(0.02)
        await request(client, "cancel", taskId=task)
        assert (await until(client, task, "completed"))["result"]["isError"] is True


async def test_what_a_completed_task_says_of_its_successors_is_how_they_ended(
    place: Place, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The successor ends just after the task was looked at, and before the answer."""
    place.configure(agents="allow")
    gate = place.project / "gate"
    with (place.home / "config.toml").open("a") as config:
        config.write(f'[escalate.false]\nrun = ["sh", "-c", "until [ -e {gate} ]; do sleep 0.02; done"]\n')
    place.start_worker()
    real = Queue.view_of

    def view_and_end(queue: Queue, job: Job) -> Any:
        view = real(queue, job)
        if job.escalated_to and not gate.exists():
            gate.touch()
            wait_until(lambda: queue.standings([job.id]) == {job.id: "succeeded"}, "the successor has ended", 60)
        return view

    async with follower(place) as client:
        task = await begin(client, "false")
        monkeypatch.setattr(Queue, "view_of", view_and_end)
        found = await until(client, task, "completed")
    assert "(succeeded)" in found["statusMessage"]


# -- what becomes a task, and for whom ---------------------------------------------------------------------


async def test_the_extension_is_advertised(place: Place) -> None:
    async with follower(place, extensions=()) as client:
        extensions = client.server_capabilities.extensions
    assert extensions == {IDENTIFIER: {}}


async def test_what_is_wrong_with_a_call_is_its_result_and_no_task(quiet: Place) -> None:
    async with follower(quiet, user=User("no")) as client:
        for arguments, told in (
            ({"argv": ["true"], "priority": "urgent"}, "`priority` must be one of"),
            ({"argv": ["no-such-program"]}, "no-such-program"),
            ({}, "argv"),
            ({"argv": ["touch", "x"]}, "said no"),
        ):
            assert told in await refused(client, "run", **arguments)
        quiet.configure(capacity=1)
        quiet.add()
    async with follower(quiet) as client:
        assert "full" in await refused(client, "run", argv=["true"])
    assert len(quiet.queue.ids(Filter())) == 1


@pytest.mark.parametrize(
    ("mode", "extensions"),
    [("auto", []), ("auto", [advertise("org.example/tasks")]), ("legacy", [advertise(IDENTIFIER)])],
)
async def test_all_other_clients_get_the_result_itself(workshop: Place, mode: Any, extensions: Any) -> None:
    async with follower(workshop, extensions=extensions, mode=mode) as client:
        result = await client.call_tool("run", {"argv": ["echo", "inline"]})
        assert result.structured_content is not None and result.structured_content["state"] == "succeeded"


async def test_no_other_tool_becomes_a_task(workshop: Place) -> None:
    async with follower(workshop) as client:
        queued = await ask(client, "enqueue", argv=["true"])
        assert (await ask(client, "wait", job_ids=[queued["id"]]))["done"]
        assert (await ask(client, "status", job_id=queued["id"]))["state"] == "succeeded"


@METHODS
async def test_an_unknown_task_and_a_client_that_declares_nothing_are_told(place: Place, method: str) -> None:
    params = params_of(method, "0" * 40)
    async with follower(place) as client:
        error = await refusal(client, method, **params)
        assert (error.code, "no such task" in error.message) == (INVALID_PARAMS, True)
        assert "0000" not in error.message
    async with follower(place, extensions=()) as client:
        error = await refusal(client, method, **params)
        assert error.code == MISSING_REQUIRED_CLIENT_CAPABILITY
        assert error.data == {"requiredCapabilities": {"extensions": {IDENTIFIER: {}}}}
    async with follower(place, mode="legacy") as client:
        assert (await refusal(client, method, **params)).code == METHOD_NOT_FOUND


async def test_a_pruned_task_is_unknown(workshop: Place) -> None:
    async with follower(workshop) as client:
        task = await begin(client, "true")
        await until(client, task, "completed")
        workshop.queue.prune(older_than_days=0, keep=0)
        assert (await refusal(client, "get", taskId=task)).code == INVALID_PARAMS


async def test_a_client_sees_its_own_projects_tasks_alone_where_they_are_kept_apart(place: Place) -> None:
    place.configure(agents="allow", isolation="project")
    place.pause()
    elsewhere = place.home.parent / "elsewhere"
    elsewhere.mkdir()
    there = {"CLAUDE_PROJECT_DIR": str(elsewhere)}
    async with follower(place) as mine, follower(place, environ=there) as other:
        task = await begin(mine, "true")
        for method in ("get", "update", "cancel"):
            assert (await refusal(other, method, **params_of(method, task))).code == INVALID_PARAMS
        assert (await look(mine, task))["status"] == "working"


async def test_an_id_is_nowhere_but_in_the_replies_about_it(quiet: Place) -> None:
    quiet.configure(agents="allow")
    async with follower(quiet) as client:
        tasks = [await begin(client, "true") for _ in range(3)]
        assert len(set(tasks)) == 3
        (await look(client, tasks[0]))["taskId"]
        told = [await ask(client, "list_jobs"), await ask(client, "status", job_id=job_of(quiet, tasks[0]))]
        told += [
            (await client.read_resource(uri)).model_dump(mode="json") for uri in ("queue://status", "queue://jobs/1")
        ]
    told += [quiet.cli("list", "--json"), quiet.cli("audit", "--json"), quiet.cli("status", "1", "--json")]
    told += [path.read_text() for path in quiet.home.rglob("*.log*") if path.is_file()]
    assert not [task for task in tasks if task in json.dumps(told)]


# -- held, and the user asked ------------------------------------------------------------------------------


async def test_a_held_task_without_a_way_to_ask_names_the_terminal_and_is_approved_there(office: Place) -> None:
    async with follower(office) as client:
        task = await begin(client, "sh", "-c", "echo approved")
        found = await look(client, task)
        job = job_of(office, task)
        assert (found["status"], found["inputRequests"]) == ("input_required", {})
        assert f"`runq approve {job}`" in found["statusMessage"] and "no rule covers" in found["statusMessage"]
        await anyio.to_thread.run_sync(office.cli, "approve", str(job))
        assert (await until(client, task, "completed"))["result"]["isError"] is False


async def test_once_lets_the_task_run_and_the_trail_names_the_person(office: Place) -> None:
    """Asked by a client that could not, answered by way of another server."""
    async with follower(office) as client:
        task = await begin(client, "sh", "-c", "echo asked", stdin="some input", env={"X": "1"})
    on_the_spot = User("cancel")
    async with follower(office, user=on_the_spot) as client:
        key, asked = question(await look(client, task))
        assert question(await look(client, task)) == (key, asked), "the same question has the same key"
        await ask_the_same_inline(office, on_the_spot)
        assert asked["message"] == on_the_spot.questions[-1].message
        assert asked["requestedSchema"] == {
            "title": "Let it run?",
            "description": "Whether the command may run.",
            "type": "object",
            "properties": {
                "answer": {
                    "title": "Let it run?",
                    "description": "once: let it run this time. no: refuse it.",
                    "type": "string",
                    "enum": ["once", "no"],
                }
            },
            "required": ["answer"],
        }
        await answer(client, task, key, "once")
        found = await until(client, task, "completed")
    assert "asked" in found["result"]["structuredContent"]["output_tail"]
    trail = deeds(office, job=job_of(office, task))
    assert trail[:2] == [("held", "agent", CLIENT), ("approved", "person", CLIENT)]


async def ask_the_same_inline(place: Place, user: User) -> None:
    async with place.client(user=user) as client:
        given = {"argv": ["sh", "-c", "echo asked"], "stdin": "some input", "env": {"X": "1"}}
        await ask(client, "run", **given)


async def test_always_writes_the_exact_rule_and_lets_it_run(office: Place) -> None:
    async with follower(office) as client:
        task = await begin(client, "touch", "a b", env={"MODE": "fast"})
    async with follower(office, user=User()) as client:
        key, asked = question(await look(client, task))
        assert asked["requestedSchema"]["properties"]["answer"]["enum"] == ["once", "always", "no"]
        await answer(client, task, key, "always")
        await until(client, task, "completed")
        (rule,) = [one for one in rules_of(office) if one["argv"] == ["touch", "a b"]]
        assert (rule["program"], rule["env"]) == (rules.resolve("touch"), ["MODE=fast"])
        assert (await look(client, await begin(client, "touch", "a b", env={"MODE": "fast"})))[
            "status"
        ] != "input_required"
    assert ("allowed", "person", CLIENT) in deeds(office, what="allowed")


@pytest.mark.parametrize(("said_by_user", "action"), [("no", "accept"), (None, "decline")])
async def test_no_cancels_the_task(quiet: Place, said_by_user: str | None, action: str) -> None:
    async with follower(quiet) as client:
        task = await begin(client, "touch", "x")
    async with follower(quiet, user=User()) as client:
        key, _ = question(await look(client, task))
        await answer(client, task, key, said_by_user, action)
        found = await look(client, task)
    assert (found["status"], "rejected by a person" in found["statusMessage"]) == ("cancelled", True)
    assert deeds(quiet)[-1] == ("rejected", "person", CLIENT)


async def test_a_question_that_was_put_away_is_not_put_again(quiet: Place) -> None:
    async with follower(quiet) as client:
        task = await begin(client, "touch", "x")
    async with follower(quiet, user=User("cancel")) as client:
        key, _ = question(await look(client, task))
        await answer(client, task, key, action="cancel")
        found = await look(client, task)
        assert (found["status"], found["inputRequests"]) == ("input_required", {})
        assert "runq approve" in found["statusMessage"]
        await answer(client, task, key, "once")
        assert (await look(client, task))["status"] == "input_required", "an answer comes too late after another"
    assert {what for what, _, _ in deeds(quiet)} == {"held"}


@pytest.mark.parametrize("told", ["cancel", "once"])
async def test_what_is_held_where_the_user_can_be_asked_is_told_at_once(quiet: Place, told: str) -> None:
    """Of a task its client says that it works; but whoever can be asked has put the question away, or got none."""
    long = told == "once"  # nobody is asked
    async with follower(quiet, user=User(told), name="claude-code") as client:
        reply = await ask(client, "run", argv=["touch", "x" * 300 if long else "x"])
    assert (reply["state"], "note" in reply) == ("held", long)
    assert f"`runq approve {reply['id']}`" in reply["next"]
    assert deeds(quiet) == [("held", "agent", f"claude-code {INFO.version}")]


async def test_a_task_asks_no_more_than_its_client_shows(quiet: Place) -> None:
    """Who may answer is decided for the client that answers: an answer to what it could not show is none."""
    async with follower(quiet) as client:
        tasks = [await begin(client, "touch", "x"), await begin(client, "touch", "x" * 300)]
    async with follower(quiet, user=User()) as client:
        (key, short), (long_key, long) = [question(await look(client, one)) for one in tasks]
        assert "\n" not in short["message"] and f'"{"x" * 300}"' in long["message"]
    async with follower(quiet, user=User(), name="claude-code") as client:
        assert question(await look(client, tasks[0])) == (key, short)
        found = await look(client, tasks[1])
        assert (found["status"], found["inputRequests"]) == ("input_required", {})
        assert f"`runq approve --show {job_of(quiet, tasks[1])}`" in found["statusMessage"]
        await answer(client, tasks[1], long_key, "once")
        assert quiet.job(job_of(quiet, tasks[1])).state == "held"
        await answer(client, tasks[0], key, "once")
    assert quiet.job(job_of(quiet, tasks[0])).state == "available"


async def test_what_is_no_answer_changes_nothing(quiet: Place) -> None:
    async with follower(quiet) as client:
        task = await begin(client, "touch", "x")
        unfit = await begin(client, "touch", "y", stdin="no rule says what an input is", timeout=5, retries=2)
        await answer(client, task, "approval-0-0000000000000000", "once")
    async with follower(quiet, user=User()) as client:
        found = await look(client, task)
        key, _ = question(found)
        for stale in ("", "approval", key[:-1], key + "0", key.replace("-0-", "-1-")):
            await answer(client, task, stale, "once")
        other_key, offered = question(await look(client, unfit))
        assert offered["requestedSchema"]["properties"]["answer"]["enum"] == ["once", "no"]
        assert "; up to 3 attempts; at most 5 s an attempt. " in offered["message"]
        await answer(client, task, other_key, "once")
        for one, its_key, response in (
            (task, key, {"action": "accept", "content": {"answer": "ALWAYS"}}),
            (task, key, {"action": "accept"}),
            (task, key, {"action": "agree"}),
            (task, key, "once"),
            (unfit, other_key, {"action": "accept", "content": {"answer": "always"}}),
        ):
            error = await refusal(client, "update", taskId=one, inputResponses={its_key: response})
            assert (error.code, "nothing was done" in error.message) == (INVALID_PARAMS, True)
        assert await look(client, task) == found | {"pollIntervalMs": (await look(client, task))["pollIntervalMs"]}
    async with follower(quiet) as client:  # which cannot put a question to anybody
        await answer(client, task, key, "once")
        assert (await look(client, task))["status"] == "input_required"
    assert {what for what, _, _ in deeds(quiet)} == {"held"}
    assert not (quiet.home / "rules.toml").exists()


async def test_of_two_servers_that_bring_an_answer_one_is_heard(quiet: Place) -> None:
    async with follower(quiet, user=User()) as one, follower(quiet, user=User()) as other, follower(quiet) as client:
        for number in range(5):
            task = await begin(client, "touch", f"x{number}")
            keys = {question(await look(each, task))[0] for each in (one, other)}
            assert len(keys) == 1
            async with anyio.create_task_group() as both:
                both.start_soon(answer, one, task, *keys, "once")
                both.start_soon(answer, other, task, *keys, "no")
            trail = [what for what, _, _ in deeds(quiet, job=job_of(quiet, task))]
            assert trail in (["held", "approved"], ["held", "rejected"])
            assert quiet.queue.task(task).answers == 1


async def test_what_comes_after_another_answer_to_the_same_question_does_nothing(quiet: Place) -> None:
    """Two servers have looked before either has written: of `no` and `always`, the later one writes no rule."""
    async with follower(quiet) as client:
        tasks = [await begin(client, "touch", "x"), await begin(client, "touch", "y")]
    session = Session(quiet.environ)
    said: list[tuple[asking.Said, asking.Said]] = [("no", "always"), ("nothing", "once")]
    for id_, answers in zip(tasks, said, strict=True):
        task = session.queue.task(id_)
        it = session.queue.job(task.job)
        asked = approving.question_on(session, task, it, CLIENT)
        assert asked is not None and asked.rule is not None
        for each in answers:
            approving.answer(session, task, it, asked, each, PERSON)
    session.close()
    assert [quiet.job(job_of(quiet, id_)).state for id_ in tasks] == ["cancelled", "held"]
    assert not (quiet.home / "rules.toml").exists()


async def test_what_is_moved_while_the_answer_is_taken_in_does_not_run_elsewhere(quiet: Place) -> None:
    folder = quiet.project / "here"
    folder.mkdir()
    async with follower(quiet) as client:
        id_ = await begin(client, "touch", "x", cwd="here")
    session = Session(quiet.environ)
    task = session.queue.task(id_)
    it = session.queue.job(task.job)
    asked = approving.question_on(session, task, it, CLIENT)
    assert asked is not None
    folder.rmdir()
    folder.symlink_to("/tmp")
    approving.answer(session, task, it, asked, "once", PERSON)
    session.close()
    assert quiet.job(task.job).cwd == str(folder), "approved is what was shown, which is judged once more at the claim"


async def test_an_answer_counts_for_what_was_shown_alone(quiet: Place) -> None:
    """The folder becomes a link and the program's is moved, between the question and its answer."""
    for folder in ("one", "two"):
        (quiet.project / folder).mkdir()
        tool = quiet.project / folder / "tool"
        tool.write_text("#!/bin/sh\n")
        tool.chmod(0o755)
    folder, tool = quiet.project / "three", quiet.project / "tool"
    folder.mkdir()
    tool.symlink_to("one/tool")
    async with follower(quiet) as client:
        in_folder, of_program = await begin(client, "touch", "x", cwd="three"), await begin(client, str(tool))
    async with follower(quiet, user=User()) as client:
        (folder_key, asked), (program_key, _) = [question(await look(client, one)) for one in (in_folder, of_program)]
        assert f' in "{folder}"? ' in asked["message"]
        folder.rmdir()
        folder.symlink_to("two")
        tool.unlink()
        tool.symlink_to("two/tool")
        await answer(client, in_folder, folder_key, "once")
        await answer(client, of_program, program_key, "once")
        new_key, asked = question(await look(client, in_folder))
        assert new_key != folder_key and f' in "{quiet.project}/two"? ' in asked["message"]
        assert (await look(client, of_program))["inputRequests"] == {}, "what would run is not what is stored"
        await answer(client, in_folder, new_key, "once")
    assert quiet.job(job_of(quiet, in_folder)).cwd == f"{quiet.project}/two"
    assert quiet.job(job_of(quiet, of_program)).state == "held"


async def test_a_question_on_another_run_has_another_key(office: Place) -> None:
    argv = ["sh", "-c", "echo twice; exit 1"]
    async with follower(office) as client:
        task = await begin(client, *argv)
    job = job_of(office, task)
    async with follower(office, user=User()) as client:
        key, _ = question(await look(client, task))
        await anyio.to_thread.run_sync(office.cli, "approve", str(job))
        await until(client, task, "completed")
        await ask(client, "dead_letter_retry", job_ids=[job])
        again, _ = question(await look(client, task))
        assert again != key
        await answer(client, task, key, "once")
        assert office.job(job).state == "held"


async def test_what_a_rule_denies_by_now_is_not_asked_about(quiet: Place) -> None:
    async with follower(quiet) as client:
        task = await begin(client, "touch", "x")
    async with follower(quiet, user=User()) as client:
        key, _ = question(await look(client, task))
        quiet.rules('[[deny]]\nargv = ["touch", "..."]\n')
        await answer(client, task, key, "once")
        assert (await look(client, task))["inputRequests"] == {}
    assert quiet.job(job_of(quiet, task)).state == "held"


@pytest.mark.parametrize("answered", ["once", "always"])
async def test_what_is_allowed_on_the_spot_is_a_task_that_works(office: Place, answered: str) -> None:
    async with follower(office, user=User(answered)) as client:
        task = await begin(client, "sh", "-c", f"echo {answered}")
        assert (await until(client, task, "completed", "input_required"))["status"] == "completed"
    trail = deeds(office, job=job_of(office, task))
    assert (("approved", "person", CLIENT) in trail) == (answered == "once")


@pytest.mark.parametrize("environ", [{"RUNQ_JOB_ID": "1"}, {"AI_AGENT": "1"}])
async def test_a_server_whose_client_may_be_a_program_asks_nobody(quiet: Place, environ: dict[str, str]) -> None:
    async with follower(quiet) as client:
        task = await begin(client, "touch", "x")
    async with follower(quiet, user=User()) as client:
        key, _ = question(await look(client, task))
    async with follower(quiet, user=User(), environ=environ) as client:
        assert (await look(client, task))["inputRequests"] == {}
        await answer(client, task, key, "once")
    assert deeds(quiet) == [("held", "agent", CLIENT)]


# -- real servers ------------------------------------------------------------------------------------------


def envelope(*, elicits: bool = False) -> dict[str, Any]:
    """What a modern client sends with each request."""
    capabilities: dict[str, Any] = {"extensions": {IDENTIFIER: {}}}
    if elicits:
        capabilities["elicitation"] = {}
    return {
        "io.modelcontextprotocol/protocolVersion": "2026-07-28",
        "io.modelcontextprotocol/clientInfo": {"name": "by hand", "version": "1"},
        "io.modelcontextprotocol/clientCapabilities": capabilities,
    }


async def test_a_task_outlives_the_server_that_has_made_it(place: Place) -> None:
    """Killed right behind its answer; the next one's worker does the work, and it knows the task."""
    place.configure(agents="allow")
    with Server(place) as first:
        created = first.ask("tools/call", name="run", arguments={"argv": ["echo", "done"]}, _meta=envelope())
        os.killpg(first.process.pid, signal.SIGKILL)
    check_created(created)
    with Server(place) as second:

        def ended() -> dict[str, Any] | None:
            found = second.ask("tasks/get", taskId=created["taskId"], _meta=envelope())
            check(found)
            return reply_of(found) if found["status"] == "completed" else None

        reply = wait_until(ended, "the task is completed")
        assert reply and reply["output_tail"].endswith("done\n")
        listened = {"notifications": {"taskIds": [created["taskId"]]}}
        bare = envelope()
        bare["io.modelcontextprotocol/clientCapabilities"] = {}
        second.send(id=999, method="subscriptions/listen", params={**listened, "_meta": bare})
        assert second.process.stdout
        refused_frame = json.loads(second.process.stdout.readline())
        assert (refused_frame["id"], refused_frame["error"]["code"]) == (999, MISSING_REQUIRED_CLIENT_CAPABILITY)


async def idle(_: object) -> None:
    """What boots no worker."""
    await anyio.sleep_forever()


async def test_a_task_ends_when_its_worker_was_killed(place: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    """Its command goes on with its keeper; whoever looks next finds how it ended, without another worker, too."""
    monkeypatch.setattr("mcp_server.session.Booter.run", idle)
    place.configure(agents="allow")
    place.start_worker()
    async with follower(place) as client:
        task = await begin(client, "sh", "-c", "touch runs; while [ ! -e go ]; do sleep 0.05; done; exit 4")
        wait_until((place.project / "runs").exists, "the command itself runs: what is claimed may not have begun")
        (worker,) = place.queue.live_workers().values()
        os.kill(worker, signal.SIGKILL)
        (place.project / "go").touch()
        found = await until(client, task, "completed")
    assert found["result"]["structuredContent"]["exit_code"] == 4


async def test_tasks_over_http(place: Place) -> None:
    place.rules('[[allow]]\nargv = ["sleep", "60"]\n')
    with Served(place) as served:
        number = iter(range(1, 100))

        def post(method: str, routed: str, /, **params: Any) -> dict[str, Any]:
            params = {"_meta": envelope(elicits=True)} | params
            body = {"jsonrpc": "2.0", "id": next(number), "method": method, "params": params}
            headers = ["Host: 127.0.0.1:{port}", "Authorization: Bearer {token}", "Content-Type: application/json"]
            headers += ["Accept: application/json, text/event-stream", "MCP-Protocol-Version: 2026-07-28"]
            headers += [f"Mcp-Method: {method}", f"Mcp-Name: {routed}"]
            said_back = served.ask("POST", "/mcp", *headers, body=json.dumps(body).encode()).body.decode()
            return json.loads(said_back[said_back.index("{") :].splitlines()[0])

        created = post("tools/call", "run", name="run", arguments={"argv": ["sleep", "60"]})["result"]
        check_created(created)
        task = created["taskId"]
        found = post("tasks/get", task, taskId=task)["result"]
        check(found)
        assert found["status"] == "working"
        assert post("tasks/cancel", "another", taskId=task)["error"]["code"] == HEADER_MISMATCH
        assert_acknowledged(post("tasks/cancel", task, taskId=task)["result"])
        wait_until(lambda: post("tasks/get", task, taskId=task)["result"]["status"] == "cancelled", "it has ended")
        touch = {"name": "run", "arguments": {"argv": ["touch", "x"]}}
        assert post("tools/call", "run", **touch)["result"]["structuredContent"]["state"] == "held"
        held = post("tools/call", "run", **touch, _meta=envelope())["result"]["taskId"]
        found = post("tasks/get", held, taskId=held)["result"]
        assert (found["status"], found["inputRequests"]) == ("input_required", {}), "over HTTP nobody is asked"
        assert post("tasks/get", "nothing", taskId="nothing")["error"]["code"] == INVALID_PARAMS

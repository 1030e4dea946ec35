"""The user asked on the spot: what they are shown, what follows from each answer, and who is never asked."""

import inspect
import sys
import tomllib
from collections.abc import Awaitable, Callable
from typing import Any

import anyio
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp_types import ElicitRequestFormParams, ElicitResult

from mcp_server import tools
from queue_core import rules
from queue_core.jobs import DeedFilter, Filter
from queue_core.policy import Rule
from tests.helpers import wait_until
from tests.mcp.places import INFO, Place, ask, refused
from tests.mcp.servers import HELLO, Server

pytestmark = pytest.mark.anyio

LIMIT = 240
ERAS = pytest.mark.parametrize("mode", ["auto", "legacy"])


class User:
    """Answers every question alike, and keeps what they were asked."""

    def __init__(self, answer: str = "once", *, then: Callable[[], Awaitable[object]] | None = None) -> None:
        self.answer = answer
        self.questions: list[ElicitRequestFormParams] = []
        self._then = then

    async def __call__(self, _: Any, params: Any) -> ElicitResult:
        self.questions.append(params)
        answer = self.answer
        if self._then:
            await self._then()
        if answer in ("cancel", "decline"):
            return ElicitResult(action=answer)  # type: ignore[arg-type]
        return ElicitResult(action="accept", content={"answer": answer})

    @property
    def offers(self) -> list[str]:
        """What the last question let them choose from."""
        return self.questions[-1].requested_schema["properties"]["answer"]["enum"]

    @property
    def shown(self) -> str:
        """The last question."""
        return self.questions[-1].message


def deeds(place: Place, **wanted: Any) -> list[tuple[str, str, str | None]]:
    """What the audit trail says of commands, oldest first: what, by whom, through which client."""
    found = place.queue.audit(DeedFilter(**wanted))
    return [(deed["what"], deed["caller"], deed["client"]) for deed in reversed(found) if deed["what"] != "paused"]


CLIENT = f"{INFO.name} {INFO.version}"


# -- the answers -------------------------------------------------------------------------------------------


@ERAS
async def test_once_lets_it_run_and_the_audit_trail_names_who_asked_and_who_approved(office: Place, mode: Any) -> None:
    user = User("once")
    async with office.client(mode=mode, user=user) as client:
        with anyio.fail_after(LIMIT):
            reply = await ask(client, "run", argv=["sh", "-c", "echo hello"])
            assert (reply["state"], reply["exit_code"]) == ("succeeded", 0)
            queued = await ask(client, "enqueue", argv=["sh", "-c", "echo later"])
        assert (queued["state"], queued["note"]) == ("available", "the user has approved it")
    assert len(user.questions) == 2
    for job_id in (reply["id"], queued["id"]):
        assert deeds(office, job=job_id)[:2] == [("held", "agent", CLIENT), ("approved", "person", CLIENT)]


def rules_of(place: Place) -> list[dict[str, Any]]:
    return tomllib.loads((place.home / "rules.toml").read_text()).get("allow", [])


@ERAS
async def test_always_writes_one_rule_of_exactly_that_shape(quiet: Place, mode: Any) -> None:
    user = User("always")
    (quiet.project / "sub").mkdir()
    wanted: dict[str, Any] = {"argv": ["touch", "a b"], "cwd": "sub", "env": {"MODE": "fast"}}
    async with quiet.client(mode=mode, user=user) as client:
        reply = await ask(client, "enqueue", **wanted)
        assert (reply["state"], reply["note"]) == ("available", "the user allows this from now on")
        (rule,) = rules_of(quiet)
        assert (rule["argv"], rule["env"]) == (["touch", "a b"], ["MODE=fast"])
        assert (rule["program"], rule["cwd"]) == (rules.resolve("touch"), str(quiet.project / "sub"))
        assert deeds(quiet, what="allowed") == [("allowed", "person", CLIENT)]
        assert (await ask(client, "enqueue", **wanted))["state"] == "available"
        assert len(user.questions) == 1, "what is allowed is not asked again"
        user.answer = "cancel"
        others: list[dict[str, Any]] = [
            {"argv": ["touch", "a", "b"]},
            {"argv": ["touch", "a b", "c"]},
            {"cwd": "."},
            {"env": {"MODE": "slow"}},
            {"env": {"MODE": "fast", "MORE": "1"}},
        ]
        for number, other in enumerate(others, 2):
            assert (await ask(client, "enqueue", **wanted | other))["state"] == "held", other
            assert len(user.questions) == number
    assert len(rules_of(quiet)) == 1


@ERAS
@pytest.mark.parametrize("tool", ["enqueue", "run"])
@pytest.mark.parametrize("answer", ["no", "decline"])
async def test_no_is_told_and_nothing_is_stored(quiet: Place, mode: Any, tool: str, answer: str) -> None:
    async with quiet.client(mode=mode, user=User(answer)) as client:
        assert "said no" in await refused(client, tool, argv=["touch", "x"])
    assert not quiet.queue.ids(Filter())
    (denied,) = quiet.queue.audit(DeedFilter(what="denied"))
    assert (denied["caller"], denied["client"], denied["argv"]) == ("person", CLIENT, ["touch", "x"])


@ERAS
@pytest.mark.parametrize("tool", ["enqueue", "run"])
async def test_who_gives_no_answer_finds_it_held(quiet: Place, mode: Any, tool: str) -> None:
    async with quiet.client(mode=mode, user=User("cancel")) as client:
        reply = await ask(client, tool, argv=["touch", "x"])
    assert reply["state"] == "held" and f"`runq approve {reply['id']}`" in reply["next"]
    assert deeds(quiet) == [("held", "agent", CLIENT)]


async def test_a_client_that_declines_without_showing_the_question_has_no_users_answer(quiet: Place) -> None:
    """As `codex exec` does; what its user says in words counts."""
    async with quiet.client(mode="legacy", user=User("decline"), name="codex-mcp-client") as client:
        assert (await ask(client, "run", argv=["touch", "x"]))["state"] == "held"
    async with quiet.client(mode="legacy", user=User("no"), name="codex-mcp-client") as client:
        assert "said no" in await refused(client, "run", argv=["touch", "x"])


@ERAS
@pytest.mark.parametrize("answer", ["", "yes", "ALWAYS"])
async def test_an_answer_that_was_not_offered_is_none(quiet: Place, mode: Any, answer: str) -> None:
    async with quiet.client(mode=mode, user=User(answer)) as client:
        assert "none of those offered; nothing was done" in await refused(client, "enqueue", argv=["touch", "x"])
        await refused(client, "run", argv=["touch", "x"], stdin="always")
    assert not quiet.queue.ids(Filter())
    assert not (quiet.home / "rules.toml").exists()


@ERAS
async def test_always_is_no_answer_where_it_was_not_offered(quiet: Place, mode: Any) -> None:
    async with quiet.client(mode=mode, user=User("always")) as client:
        await refused(client, "enqueue", argv=["touch", "x"], stdin="input")
    assert not quiet.queue.ids(Filter())
    assert not (quiet.home / "rules.toml").exists()


async def test_a_rule_that_does_not_cover_it_after_all_is_said(quiet: Place, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(rules, "exact_rule", lambda *_, **__: Rule(argv=("touch", "another")))
    async with quiet.client(user=User("always")) as client:
        reply = await ask(client, "enqueue", argv=["touch", "x"])
    assert reply["state"] == "held" and "does not cover it" in reply["note"]


# -- an answer counts for what was shown -------------------------------------------------------------------


@ERAS
@pytest.mark.parametrize("answer", ["once", "always"])
@pytest.mark.parametrize("what", ["program", "folder"])
async def test_what_is_swapped_while_the_user_thinks_does_not_run(
    quiet: Place, mode: Any, answer: str, what: str
) -> None:
    link = quiet.project / "link"
    before, after = ("/bin/true", "/bin/false") if what == "program" else ("one", "other")
    for folder in ("one", "other"):
        (quiet.project / folder).mkdir()
    link.symlink_to(before)

    async def swap() -> None:
        link.unlink()
        link.symlink_to(after)
        user.answer = "cancel"  # in the modern era they are asked anew, since the question is another

    user = User(answer, then=swap)
    async with quiet.client(mode=mode, user=user) as client:
        wanted = {"argv": ["./link"]} if what == "program" else {"argv": ["true"], "cwd": "link"}
        reply = await ask(client, "enqueue", **wanted)
    assert reply["state"] == "held"
    assert len(user.questions) == (1 if mode == "legacy" else 2)
    assert mode == "auto" or reply["note"] == "it is no longer what the user was shown"
    assert not (quiet.home / "rules.toml").exists()
    assert ("approved", "person", CLIENT) not in deeds(quiet)


async def test_the_live_job_of_a_key_is_not_approved_by_the_answer_about_another(quiet: Place) -> None:
    user = User("cancel")
    async with quiet.client(user=user) as client:
        first = await ask(client, "enqueue", argv=["touch", "x"], unique="key")
        user.answer = "once"
        reply = await ask(client, "enqueue", argv=["touch", "y"], unique="key")
    assert (reply["id"], reply["state"], reply["existing"]) == (first["id"], "held", True)
    assert quiet.job(first["id"]).approved_at is None


@ERAS
async def test_two_questions_at_once_get_an_answer_each(quiet: Place, mode: Any) -> None:
    both = anyio.Event()
    questions: list[str] = []

    async def user(_: Any, params: Any) -> ElicitResult:
        questions.append(params.message)
        if len(questions) == 2:
            both.set()
        await both.wait()
        return ElicitResult(action="accept", content={"answer": "no" if '"bad"' in params.message else "once"})

    said: dict[str, Any] = {}
    async with quiet.client(mode=mode, user=user) as client:

        async def call(name: str) -> None:
            said[name] = await client.call_tool("enqueue", {"argv": ["touch", name]})

        with anyio.fail_after(LIMIT):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(call, "good")
                tasks.start_soon(call, "bad")
    assert said["bad"].is_error and not said["good"].is_error
    (job_id,) = quiet.queue.ids(Filter())
    assert quiet.job(job_id).argv == ("touch", "good") and quiet.job(job_id).state == "available"


@ERAS
async def test_a_call_that_is_given_up_while_the_user_thinks_stores_nothing(quiet: Place, mode: Any) -> None:
    asked = anyio.Event()

    async def user(*_: Any) -> ElicitResult:
        asked.set()
        await anyio.sleep_forever()
        raise AssertionError("it never ends")

    async with quiet.client(mode=mode, user=user) as client:
        with anyio.fail_after(LIMIT):
            async with anyio.create_task_group() as tasks:
                tasks.start_soon(client.call_tool, "enqueue", {"argv": ["touch", "x"]})
                await asked.wait()
                tasks.cancel_scope.cancel()
        assert (await ask(client, "list_jobs"))["jobs"] == []
    assert deeds(quiet) == []


def test_a_client_that_goes_away_while_the_user_thinks_leaves_nothing(quiet: Place) -> None:
    with Server(quiet) as server:
        server.ask("initialize", **{**HELLO, "capabilities": {"elicitation": {}}})
        server.send(method="notifications/initialized")
        call = {"name": "enqueue", "arguments": {"argv": ["touch", "x"]}}
        server.send(id=1000, method="tools/call", params=call)
        assert '"touch"' in server.notification("elicitation/create")["message"]
        server.stdin.close()
        assert server.process.wait(LIMIT) == 0
    assert not quiet.queue.ids(Filter())
    assert deeds(quiet) == []


# -- who is asked ------------------------------------------------------------------------------------------

NEVER: list[tuple[str, dict[str, Any]]] = [
    ("over HTTP", {"asks": False}),
    ("from an agent's own shell", {"CLAUDECODE": "1", "CLAUDE_PROJECT_DIR": ""}),
    ("from another agent's shell", {"GEMINI_CLI": "1"}),
    ("in a queued job", {"RUNQ_JOB_ID": "1"}),
    ("in a queued job under a client", {"RUNQ_JOB_ID": "1", "CLAUDECODE": "1"}),
]


@pytest.mark.parametrize(("where", "given"), NEVER, ids=[where for where, _ in NEVER])
async def test_nobody_is_asked_where_a_program_may_answer(quiet: Place, where: str, given: dict[str, Any]) -> None:
    user = User("once")
    async with quiet.client(user=user, **given) as client:
        reply = await ask(client, "enqueue", argv=["touch", where])
    assert reply["state"] == "held" and not user.questions


async def test_the_user_of_a_client_that_starts_servers_under_its_own_marks_is_asked(quiet: Place) -> None:
    user = User("once")
    async with quiet.client(user=user, CLAUDECODE="1") as client:
        assert (await ask(client, "enqueue", argv=["touch", "x"]))["state"] == "available"
    assert len(user.questions) == 1


@ERAS
async def test_a_client_that_cannot_ask_gets_what_it_always_got(quiet: Place, mode: Any) -> None:
    async with quiet.client(mode=mode) as client:
        reply = await ask(client, "enqueue", argv=["touch", "x"])
    assert reply == {
        "id": reply["id"],
        "state": "held",
        "next": "not run yet (no rule covers this command): ask the user to look with "
        f"`runq approve --show {reply['id']}`, then `runq approve {reply['id']}` in a terminal",
    }


async def test_nobody_is_asked_where_agents_may_run_anything(quiet: Place) -> None:
    quiet.configure(agents="allow")
    user = User("no")
    async with quiet.client(user=user) as client:
        assert (await ask(client, "enqueue", argv=["touch", "x"]))["state"] == "available"
    assert not user.questions


@ERAS
async def test_what_is_denied_or_makes_no_sense_is_not_asked_about_and_noted_once(quiet: Place, mode: Any) -> None:
    quiet.rules('[[deny]]\nargv = ["touch", "..."]\n')
    user = User("once")
    async with quiet.client(mode=mode, user=user) as client:
        assert "forbids it" in await refused(client, "enqueue", argv=["touch", "x"])
        assert "no program" in await refused(client, "run", argv=["no-such-program-here"])
        assert "must be a list" in await refused(client, "run", argv="x")
    assert not user.questions
    assert deeds(quiet) == [("denied", "agent", CLIENT)]


@pytest.mark.parametrize("tool", ["enqueue", "run"])
async def test_what_is_asked_about_is_made_from_every_argument(place: Place, tool: str) -> None:
    function, names = getattr(tools.Tools, tool), {"enqueue": tools._OF_ENQUEUE, "run": tools._OF_RUN}[tool]
    assert set(inspect.signature(function).parameters) == {"self", "ctx", "consent", *names}
    async with place.client() as client:
        (listed,) = [one for one in (await client.list_tools()).tools if one.name == tool]
    assert set(listed.input_schema["properties"]) == set(names)


# -- the real thing ----------------------------------------------------------------------------------------


@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_over_real_stdio_the_user_is_asked_and_it_runs(office: Place, mode: Any) -> None:
    user = User("once")
    server = StdioServerParameters(
        command=sys.executable, args=["-m", "mcp_server"], env=office.environ, cwd=office.project
    )
    mark = office.project / f"mark-{mode}"
    async with Client(server, mode=mode, elicitation_callback=user) as client:
        with anyio.fail_after(LIMIT):
            reply = await ask(client, "run", argv=["touch", mark.name])
    assert reply["state"] == "succeeded" and mark.exists()
    assert len(user.questions) == 1 and user.offers == ["once", "always", "no"]
    wait_until(lambda: office.job(reply["id"]).state == "succeeded", "it is settled")

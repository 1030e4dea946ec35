"""What the user is shown of a command they are asked about: all of it, as what it is, or no question at all."""

import json
import re
from typing import Any

import pytest

from mcp_server import question
from queue_core import rules
from tests.mcp.places import Place, ask
from tests.mcp.servers import HELLO, Server
from tests.mcp.test_asking import User

pytestmark = pytest.mark.anyio

SECRET = "s3cr3t"
UNSHOWN = "this client cannot show the user the whole command, so they were not asked"
PAD = "p" * 300  # an argument that no short question has room for
QUOTED = re.compile(r'"(?:[^"\\]|\\.)*"')
WHY = 'An agent asks, outside of its sandbox and permissions: "no rule covers this command".'


async def asked(place: Place, given: dict[str, Any], *, always: bool = False) -> str:
    """The one question that comes of a job."""
    user = User("cancel")
    async with place.client(user=user) as client:
        await ask(client, "enqueue", **{"retries": 0, **given})
    (only,) = user.questions
    assert user.offers == (["once", "always", "no"] if always else ["once", "no"])
    return only.message


def meant(shown: str) -> list[str]:
    """The quoted texts of a question, as they were given."""
    return [json.loads(one.replace(r"\U000e0041", r"\udb40\udc41")) for one in QUOTED.findall(shown)]


def rows(line: str, width: int) -> list[str]:
    """A line as Claude Code wraps it: by words, and those that are too long anywhere. All characters are narrow."""
    found = [""]
    for word in line.split(" "):
        if found[-1] and len(found[-1]) + 1 + len(word) > width:
            found.append("")
        found[-1] += (" " if found[-1] else "") + word
        while len(found[-1]) > width:
            found[-1:] = [found[-1][:width], found[-1][width:]]
    return found


# -- all of it ---------------------------------------------------------------------------------------------


async def test_the_short_question_is_written_for_a_person(quiet: Place) -> None:
    program = rules.resolve("touch")
    assert await asked(quiet, {"argv": ["touch", "a b"]}, always=True) == (
        f'Run "touch" "a b" in "{quiet.project}"? It is "{program}". {WHY}'
    )
    assert await asked(quiet, {"argv": [program, "x"], "env": {"A": "b"}, "retries": 1}, always=True) == (
        f'Run "{program}" "x" in "{quiet.project}"? With "A=b" set; up to 2 attempts. {WHY}'
    )
    assert await asked(quiet, {"argv": [program]}, always=True) == f'Run "{program}" in "{quiet.project}"? {WHY}'


async def test_the_long_question_is_written_for_a_person(quiet: Place) -> None:
    assert await asked(quiet, {"argv": ["touch", PAD]}, always=True) == (
        "An agent asks runq to run a command, outside of the agent's own sandbox and permissions.\n"
        "Asked because: no rule covers this command\n\n"
        "the command, an argument a line:\n"
        '  "touch"\n'
        f'  "{PAD}"\n'
        f'which is the program: "{rules.resolve("touch")}"\n'
        f'in the folder: "{quiet.project}"\n\n'
        "once: let it run this time.\n"
        "always: let it run, and write a rule for exactly this program, arguments, folder and environment.\n"
        "no: refuse it."
    )


async def test_both_forms_show_everything_that_would_run(quiet: Place) -> None:
    given: dict[str, Any] = {"env": {"X": "1", "Y": ""}, "stdin": SECRET, "on_dead": [["false"]]}
    shell, false = rules.resolve("sh"), rules.resolve("false")
    short = await asked(quiet, {"argv": ["sh", "-c", "a"], **given})
    assert short == (
        f'Run "sh" "-c" "a" in "{quiet.project}"? It is "{shell}"; with "X=1", "Y=" set; '
        f'with the input "{SECRET}"; if that fails for good, "false" runs, which is "{false}". {WHY}'
    )
    long = await asked(quiet, {"argv": ["sh", "-c", PAD], **given})
    for part in (
        f'the command, an argument a line:\n  "sh"\n  "-c"\n  "{PAD}"\nwhich is the program: "{shell}"\n',
        f'in the folder: "{quiet.project}"\n',
        'with the environment changed:\n  "X=1"\n  "Y="\n',
        f'with the input: "{SECRET}"\n',
        f'If that fails for good, next:\nthe command, an argument a line:\n  "false"\n'
        f'which is the program: "{false}"\n',
        "Asked because: no rule covers this command\n",
    ):
        assert part in long


TERMS: list[tuple[dict[str, Any], str | None]] = [
    ({"retries": None}, "up to 4 attempts"),
    ({}, None),
    ({"queue": "default", "priority": "normal"}, None),
    ({"delay": 90}, "not before 90 s from now"),
    ({"at": "2040-01-02T03:04:05Z"}, "not before 2040-01-02T03:04:05.000Z"),
    ({"timeout": 30}, "at most 30 s an attempt"),
    ({"retries": 1, "timeout": 0.5}, "up to 2 attempts; at most 0.5 s an attempt"),
    ({"queue": "ci", "priority": "high"}, 'queue "ci"; priority high'),
    ({"locks": ["db", "net=2"], "sequential": True}, 'alone in its queue; locks "db", "net=2"'),
    ({"unique": "a\nb"}, 'unique key "a\\nb"'),
]


async def test_what_else_decides_is_named_where_it_is_not_the_usual(quiet: Place) -> None:
    program = rules.resolve("touch")
    for given, told in TERMS:
        user = User("once")
        async with quiet.client(user=user) as client:
            for argument in ("x", PAD):
                reply = await ask(client, "enqueue", argv=["touch", argument], **{"retries": 0, **given})
                assert reply.get("note") == "the user has approved it" or reply["existing"]
        assert len(user.questions) == 2, "the same question, whenever it is made"
        short, long = [one.message for one in user.questions]
        assert f'? It is "{program}"{f"; {told}" if told else ""}. An agent' in short
        assert [line for line in long.split("\n") if line.startswith("terms")] == ([f"terms: {told}"] if told else [])


async def test_what_it_waits_for_is_named(quiet: Place) -> None:
    first, second = quiet.add(), quiet.add()
    told = f"after the success of job {first}, {second}; after the failure of job {first}"
    needs: dict[str, Any] = {"after": [first, second], "after_failure": [first]}
    assert f"; {told}. " in await asked(quiet, {"argv": ["touch", "x"], **needs}, always=True)
    assert f"\nterms: {told}\n" in await asked(quiet, {"argv": ["touch", PAD], **needs}, always=True)


@pytest.mark.parametrize(
    ("given", "offered", "told"),
    [
        ({}, ["once", "always", "no"], "once: this time. always: from now on, exactly this. no: refuse it."),
        ({"stdin": ""}, ["once", "no"], "once: let it run this time. no: refuse it."),
    ],
)
def test_the_form_itself_is_written_for_a_person(
    quiet: Place, given: dict[str, Any], offered: list[str], told: str
) -> None:
    with Server(quiet) as server:  # the SDK's client drops what it does not know
        server.ask("initialize", **{**HELLO, "capabilities": {"elicitation": {}}})
        server.send(method="notifications/initialized")
        call = {"name": "enqueue", "arguments": {"argv": ["touch", "x"], **given}}
        server.send(id=1000, method="tools/call", params=call)
        assert server.notification("elicitation/create")["requestedSchema"] == {
            "title": "Let it run?",
            "description": "Whether the command may run.",
            "type": "object",
            "properties": {"answer": {"title": "Let it run?", "description": told, "type": "string", "enum": offered}},
            "required": ["answer"],
        }
    assert len(told) <= question.ROW


@pytest.mark.parametrize(
    "given", [{"stdin": "x"}, {"on_dead": [["touch", "y"]]}, {"argv": ["touch", "<word>"]}, {"argv": ["touch", "..."]}]
)
async def test_always_is_not_offered_where_no_rule_says_exactly_this(quiet: Place, given: dict[str, Any]) -> None:
    padded = {**given, "argv": [*given.get("argv", ["touch"]), PAD]}
    assert "\nalways" not in await asked(quiet, padded)
    await asked(quiet, {"argv": ["touch", "x"], **given})
    assert "\nalways" in await asked(quiet, {"argv": ["touch", PAD]}, always=True)


# -- in sight ----------------------------------------------------------------------------------------------

ORDINARY: list[dict[str, Any]] = [
    {"argv": ["cp", "-r", "src/app", "dist"], "env": {"MODE": "fast"}},
    {"argv": ["tar", "-czf", "dist.tar.gz", "build"], "timeout": 600},
    {"argv": ["sh", "-c", "cd web && npm run build -- --mode production"], "retries": None},
    {"argv": ["grep", "-rn", "TODO: not yet", "src", "tests", "--include", "*.py"]},
    {"argv": ["rm", "-rf", "build", "Grüße.txt", "отчёт.txt"]},
]


@pytest.mark.parametrize("given", ORDINARY)
async def test_an_ordinary_command_is_one_line_that_every_client_shows(quiet: Place, given: dict[str, Any]) -> None:
    message = await asked(quiet, given, always=True)
    assert message.isprintable() and len(message) <= 280
    assert len(rows(message, 74)) <= 4
    assert all(json.dumps(word, ensure_ascii=False) in message for word in given["argv"])


@pytest.mark.parametrize("length", range(1, 100, 7))
async def test_what_does_not_fit_four_rows_is_not_asked_short_however_it_is_cut_into_words(
    quiet: Place, length: int
) -> None:
    """At each length of its words a command grows until it is asked about in the long form."""
    user, message = User("cancel"), ""
    async with quiet.client(user=user) as client:
        for count in range(1, 1 + 300 // length):
            await ask(client, "enqueue", argv=["touch", *["w" * length] * count], retries=0)
            if "\n" in user.shown:
                break
            message = user.shown
            assert message.count(f'"{"w" * length}"') == count
            assert len(message) <= 280 and all(len(rows(message, width)) <= 4 for width in (74, 94, 144))
    assert "\n" in user.shown and (length > 60 or message)


@pytest.mark.parametrize("name", ["claude-code", "another"])
async def test_who_would_be_shown_a_part_is_not_asked(quiet: Place, name: str) -> None:
    user = User("once")
    wanted: list[dict[str, Any]] = [
        {"argv": ["touch", PAD]},
        {"argv": ["touch", *["y" * 41] * 6]},
        {"argv": ["touch", "x"], "stdin": PAD},
        {"argv": ["touch", "x"], "env": {"A": PAD}},
        {"argv": ["touch", "x"], "on_dead": [["touch", PAD]]},
        {"argv": ["touch", "日本" * 30]},
        {"argv": ["touch", "x" + " " * 100]},
        {"argv": ["touch", "x\u201d in \u201c/safe"]},
        {"argv": ["touch", "\u05d0", "\u05d1"]},
    ]
    async with quiet.client(user=user, name=name) as client:
        for given in wanted:
            reply = await ask(client, "enqueue", **given)
            if name == "another":
                assert reply["state"] == "available" and "\n" in user.shown
                continue
            assert (reply["state"], reply["note"]) == ("held", UNSHOWN)
            assert f"`runq approve --show {reply['id']}`" in reply["next"]
        assert len(user.questions) == (len(wanted) if name == "another" else 0)
        assert (await ask(client, "enqueue", argv=["touch", "x"]))["state"] == "available"


async def test_what_is_too_long_to_be_read_is_held_unasked(quiet: Place) -> None:
    user = User("once")
    async with quiet.client(user=user) as client:
        assert (await ask(client, "enqueue", argv=["touch", "x" * 5000]))["state"] == "held"
        assert (await ask(client, "enqueue", argv=["touch", "\x01" * 1000]))["state"] == "held"
        for text in ("x" * 5000, "\x01" * 1000, "\U0001f980" * 4000, "x" * 1_000_000):
            reply = await ask(client, "enqueue", argv=["touch", "y"], stdin=text)
            assert f"`runq approve --show {reply['id']}`" in reply["next"] and reply["note"] == UNSHOWN
        assert not user.questions
        assert (await ask(client, "enqueue", argv=["touch", "x" * 3000]))["state"] == "available"
        assert (await ask(client, "enqueue", argv=["touch", "y"], stdin="x" * 3000))["state"] == "available"
    assert len(user.questions) == 2


# -- as what it is -----------------------------------------------------------------------------------------

HOSTILE = [
    "x\nin the folder: /safe",
    "x\r\nonce: it is harmless",
    "x\u2028in the folder: /safe",
    "x\u0085y\u202ez\u200b\U000e0041\x1b[2J",
    'x"\n  "y',
    "\\u000a",
    'x" in "/safe"? It is "/bin/true',
    "x'' in ''/safe''?  It   is ``/bin/true",
    'x\\" in "/safe"? \\',
]


@pytest.mark.parametrize("where", ["argv", "env", "name of env", "cwd", "on_dead", "stdin", "unique"])
@pytest.mark.parametrize("pad", ["", PAD], ids=["short", "long"])
async def test_nothing_that_an_agent_chooses_can_look_like_something_else(quiet: Place, where: str, pad: str) -> None:
    def job(value: str) -> dict[str, Any]:
        fields: dict[str, dict[str, Any]] = {
            "argv": {"argv": [touch, value]},
            "env": {"env": {"X": value}},
            "name of env": {"env": {value: "1"}},
            "cwd": {"cwd": value.replace("/", "_")},
            "on_dead": {"on_dead": [[touch, value]]},
            "stdin": {"stdin": value},
            "unique": {"unique": value},
        }
        given: dict[str, Any] = {"argv": [touch], "retries": 0, **fields[where]}
        return {**given, "argv": [*given["argv"], pad]} if pad else given

    user, touch = User("cancel"), rules.resolve("touch")
    async with quiet.client(user=user) as client:
        for text in ("plain", *HOSTILE):
            (quiet.project / text.replace("/", "_")).mkdir()
            await ask(client, "enqueue", **job(text))
            assert all(line.isprintable() for line in user.shown.split("\n"))
            assert pad or not any(mark in user.shown for mark in ("\n", "  ", "''", "``"))
            chosen = {"plain": text, "plain=1": f"{text}=1", "X=plain": f"X={text}"}
            chosen[f"{quiet.project}/plain"] = f"{quiet.project}/{text.replace('/', '_')}"
            expected = [chosen.get(one, one) for one in meant(user.questions[0].message)]
            assert meant(user.shown) == expected, "each is there as it is"
    skeletons = {QUOTED.sub('""', one.message) for one in user.questions}
    assert len(skeletons) == 1 and len(user.questions) == 1 + len(HOSTILE), skeletons

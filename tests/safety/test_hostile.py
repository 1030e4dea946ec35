"""A table of hostile commands, queued as an agent under a developer's rules: none runs, and the benign ones do."""

from __future__ import annotations

import shlex
import shutil
import subprocess
from collections.abc import Callable, Iterator
from typing import Any

import anyio
import pytest

from tests.mcp.places import ask
from tests.safety.vectors import BENIGN, HOSTILE
from tests.safety.workshop import Verdicts, Workshop, fill, workshop, write

pytestmark = pytest.mark.xdist_group("hostile")  # one process of the test run is enough to play it all through


@pytest.fixture(scope="module")
def verdicts() -> Iterator[Verdicts]:
    """The whole table, queued through the server's tool by one agent and drained by one worker."""
    with workshop() as shop:
        yield Verdicts(shop)


@pytest.mark.parametrize("name", HOSTILE)
def test_a_hostile_command_is_held_or_refused_with_a_reason(verdicts: Verdicts, name: str) -> None:
    outcome = verdicts.hostile[name]
    if outcome.reply is None:
        assert outcome.refusal
        assert "Traceback" not in outcome.refusal
        return
    assert outcome.reply["state"] == "held", outcome
    assert verdicts.states[outcome.reply["id"]] == "held"
    assert outcome.reply["id"] not in verdicts.attempts


def test_so_is_a_hand_over_to_it(verdicts: Verdicts) -> None:
    assert len(verdicts.handed_over) > 200
    wrong = {
        name: outcome
        for name, outcome in verdicts.handed_over.items()
        if outcome.reply is not None and (outcome.reply["state"] != "held" or outcome.reply["id"] in verdicts.attempts)
    }
    assert wrong == {}


def test_nothing_was_made_where_the_hostile_ones_write(verdicts: Verdicts) -> None:
    assert sorted(path.name for path in verdicts.shop.canaries.iterdir()) == []


@pytest.mark.parametrize("name", BENIGN)
def test_the_benign_commands_beside_them_run_and_succeed(verdicts: Verdicts, name: str) -> None:
    outcome = verdicts.benign[name]
    assert outcome.reply is not None, outcome
    assert outcome.reply["state"] != "held", outcome
    assert verdicts.states[outcome.reply["id"]] == "succeeded", outcome
    assert verdicts.attempts[outcome.reply["id"]] == 1


REASONS = {
    "git -c alias": "some subcommands",
    "git diff --output": "the option `--output=",
    "find -exec": "only an exact rule",
    "cat of a link": "may lead outside",
    "git in a hostile repository": "core.fsmonitor",
    "git in one with an include": "include.path",
    "git in one with a hook": "the hook post-index-change",
    "git in a bare one": "core.fsmonitor",
    "git in a working tree that points to it": "core.fsmonitor",
    "git above a hostile submodule": "submodules",
    "the variable LD_PRELOAD": "the variable LD_PRELOAD",
    "make with another value of its variable": "MODE be set to that value",
    "input where none may be": "input",
    "a folder outside": "outside the folders",
    "the folder of runq's own files": "outside the folders",
}


@pytest.mark.parametrize("name", REASONS)
def test_the_reason_is_the_right_one(verdicts: Verdicts, name: str) -> None:
    assert REASONS[name] in repr(verdicts.hostile[name])


REAL = [
    "git -c alias",
    "git grep -O",
    "git diff --output",
    "find -exec",
    "tar --checkpoint-action",
    "sed e",
    "awk system",
    "sort -o",
    "env",
    "timeout",
    "xargs",
    "bash -c",
    "python -c",
]


@pytest.mark.parametrize("name", REAL)
def test_the_payloads_are_real(verdicts: Verdicts, name: str) -> None:
    """Run by hand, such a command makes its file: the table does not fight shadows."""
    shop = verdicts.shop
    text, number = HOSTILE[name], 5000 + REAL.index(name)
    assert isinstance(text, str)
    argv: list[str] = [fill(word, shop.texts(number)) for word in shlex.split(text)]
    if shutil.which(str(argv[0])) is None:
        pytest.skip(f"{argv[0]} is not installed")
    subprocess.run(argv, cwd=shop.project, input=b"", capture_output=True, check=False, timeout=60)
    made = shop.canaries / str(number)
    assert made.exists()
    made.unlink()


# -- between the adding and the running ------------------------------------------------------------------------


def queued(shop: Workshop, **fields: Any) -> int:
    """An agent's job that the rules allow when it is added."""

    async def enqueue() -> dict[str, Any]:
        async with shop.client() as client:
            return await ask(client, "enqueue", **fields)

    reply = anyio.run(enqueue)
    assert reply["state"] == "available", reply
    return reply["id"]


@pytest.fixture
def shop() -> Iterator[Workshop]:
    with workshop() as made:
        made.pause()
        yield made


def swap_program(shop: Workshop) -> None:
    (shop.project / "tool").unlink()
    (shop.project / "tool").symlink_to(shop.evil / "touch")


def swap_folder(shop: Workshop) -> None:
    (shop.project / "work").rmdir()
    (shop.project / "work").symlink_to(shop.outside)


def swap_argument(shop: Workshop) -> None:
    (shop.project / "src/a.py").unlink()
    (shop.project / "src/a.py").symlink_to(shop.outside / "secret")


def edit_the_repository(shop: Workshop) -> None:
    with (shop.project / ".git/config").open("a") as file:
        file.write(f"[core]\n\tfsmonitor = {shop.evil}/touch\n")


def add_a_hook(shop: Workshop) -> None:
    write(shop.project / ".git/hooks/post-index-change", f"#!/bin/sh\ntouch {shop.canaries}/evil\n", 0o755)


def edit_the_rules(shop: Workshop) -> None:
    shop.rules("")


def break_the_rules(shop: Workshop) -> None:
    shop.rules("[[allow]")


def open_the_rules(shop: Workshop) -> None:
    (shop.home / "rules.toml").chmod(0o666)


SWAPS: dict[str, tuple[dict[str, Any], Callable[[Workshop], None], str]] = {
    "the program": ({"argv": ["./tool"]}, swap_program, "is no longer"),
    "the folder": ({"argv": ["cat"], "cwd": "work"}, swap_folder, "outside the folders"),
    "an argument's file": ({"argv": ["cat", "src/a.py"]}, swap_argument, "may lead outside"),
    "the repository's settings": ({"argv": ["git", "status"]}, edit_the_repository, "core.fsmonitor"),
    "the repository's hooks": ({"argv": ["git", "status"]}, add_a_hook, "post-index-change"),
    "the rules": ({"argv": ["git", "status"]}, edit_the_rules, "no rule"),
    "the rules, for broken ones": ({"argv": ["git", "status"]}, break_the_rules, "cannot be read"),
    "the rules, for ones that others may write": ({"argv": ["git", "status"]}, open_the_rules, "chmod 600"),
}


@pytest.mark.parametrize("what", SWAPS)
def test_what_was_exchanged_after_the_adding_is_judged_again_and_held(shop: Workshop, what: str) -> None:
    fields, swap, reason = SWAPS[what]
    (shop.project / "tool").symlink_to("/bin/true")
    (shop.project / "work").mkdir()
    with (shop.home / "rules.toml").open("a") as file:
        file.write("[[allow]]\nargv = ['./tool']\nprogram = '/bin/true'\n")
    job = queued(shop, **fields)
    swap(shop)
    shop.queue.pause("default", paused=False)
    shop.cli("process-queue")
    found = shop.job(job)
    assert (found.state, found.attempts) == ("held", ())
    assert reason in shop.cli("status", str(job))
    assert list(shop.canaries.iterdir()) == []


def test_a_unique_key_does_not_smuggle_a_command_in(shop: Workshop) -> None:
    job = queued(shop, argv=["git", "status"], unique="key")
    assert queued(shop, argv=["touch", f"{shop.canaries}/x"], unique="key") == job
    assert shop.job(job).argv == ("git", "status")

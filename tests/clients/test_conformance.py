"""The MCP conformance suite over HTTP: every scenario for servers that it has, in both eras.

Three tools of the suite's fixture server are played by runq's own, so that its tasks are tried. What fails because
the suite's other fixtures are missing stands in `conformance.toml`, by name and reason; everything else must pass, and
what passes must not stand there.
"""

import json
import subprocess
import tomllib
from collections.abc import Iterator
from pathlib import Path
from typing import Any, NamedTuple

import pytest

from tests.clients.forwarding import forwarding
from tests.clients.installed import CONFORMANCE, environ, program
from tests.helpers import short_folder
from tests.mcp.http_servers import Served
from tests.mcp.places import Place

EXCEPTIONS = Path(__file__).with_name("conformance.toml")
STAMP = len("-2026-11-22T20-42-20-841Z")  # behind the name of each scenario's folder
RUNS = {
    "all": [],  # the scenarios of every version and extension, those of several in the last one with sessions
    "modern": ["--spec-version", "2026-07-28"],
}
LIMIT = 240  # seconds


class Verdicts(NamedTuple):
    scenarios: set[str]
    passed: set[str]
    failed: dict[str, str]  # "scenario: check", and what the suite says


@pytest.fixture
def place() -> Iterator[Place]:
    with short_folder() as folder, Place(folder) as it:
        it.configure(agents="allow")
        yield it


def in_other_words(message: dict[str, Any]) -> dict[str, Any]:
    """A call of a tool that the suite's own server would have, as one of runq's."""
    params = message.get("params")
    asked = params.get("name") if isinstance(params, dict) and message.get("method") == "tools/call" else None
    if asked not in ("slow_compute", "failing_job", "greet"):
        return message
    seconds = params.get("arguments", {}).get("seconds", 0)
    argv = ["sleep", str(seconds)] if asked == "slow_compute" else ["false"]
    called = {"name": "health", "arguments": {}} if asked == "greet" else {"name": "run", "arguments": {"argv": argv}}
    return {**message, "params": {**params, **called}}


def test_the_conformance_suite_finds_nothing_but_missing_fixtures(place: Place, tmp_path: Path) -> None:
    suite = program(CONFORMANCE, "conformance")
    place.start_worker()
    with Served(place) as server, forwarding(server.port, server.token, in_other_words) as port:
        url = f"http://127.0.0.1:{port}/mcp"
        started = {name: start(suite, url, tmp_path / name, options) for name, options in RUNS.items()}
        for process in started.values():
            process.communicate(timeout=LIMIT)
    found = {name: verdicts(tmp_path / name) for name in RUNS}
    assert {"server-initialize", "tasks-lifecycle"} <= found["all"].scenarios, "the suite did not run"
    assert "server-stateless" in found["modern"].scenarios and len(found["modern"].passed) >= 60
    listed = exceptions()
    for name, (scenarios, passed, failed) in found.items():
        expected = {check for check in listed if check.partition(":")[0] in scenarios}
        assert {check: said for check, said in failed.items() if check not in expected} == {}, name
        assert expected - set(failed) == set(), f"{name}: these pass, or are no more: strike them off the list"
        assert not passed & set(failed), name


def start(suite: Path, url: str, into: Path, options: list[str]) -> subprocess.Popen[bytes]:
    command = [suite, "server", "--url", url, "--suite", "all", "-o", into, *options]
    return subprocess.Popen(
        command,
        env=environ(HOME=str(into.parent)),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )


def verdicts(folder: Path) -> Verdicts:
    """What the suite has written; of several checks with one name, the worst."""
    scenarios: set[str] = set()
    passed: set[str] = set()
    failed: dict[str, str] = {}
    for one in folder.iterdir():
        scenario = one.name.removeprefix("server-")[:-STAMP]
        scenarios.add(scenario)
        for check in json.loads((one / "checks.json").read_text()):
            name = f"{scenario}: {check['id']}"
            if check["status"] in ("FAILURE", "WARNING"):
                failed[name] = check.get("errorMessage", "")
            elif check["status"] == "SUCCESS":
                passed.add(name)
    return Verdicts(scenarios, passed - set(failed), failed)


def exceptions() -> dict[str, str]:
    """The checks that may fail, and why."""
    groups = tomllib.loads(EXCEPTIONS.read_text())["exceptions"]
    found = {check: group["reason"] for group in groups for check in group["checks"]}
    assert sum(len(group["checks"]) for group in groups) == len(found), "a check stands there twice"
    return found

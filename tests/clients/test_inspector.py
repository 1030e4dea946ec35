"""The MCP Inspector's command line over stdio, in both eras: what it lists, calls, reads and checks."""

import json
import sqlite3
import subprocess
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from mcp_server.catalogue import make_tools
from mcp_server.session import Session
from tests.clients.installed import INSPECTOR, environ, program
from tests.helpers import short_folder
from tests.mcp.places import Place

LIMIT = 120  # seconds
AT_ONCE = 3
MODERN = ("--protocol-era", "modern")
ASKED: dict[str, tuple[str, ...]] = {
    "tools": ("--method", "tools/list", "--strict"),  # ends with 6 where a schema is not portable
    "run": (*MODERN, "--method", "tools/call", "--tool-name", "run", "--tool-args-json", '{"argv": ["echo", "seen"]}'),
    "resource": (*MODERN, "--method", "resources/read", "--uri", "queue://jobs/1"),
    "prompt": ("--method", "prompts/get", "--prompt-name", "explain_job", "--prompt-args", "job_id=1"),
}


@pytest.fixture
def place() -> Iterator[Place]:
    with short_folder() as folder, Place(folder) as it:
        it.configure(agents="allow")
        yield it


def test_the_inspector_lists_calls_reads_and_finds_nothing_wrong(place: Place, tmp_path: Path) -> None:
    inspector = program(INSPECTOR, "mcp-inspector")
    place.start_worker()
    place.end(place.add("make", "test"))
    (tmp_path / "servers.json").write_text(json.dumps({"mcpServers": {"runq": configured(place)}}))
    with ThreadPoolExecutor(AT_ONCE) as pool:
        asked = {what: pool.submit(ask, inspector, place, tmp_path, *how) for what, how in ASKED.items()}
        said = {what: answer.result() for what, answer in asked.items()}
    assert [tool["name"] for tool in said["tools"]["tools"]] == [tool.name for tool in make_tools(Session({}))]
    assert json.loads(said["resource"]["contents"][0]["text"])["argv"] == ["make", "test"]
    assert '["make", "test"]' in said["prompt"]["messages"][0]["content"]["text"]
    ran = said["run"]["structuredContent"]
    assert (ran["exit_code"], ran["output_tail"].endswith("\nseen\n")) == (0, True)
    assert jobs_with_tasks(place) == [ran["id"]], "in the modern era it declares tasks, and follows one to its end"


def jobs_with_tasks(place: Place) -> list[int]:
    with closing(sqlite3.connect(place.home / "runq.db")) as database:
        return [row[0] for row in database.execute("SELECT job FROM tasks")]


def ask(inspector: Path, place: Place, folder: Path, *how: str) -> dict[str, Any]:
    """The result that it shows; it ends with 0 only if nothing is wrong."""
    done = subprocess.run(
        [inspector, "--cli", "--config", folder / "servers.json", "--server", "runq", "--format", "json", "-q", *how],
        env=environ(HOME=str(folder)),
        cwd=place.project,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=LIMIT,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    return json.loads(done.stdout)["result"]


def configured(place: Place) -> dict[str, Any]:
    return {"command": sys.executable, "args": ["-m", "mcp_server"], "env": place.environ, "cwd": str(place.project)}

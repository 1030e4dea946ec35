"""A real server process over real stdio: by the SDK's client in both eras, and by frames made by hand."""

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path
from typing import IO, Any

import anyio
import pytest
from mcp.client import Client
from mcp.client.stdio import StdioServerParameters
from mcp.client.subscriptions import ResourceUpdated, ToolsListChanged
from mcp_types import TextContent

from tests.helpers import wait_until

SERVER = Path(__file__).with_name("sample_server.py")
ROOT = str(SERVER.parents[2])
CLIENTS_KILL_AFTER_SECONDS = 0.5
ANSWER_SECONDS = 20
URI = "queue://status"
INITIALIZE = {
    "jsonrpc": "2.0",
    "id": "hello",
    "method": "initialize",
    "params": {
        "protocolVersion": "2025-11-25",
        "capabilities": {},
        "clientInfo": {"name": "by hand", "version": "1"},
    },
}


def call(name: str, request_id: int = 1, **arguments: Any) -> dict[str, Any]:
    params = {"name": name, "arguments": arguments}
    return {"jsonrpc": "2.0", "id": request_id, "method": "tools/call", "params": params}


class ServerProcess:
    """The sample server with pipes in the test's hands."""

    def __init__(self, trace: Path, wrapper: tuple[str, ...] = ()) -> None:
        self.trace_file = trace
        self.log = trace.with_suffix(".log").open("wb")
        self.process = subprocess.Popen(
            [*wrapper, sys.executable, str(SERVER), str(trace)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=self.log,
            env=os.environ | {"PYTHONPATH": ROOT},
        )
        # Reads below have no time limit of their own: a server that says nothing must fail, not hang, a test.
        self.limit = threading.Timer(ANSWER_SECONDS, self.process.kill)
        self.limit.start()

    @property
    def stdin(self) -> IO[bytes]:
        assert self.process.stdin
        return self.process.stdin

    @property
    def stdout(self) -> IO[bytes]:
        assert self.process.stdout
        return self.process.stdout

    def write(self, *frames: dict[str, Any]) -> None:
        self.stdin.write(b"".join(json.dumps(frame).encode() + b"\n" for frame in frames))
        self.stdin.flush()

    def answer(self) -> dict[str, Any]:
        return json.loads(self.stdout.readline())

    def shake_hands(self) -> dict[str, Any]:
        self.write(INITIALIZE)
        answer = self.answer()
        self.write({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return answer

    def trace(self) -> list[str]:
        return self.trace_file.read_text().split() if self.trace_file.exists() else []

    def seconds_to_leave(self) -> float:
        start = time.monotonic()
        self.process.wait(timeout=10)
        return time.monotonic() - start

    def close(self) -> None:
        self.limit.cancel()
        self.process.kill()
        self.process.wait()
        with suppress(BrokenPipeError):
            self.stdin.close()
        self.stdout.close()
        self.log.close()


Start = Callable[..., ServerProcess]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    servers: list[ServerProcess] = []

    def start_one(wrapper: tuple[str, ...] = ()) -> ServerProcess:
        servers.append(ServerProcess(tmp_path / f"{len(servers)}.trace", wrapper))
        return servers[-1]

    yield start_one
    for server in servers:
        server.close()


def parameters(tmp_path: Path) -> StdioServerParameters:
    arguments = [str(SERVER), str(tmp_path / "trace")]
    return StdioServerParameters(command=sys.executable, args=arguments, env={"PYTHONPATH": ROOT})


async def result_of(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    result = await client.call_tool(tool, arguments)
    (content,) = result.content
    assert isinstance(content, TextContent)
    assert json.loads(content.text) == result.structured_content
    return json.loads(content.text)


@pytest.mark.anyio
@pytest.mark.parametrize("mode", ["auto", "legacy"])
async def test_a_client_of_either_era_calls_tools_undisturbed_by_stray_output(mode: Any, tmp_path: Path) -> None:
    with anyio.fail_after(ANSWER_SECONDS):
        async with Client(parameters(tmp_path), mode=mode) as client:
            assert (client.protocol_version >= "2026") == (mode == "auto")
            assert client.server_capabilities.tools and client.server_capabilities.tools.list_changed
            assert client.server_capabilities.resources and client.server_capabilities.resources.subscribe
            assert await result_of(client, "chatter") == {"read": ""}
            assert await result_of(client, "echo", text="häh\n") == {"text": "häh\n"}
            assert await result_of(client, "surrogate") == {"text": "a?b"}
            if mode == "auto":
                await hears_of_changes(client)
    assert (tmp_path / "trace").read_text().split() == ["started", "ended"]


async def hears_of_changes(client: Client) -> None:
    async with client.listen(tools_list_changed=True, resource_subscriptions=[URI]) as events:
        await client.call_tool("change", {"uri": "queue://unasked"})
        await client.call_tool("change", {"uri": URI})
        seen: list[object] = []
        async for event in events:
            seen.append(event)
            if event == ResourceUpdated(uri=URI):
                break
    assert set(seen) == {ToolsListChanged(), ResourceUpdated(uri=URI)}


def test_a_legacy_client_hears_of_lists_and_of_the_resources_it_subscribed_to(start: Start) -> None:
    server = start()
    server.shake_hands()
    server.write({"jsonrpc": "2.0", "id": 1, "method": "resources/subscribe", "params": {"uri": URI}})
    assert server.answer()["result"] == {}
    server.write(call("change", 2, uri="queue://unasked"), call("change", 3, uri=URI))
    updated = {"jsonrpc": "2.0", "method": "notifications/resources/updated", "params": {"uri": URI}}
    frames: list[dict[str, Any]] = []
    while updated not in frames:
        frames.append(server.answer())
    told = [frame for frame in frames if "method" in frame and frame != updated]
    assert told and {frame["method"] for frame in told} == {"notifications/tools/list_changed"}


@pytest.mark.parametrize(
    ("number", "busy_with"),
    [(signal.SIGTERM, None), (signal.SIGINT, "wait_long"), (signal.SIGHUP, "block_long")],
    ids=["TERM-idle", "INT-in-a-coroutine", "HUP-in-a-thread"],
)
def test_a_signal_ends_the_server_at_once_with_its_lifespan_exit(
    start: Start, number: signal.Signals, busy_with: str | None
) -> None:
    server = start()
    server.shake_hands()
    if busy_with:
        server.write(call(busy_with))
        wait_until(lambda: len(server.trace()) == 2, "the tool is running")
    server.process.send_signal(number)
    assert server.seconds_to_leave() < CLIENTS_KILL_AFTER_SECONDS
    assert server.process.returncode == 0
    assert server.trace()[-1] == "ended"


def test_a_client_that_reads_no_answers_cannot_hold_up_the_end(start: Start) -> None:
    server = start()
    server.shake_hands()
    server.write(call("big", size=5_000_000))
    assert server.stdout.read(1) == b"{"  # the answer has begun, and now the pipe is full
    server.process.send_signal(signal.SIGTERM)
    assert server.seconds_to_leave() < CLIENTS_KILL_AFTER_SECONDS
    assert server.trace() == ["started", "ended"]


def test_what_was_asked_before_the_end_of_input_is_answered(start: Start) -> None:
    server = start()
    server.write(INITIALIZE, call("echo", 1, text="one"), call("chatter", 2), call("lose", 3))
    server.write(call("wait_long", 4))
    server.stdin.write(json.dumps(call("hesitate", 5)).encode())  # `printf '%s'` gives no last newline
    server.stdin.close()
    answers = {frame["id"]: frame for frame in map(json.loads, server.stdout)}  # and nothing stray
    assert server.process.wait(timeout=10) == 0
    assert answers[1]["result"]["structuredContent"] == {"text": "one"}
    assert answers[2]["result"]["structuredContent"] == {"read": ""}
    assert answers[3]["result"]["content"] == [{"type": "text", "text": "There is no file a?b."}]
    assert "result" not in answers.get(4, {})
    assert answers[5]["result"]["structuredContent"] == {"said": "well"}
    assert server.trace() == ["started", "waiting", "ended"]


def test_garbage_is_ignored_and_huge_frames_are_served(start: Start) -> None:
    server = start()
    server.stdin.write(b"hello\n\n\xff\xfe\x00\n[]\n{}\n" + b'{"jsonrpc":"2.0","id":5}\n')
    hello = server.shake_hands()
    assert hello["id"] == "hello"
    server.stdin.write(json.dumps(call("echo", 1, text="?")).encode().replace(b"?", b"\xfc") + b"\n")
    server.stdin.flush()
    assert server.answer()["result"]["structuredContent"] == {"text": "\ufffd"}
    huge = "ü" * 5_000_000
    server.stdin.write(b'{"jsonrpc": "2.0", "id": 9, "met\n' + b"[" * 100_000 + b"\n")
    server.write(call("echo", 2, text=huge))
    answer = server.answer()
    assert (answer["id"], answer["result"]["structuredContent"]) == (2, {"text": huge})
    server.stdin.write(json.dumps(call("echo", 3, text="never")).encode()[:-3])
    server.stdin.close()  # in the middle of a frame
    assert server.stdout.read() == b""
    assert server.process.wait(timeout=10) == 0
    assert server.trace() == ["started", "ended"]


def test_a_server_whose_parent_vanished_ends_though_stdin_stays_open(start: Start) -> None:
    run_as_child = "import subprocess, sys; subprocess.run(sys.argv[1:])"
    server = start(wrapper=(sys.executable, "-c", run_as_child))
    server.shake_hands()
    server.process.kill()
    wait_until(lambda: server.trace() == ["started", "ended"], "the orphan has left")


def test_a_client_that_closes_only_the_servers_stdout_is_gone_too(start: Start) -> None:
    server = start()
    server.shake_hands()
    server.stdout.close()
    server.write(call("echo", text="to nobody"))
    assert server.process.wait(timeout=10) == 0
    assert server.trace() == ["started", "ended"]

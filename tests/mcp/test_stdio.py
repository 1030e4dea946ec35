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

from mcp_server import frames
from tests.helpers import wait_until

SERVER = Path(__file__).with_name("sample_server.py")
ROOT = str(SERVER.parents[2])
CLIENTS_KILL_AFTER_SECONDS = 0.5
IDLE_START_SECONDS = 2.0  # that a start takes at the most on an idle machine: on two slow cores it is 1.4
ANSWER_SECONDS = 240
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
        self._started = time.monotonic()
        self._start_took = 0.0
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
        self._start_took = time.monotonic() - self._started
        self.write({"jsonrpc": "2.0", "method": "notifications/initialized"})
        return answer

    def trace(self) -> list[str]:
        return self.trace_file.read_text().split() if self.trace_file.exists() else []

    def leaves_before_clients_kill(self) -> bool:
        """Whether it does that in time; on a busy machine, in as many times that as its start took longer too."""
        start = time.monotonic()
        self.process.wait(timeout=ANSWER_SECONDS)
        times = max(1.0, self._start_took / IDLE_START_SECONDS)
        return time.monotonic() - start < CLIENTS_KILL_AFTER_SECONDS * times

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
    assert server.leaves_before_clients_kill()
    assert server.process.returncode == 0
    assert server.trace()[-1] == "ended"


def test_a_client_that_reads_no_answers_cannot_hold_up_the_end(start: Start) -> None:
    server = start()
    server.shake_hands()
    server.write(call("big", size=5_000_000))
    assert server.stdout.read(1) == b"{"  # the answer has begun, and now the pipe is full
    server.process.send_signal(signal.SIGTERM)
    assert server.leaves_before_clients_kill()
    assert server.trace() == ["started", "ended"]


def test_what_was_asked_before_the_end_of_input_is_answered(start: Start) -> None:
    server = start()
    server.write(INITIALIZE, call("echo", 1, text="one"), call("chatter", 2), call("lose", 3))
    server.write(call("wait_long", 4))
    server.stdin.write(json.dumps(call("hesitate", 5)).encode())  # `printf '%s'` gives no last newline
    server.stdin.close()
    answers = {frame["id"]: frame for frame in map(json.loads, server.stdout)}  # and nothing stray
    assert server.process.wait(timeout=ANSWER_SECONDS) == 0
    assert answers[1]["result"]["structuredContent"] == {"text": "one"}
    assert answers[2]["result"]["structuredContent"] == {"read": ""}
    assert answers[3]["result"]["content"] == [{"type": "text", "text": "There is no file a?b."}]
    assert "result" not in answers.get(4, {})
    assert answers[5]["result"]["structuredContent"] == {"said": "well"}
    assert server.trace() == ["started", "waiting", "ended"]


UNANSWERABLE = {
    "no JSON": b"hello",
    "blank": b" \t\r",
    "not UTF-8": b"\xff\xfe\x00",
    "nothing": b"{}",
    "an empty batch": b"[]",
    "a batch of nothing": b'[1, null, "2.0", [], {}]',
    "half a request": b'{"jsonrpc": "2.0", "id": 9, "met',
    "nested beyond reading": b'{"id": 1, "x":' + b"[" * 100_000 + b"]" * 100_000 + b"}",
    "a null id": b'{"jsonrpc": "2.0", "id": null, "method": 3}',
    "a fraction as its id": b'{"jsonrpc": "2.0", "id": 1.5, "method": "ping"}',
    "true as its id": b'{"jsonrpc": "2.0", "id": true, "method": "ping"}',
    "an object as its id": b'{"jsonrpc": "2.0", "id": {"a": 1}, "method": "ping"}',
    "an id that is no text": b'{"jsonrpc": "2.0", "id": "\\ud800", "method": "ping"}',
    "an endless number as its id": b'{"jsonrpc": "2.0", "method": "ping", "id": ' + b"9" * 5000 + b"}",
    "a malformed response": b'{"jsonrpc": "2.0", "id": 1, "result": 5}',
    "a malformed error": b'{"jsonrpc": "2.0", "id": 1, "error": "secret"}',
    "a notification with params that are none": b'{"jsonrpc": "2.0", "method": "notifications/cancelled", "params": 1}',
}
MALFORMED = {
    "no method": (b'{"jsonrpc": "2.0", "id": 1}', [1]),
    "a method that is none": (b'{"jsonrpc": "2.0", "id": "secret-id", "method": ["secret"]}', ["secret-id"]),
    "no version": (b'{"id": -7, "method": "ping"}', [-7]),
    "another version": (b'{"jsonrpc": "1.0", "id": 2, "method": "ping"}\r', [2]),
    "params that are a list": (b'{"jsonrpc": "2.0", "id": 3, "method": "ping", "params": ["secret"]}', [3]),
    "params that are text": (b'{"jsonrpc": "2.0", "id": 4, "method": "ping", "params": "secret"}', [4]),
    "a lone surrogate": (b'{"jsonrpc": "2.0", "id": 5, "method": "\\ud800"}', [5]),
    "a NUL": (b'{"jsonrpc": "2.0", "id": 6, "method": "secret\0"}', [6]),
    "an endless number": (b'{"jsonrpc": "2.0", "id": 7, "method": "x", "params": {"n": ' + b"9" * 5000 + b"}}", [7]),
    "deep nesting": (
        b'{"jsonrpc":"2.0","id":8,"method":"x","params":{"a":' + b"[" * 300 + b"]" * 300 + b"}}",
        [8],
    ),
    "both kinds of id": (b'{"jsonrpc": "2.0", "id": null, "id": 9, "method": 1}', [9]),
    "a response with a method": (b'{"id": 10, "method": "secret", "result": 1}', [10]),
    "a batch": (
        b'[{"jsonrpc": "2.0", "id": 11, "method": "ping"}, {"id": "b"}, {"jsonrpc": "2.0", "method": "x"}, 5]',
        [11, "b"],
    ),
    "a huge batch": (b"[" + b'{"id": "many"},' * 50_000 + b"0]", ["many"] * 100),
}


@pytest.mark.parametrize("era", ["handshake", "modern"])
def test_a_malformed_request_is_answered_where_its_id_can_be_made_out(start: Start, era: str) -> None:
    server = start()
    if era == "handshake":
        server.shake_hands()
    for frame, ids in MALFORMED.values():
        server.stdin.write(frame + b"\n")
        server.stdin.flush()
        for request_id in ids:
            answer = server.stdout.readline()
            assert b"secret" not in answer.replace(b'"secret-id"', b"")
            told = json.loads(answer)
            assert (told["id"], type(told["id"]), told["error"]["code"]) == (request_id, type(request_id), -32600)
            assert told["error"]["message"].startswith("Invalid Request")


def test_what_has_no_id_to_answer_to_is_ignored_and_not_repeated_in_the_log(start: Start) -> None:
    server = start()
    server.shake_hands()
    for frame in UNANSWERABLE.values():
        server.stdin.write(frame + b"\n")
    server.stdin.write(b"\xef\xbb\xbf")  # what some programs begin a text with
    server.write(call("echo", 1, text="still there"))
    assert server.answer()["result"]["structuredContent"] == {"text": "still there"}
    log = server.trace_file.with_suffix(".log").read_text()
    assert "no JSON-RPC message" in log
    assert "secret" not in log and "Traceback" not in log


def test_malformed_requests_are_answered_before_the_end_too(start: Start) -> None:
    server = start()
    server.stdin.write(b'{"id": 1}\n{"id": 2}')
    server.stdin.close()
    assert [json.loads(line)["id"] for line in server.stdout] == [1, 2]
    assert server.process.wait(timeout=ANSWER_SECONDS) == 0


@pytest.mark.anyio
async def test_of_a_line_that_is_too_long_nothing_is_kept() -> None:
    reader, writer = os.pipe()
    with os.fdopen(reader, "rb"), os.fdopen(writer, "wb", buffering=0) as pipe:
        pipe.write(b"x" * 10 + b"\n" + b"x" * 11 + b"\nshort\n" + b"x" * 5)
        read = frames.lines(reader, most=10)
        found = [await anext(read) for _ in range(3)]
        pipe.write(b"x" * 5)
        pipe.close()
        found += [line async for line in read]
    assert found == [b"x" * 10, b"", b"short", b"x" * 10]


def test_a_frame_without_end_takes_no_memory_without_end(start: Start) -> None:
    server = start()
    server.shake_hands()
    before = most_memory(server)
    piece = b'{"jsonrpc": "2.0", "id": 1, "method": "ping", "params": {"x": "' + b"x" * (1 << 20)
    for _ in range(3 * frames.MOST_BYTES >> 20):
        server.stdin.write(piece)
    assert most_memory(server) - before < 2 * frames.MOST_BYTES >> 10
    server.stdin.write(b"\n")
    server.write(call("echo", 2, text="next"))
    assert server.answer()["id"] == 2
    assert "are the most" in server.trace_file.with_suffix(".log").read_text()


def most_memory(server: ServerProcess) -> int:
    """KiB that it has had at the most; 0 where that cannot be told."""
    status = Path(f"/proc/{server.process.pid}/status")
    lines = status.read_text().splitlines() if status.exists() else []
    return sum(int(line.split()[1]) for line in lines if line.startswith("VmHWM"))


def test_a_client_that_reads_no_refusals_is_still_heard(start: Start) -> None:
    server = start()
    server.shake_hands()
    for _ in range(20_000):  # more than two pipes hold
        server.stdin.write(b'{"id": 1}\n')
    server.stdin.write(json.dumps(call("wait_long")).encode() + b"\n")
    server.stdin.flush()
    wait_until(lambda: server.trace() == ["started", "waiting"], "the request behind them was heard")


def test_garbage_is_ignored_and_huge_frames_are_served(start: Start) -> None:
    server = start()
    server.stdin.write(b"hello\n\n\xff\xfe\x00\n[]\n{}\n")
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
    assert server.process.wait(timeout=ANSWER_SECONDS) == 0
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
    assert server.process.wait(timeout=ANSWER_SECONDS) == 0
    assert server.trace() == ["started", "ended"]

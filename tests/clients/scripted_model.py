"""A model that says what a test wants: the Anthropic Messages endpoint on loopback, with a script instead of a mind.

Each request of the conversation (one that offers tools) takes the next turn of the script; what a client asks beside it
(titles, token counts, a greeting) gets an answer and costs no turn. Every request is kept, so that a test can look at
what the model was shown.
"""

from __future__ import annotations

import itertools
import json
import sys
import threading
from collections.abc import Iterator
from contextlib import suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any, Self, cast

HOLD_SECONDS = 60  # how long a held turn waits for its test at the most


@dataclass(frozen=True)
class Say:
    """The model answers with text and ends its turn."""

    text: str = "Done."


@dataclass(frozen=True)
class Use:
    """The model calls a tool."""

    name: str
    arguments: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Hold:
    """The model thinks until the test ends, or the client hangs up."""


Turn = Say | Use | Hold

_numbers = itertools.count(1)  # of messages and calls: none twice, as with the real one


class Endpoint(ThreadingHTTPServer):
    """One that takes it as it comes when a client is killed."""

    daemon_threads = True

    def handle_error(self, request: Any, client_address: Any) -> None:
        if not isinstance(sys.exception(), ConnectionError):
            super().handle_error(request, client_address)


class ScriptedModel:
    """The endpoint. Beyond its script it has nothing to say, and ends each turn."""

    def __init__(self, *turns: Turn) -> None:
        self._lock = threading.Lock()
        self._turns = list(turns)
        self._ended = threading.Event()
        self.requests: list[dict[str, Any]] = []  # of the conversation, in their order
        self.others: list[tuple[str, dict[str, Any]]] = []  # path and body of whatever else was asked
        self.holding = threading.Event()  # a `Hold` has been reached
        self._server = Endpoint(("127.0.0.1", 0), self._handler())
        self._thread = threading.Thread(target=self._server.serve_forever, kwargs={"poll_interval": 0.05})

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._server.server_address[1]}"

    def say(self, *turns: Turn) -> None:
        """What comes next."""
        with self._lock:
            self._turns += turns

    @property
    def tools(self) -> set[str]:
        """The names of all tools that the model was offered."""
        return {tool["name"] for request in self.requests for tool in request["tools"]}

    @property
    def shown(self) -> str:
        """All text that the model was shown by the end, its own words and calls aside."""
        request = self.requests[-1]
        messages = [message for message in request["messages"] if message["role"] != "assistant"]
        return "\n".join([*_texts(request.get("system")), *(text for one in messages for text in _texts(one))])

    @property
    def results(self) -> list[str]:
        """What its tool calls brought, in their order."""
        contents = [one["content"] for one in self.requests[-1]["messages"] if isinstance(one["content"], list)]
        blocks = [block for content in contents for block in content if block["type"] == "tool_result"]
        return ["\n".join(_texts(block.get("content"))) for block in blocks]

    def _next(self, path: str, body: dict[str, Any]) -> Turn:
        with self._lock:
            if not body.get("tools"):
                self.others.append((path, body))
                return Say("ok")
            self.requests.append(body)
            turn = self._turns.pop(0) if self._turns else Say("...")
        if isinstance(turn, Hold):
            self.holding.set()
            self._ended.wait(HOLD_SECONDS)
        return turn

    def _handler(self) -> type[BaseHTTPRequestHandler]:
        model = self

        class Handler(BaseHTTPRequestHandler):
            protocol_version = "HTTP/1.1"

            def do_POST(self) -> None:
                body = json.loads(self.rfile.read(int(self.headers.get("Content-Length") or 0)) or b"{}")
                path = self.path.partition("?")[0]
                if path == "/v1/messages/count_tokens":
                    self._send({"input_tokens": 100})
                elif path == "/v1/messages":
                    turn = model._next(path, body)
                    with suppress(ConnectionError):  # whoever asked was killed meanwhile
                        self._stream(turn) if body.get("stream") else self._send(_message(turn))
                else:
                    self._unknown(body)

            def do_GET(self) -> None:
                self._unknown({})

            do_HEAD = do_GET

            def _unknown(self, body: dict[str, Any]) -> None:
                model.others.append((self.path, body))
                self._send({"type": "error", "error": {"type": "not_found_error", "message": "not here"}}, 404)

            def _send(self, answer: dict[str, Any], code: int = 200) -> None:
                content = json.dumps(answer).encode()
                self.send_response(code)
                self.send_header("Content-Type", "application/json")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                if self.command != "HEAD":
                    self.wfile.write(content)

            def _stream(self, turn: Turn) -> None:
                content = b"".join(f"event: {it['type']}\ndata: {json.dumps(it)}\n\n".encode() for it in _events(turn))
                self.send_response(200)
                self.send_header("Content-Type", "text/event-stream")
                self.send_header("Content-Length", str(len(content)))
                self.end_headers()
                self.wfile.write(content)

            def log_message(self, format: str, *args: Any) -> None:
                pass

        return Handler


def _message(turn: Turn) -> dict[str, Any]:
    """A turn as the whole answer to a request."""
    number = next(_numbers)
    if isinstance(turn, Use):
        content = {"type": "tool_use", "id": f"toolu_{number}", "name": turn.name, "input": turn.arguments}
    else:
        content = {"type": "text", "text": turn.text if isinstance(turn, Say) else ""}
    return {
        "id": f"msg_{number}",
        "type": "message",
        "role": "assistant",
        "model": "scripted",
        "content": [content],
        "stop_reason": "tool_use" if isinstance(turn, Use) else "end_turn",
        "stop_sequence": None,
        "usage": {"input_tokens": 10, "output_tokens": 10},
    }


def _events(turn: Turn) -> Iterator[dict[str, Any]]:
    """The same as the events of a stream."""
    message = _message(turn)
    (block,) = message["content"]
    if isinstance(turn, Use):
        start = block | {"input": {}}
        delta = {"type": "input_json_delta", "partial_json": json.dumps(block["input"])}
    else:
        start = block | {"text": ""}
        delta = {"type": "text_delta", "text": block["text"]}
    yield {"type": "message_start", "message": message | {"content": [], "stop_reason": None}}
    yield {"type": "content_block_start", "index": 0, "content_block": start}
    yield {"type": "content_block_delta", "index": 0, "delta": delta}
    yield {"type": "content_block_stop", "index": 0}
    yield {
        "type": "message_delta",
        "delta": {"stop_reason": message["stop_reason"], "stop_sequence": None},
        "usage": {"output_tokens": 10},
    }
    yield {"type": "message_stop"}


def _texts(value: Any) -> Iterator[str]:
    """All text within a message, a block or a list of them."""
    if isinstance(value, str):
        yield value
    elif isinstance(value, list):
        for inner in cast("list[Any]", value):
            yield from _texts(inner)
    elif value is not None:
        yield from _texts(value.get("content"))
        if value.get("type") == "text":
            yield value["text"]

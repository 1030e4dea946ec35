"""Frames of the stdio transport: one JSON-RPC message a line, read whatever comes in, and written.

What is wrong with a frame never ends the server. A request that is malformed, but whose id can be made out, is
answered; everything else that is no message is logged and left. An error without an id would be allowed by JSON-RPC,
and both eras' schemas have `id` optional there: but no client can tell which of its requests it is about, the
schemas before 2025-11-25 forbid it, and a client that takes stray text for the end of its server would end it.
Responses are never answered either: their ids are this server's own.
"""

import json
import logging
import os
from collections.abc import AsyncGenerator
from typing import Any, Final

import anyio
import anyio.to_thread
from mcp_types import (
    INVALID_REQUEST,
    ErrorData,
    JSONRPCError,
    JSONRPCMessage,
    JSONRPCNotification,
    RequestId,
    jsonrpc_message_adapter,
)

from queue_core.shapes import is_list, is_object

__all__ = ["MOST_BYTES", "Refused", "encode", "lines", "parse", "understood"]

logger = logging.getLogger(__name__)

MOST_BYTES: Final = 32 << 20
"""The longest frame. A job's input may have 16 MiB, which JSON makes longer."""
CHUNK_BYTES: Final = 1 << 16
MOST_ID_DIGITS: Final = 1000
MOST_OF_A_BATCH: Final = 100
"""How many requests of one batch are answered."""
BOM: Final = b"\xef\xbb\xbf"
INVALID: Final = "Invalid Request: this is no JSON-RPC 2.0 request that this server can read"
NO_BATCHES: Final = "Invalid Request: batches are not served; send each message by itself"


class Refused:
    """A frame that is no message: what is wrong with it, and what its sender is told of each request in it."""

    def __init__(self, error: ErrorData, answers: list[JSONRPCError]) -> None:
        self.error = error
        self.answers = answers


# -- reading ---------------------------------------------------------------------------------------------


async def lines(fd: int, most: int = MOST_BYTES) -> AsyncGenerator[bytes]:
    """Lines without their newline; also the last one, if the input ends in the middle of it.

    Of a line with more than `most` bytes nothing is kept: it is logged, and comes as an empty one.
    """
    line = _Line(most)
    while chunk := await _read(fd):
        *ends, rest = chunk.split(b"\n")
        for end in ends:
            line.add(end)
            yield line.taken()
        line.add(rest)
    yield line.taken()


class _Line:
    """A line as it comes in, piece by piece."""

    def __init__(self, most: int) -> None:
        self._most = most
        self._parts: list[bytes] = []  # joined once a line: a frame of 10 MB costs 10 MB of copying, not its square
        self._size = 0

    def add(self, piece: bytes) -> None:
        self._size += len(piece)
        if self._size > self._most:
            self._parts.clear()
        elif piece:
            self._parts.append(piece)

    def taken(self) -> bytes:
        """The whole line; the next one begins."""
        if self._size > self._most:
            logger.warning("ignored a frame of %d bytes: %d are the most", self._size, self._most)
        line = b"".join(self._parts)
        self._parts.clear()
        self._size = 0
        return line


async def _read(fd: int) -> bytes:
    """Whatever is there, empty at the end of file (or if the other end was torn away)."""
    try:
        await anyio.wait_readable(fd)
    except OSError:  # epoll refuses files, kqueue some terminals
        return await anyio.to_thread.run_sync(_read_or_end, fd, abandon_on_cancel=True)
    return _read_or_end(fd)


def _read_or_end(fd: int) -> bytes:
    try:
        return os.read(fd, CHUNK_BYTES)
    except OSError:
        return b""


# -- understanding ---------------------------------------------------------------------------------------


def parse(line: bytes) -> JSONRPCMessage | Refused | None:
    """The message of one line, None for a blank one, or what is to be answered to what is none.

    Of what cannot be answered, the log tells.
    """
    found = understood(line)
    if isinstance(found, Refused) and not found.answers:
        logger.warning("ignored %d bytes of input that are no JSON-RPC message", len(line))
    return found


def understood(line: bytes) -> JSONRPCMessage | Refused | None:
    """The same, untold."""
    line = line.removeprefix(BOM)
    if not line or line.isspace():
        return None
    text = line.decode(errors="replace")
    try:
        message = jsonrpc_message_adapter.validate_json(text, by_name=False)
    except ValueError:
        return _refused(text)
    if isinstance(message, JSONRPCNotification) and '"id"' in text and not _is_notification(_loaded(text)):
        return _refused(text)  # a request with an id of no kind that has an answer, which the SDK would swallow
    return message


def _is_notification(value: object) -> bool:
    """Whether it has no id; null is what some clients send for none."""
    return is_object(value) and value.get("id") is None


def _refused(text: str) -> Refused:
    """Answers to those requests in it that can be answered. Its text stays out of log and answer: it may hold
    anything.
    """
    value = _loaded(text)
    asked, why = (value[:MOST_OF_A_BATCH], NO_BATCHES) if is_list(value) else ([value], INVALID)
    ids = [request_id for one in asked if (request_id := _id_of(one)) is not None]
    error = ErrorData(code=INVALID_REQUEST, message=why)
    return Refused(error, [JSONRPCError(jsonrpc="2.0", id=request_id, error=error) for request_id in ids])


def _loaded(text: str) -> Any:
    """What it says as far as Python can read it, None if it can't."""
    try:
        return _LENIENT.decode(text)
    except (ValueError, RecursionError):
        return None


def _id_of(value: object) -> RequestId | None:
    """The id under which a request can be answered, None where there is none (or where this is a response)."""
    if not is_object(value) or ("method" not in value and ("result" in value or "error" in value)):
        return None
    request_id: object = value.get("id")
    if isinstance(request_id, str):
        return request_id if _is_text(request_id) else None
    return request_id if isinstance(request_id, int) and not isinstance(request_id, bool) else None


def _is_text(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # a lone surrogate, which no answer could repeat
        return False
    return True


def _int(digits: str) -> int | None:
    return int(digits) if len(digits) <= MOST_ID_DIGITS else None  # Python itself refuses those beyond 4300


_LENIENT: Final = json.JSONDecoder(parse_int=_int, strict=False)  # control characters in strings are read


# -- writing ---------------------------------------------------------------------------------------------


def encode(message: JSONRPCMessage) -> bytes:
    """The frame of a message, with its newline."""
    try:
        text = message.model_dump_json(by_alias=True, exclude_unset=True)
    except ValueError:
        # A lone surrogate (from a file name or an output that is no UTF-8): JSON has no such text, and in the
        # SDK's own transport this exception ends the server.
        text = json.dumps(message.model_dump(by_alias=True, exclude_unset=True), ensure_ascii=False)
    return text.encode(errors="replace") + b"\n"

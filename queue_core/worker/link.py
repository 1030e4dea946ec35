"""A worker's connection to one keeper: requests out, ends in, and nothing remembered but whose claims."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import anyio

from queue_core.errors import KeeperError
from queue_core.keeper import protocol

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Sequence

    from anyio.abc import SocketStream

    from queue_core.keeper.protocol import Claim, Message


class KeeperLink:
    """One keeper as a worker sees it. `claims` are those of this worker's that run under it."""

    def __init__(self, keeper: str, stream: SocketStream) -> None:
        self.keeper = keeper
        self.claims: set[Claim] = set()
        self.open = True
        self._stream = stream
        self._sending = anyio.Lock()

    @classmethod
    async def over(cls, keeper: str, connection: socket.socket) -> KeeperLink:
        """A link over a connected socket, which becomes its own."""
        connection.setblocking(False)
        return cls(keeper, await anyio.abc.UNIXSocketStream.from_socket(connection))

    async def spawn(self, requests: Sequence[dict[str, Any]]) -> None:
        """Ask for commands; a keeper that is gone shows in `receive`, never here."""
        self.claims.update((request["job"], request["claim"]) for request in requests)
        await self._send(protocol.spawn(list(requests)))

    async def watch(self, claims: Sequence[Claim]) -> None:
        """Ask to be told the ends of claims that another worker started."""
        self.claims.update(claims)
        await self._send(protocol.watch(claims))

    async def end(self, claim: Claim, reason: str) -> None:
        """Begin the end of a running command: TERM, CONT, grace, KILL."""
        await self._send(protocol.end(claim, reason))

    async def _send(self, message: Message) -> None:
        try:
            async with self._sending:
                await self._stream.send(protocol.encode(message))
        except (anyio.BrokenResourceError, anyio.ClosedResourceError):
            self.open = False

    async def receive(self, heard: Callable[[KeeperLink, Message], None]) -> None:
        """Hand every message to `heard` until the keeper is gone."""
        lines = protocol.Lines()
        try:
            while True:
                for message in lines.feed(await self._stream.receive()):
                    heard(self, message)
        except (anyio.EndOfStream, anyio.BrokenResourceError, anyio.ClosedResourceError, KeeperError):
            self.open = False

    async def close(self) -> None:
        """Let the keeper go: it leaves when its last command has ended."""
        self.open = False
        await self._stream.aclose()

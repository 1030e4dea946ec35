"""Tells clients that a resource has changed: those resources that somebody has subscribed to, no others.

A resource has changed when a read of it would give something else. That is compared rather than derived
from events: one rule for counts, jobs and growing output, and nothing to forget.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import AsyncGenerator, Collection, Generator
from contextlib import asynccontextmanager, contextmanager
from typing import Any

import anyio
import anyio.to_thread
from mcp.server.context import CallNext, HandlerResult, ServerRequestContext
from mcp.server.subscriptions import ResourcesListChanged, ResourceUpdated, SubscriptionBus

from mcp_server.resources import TAIL, Contents, Title
from mcp_server.session import Session
from queue_core.shapes import is_list, is_object

QUIET = 0.1  # seconds between two announcements: a burst of changes is told once
OUTPUT_POLL = 1.0  # seconds between looks at outputs, which grow without a change in the queue
LIST_QUIET = 1.0  # seconds between two announcements that the list of resources is another
LONG = 60.0
MOST_WATCHED = 500  # resources; more are accepted and not told about


class Subscriptions:
    """What clients of both eras want to be told about, and how it was when they were last told."""

    def __init__(self, session: Session, contents: Contents, bus: SubscriptionBus) -> None:
        self._session = session
        self._contents = contents
        self._bus = bus
        self._wanted: Counter[str] = Counter()
        self._known: dict[str, str | None] = {}
        self._listening = 0  # to the list of resources
        self._listed: list[Title] | None = None  # as it was when they were last told; None: not known
        self._more = anyio.Event()

    async def middleware(self, ctx: ServerRequestContext[Any, Any], call_next: CallNext) -> HandlerResult:
        """Sees what is subscribed to: the SDK's bus tells nobody."""
        if ctx.method == "subscriptions/listen":
            uris, the_list = _listened_to(ctx.params)
            with self._wanting(uris, the_list):
                await self._remember(uris)
                if the_list:
                    await self.newest()
                return await call_next(ctx)
        if ctx.method == "notifications/initialized" and ctx.request is None and not self._listening:
            self._listening = 1  # a client of the handshake era over stdio, which is told unasked and stays
            self._wake()
        uri = (ctx.params or {}).get("uri")
        if ctx.method == "resources/subscribe" and isinstance(uri, str):
            await self._remember([uri])
            self._wanted[uri] = 1
            self._wake()
        elif ctx.method == "resources/unsubscribe" and isinstance(uri, str):
            self._forget([uri])
        return await call_next(ctx)

    async def _remember(self, uris: Collection[str]) -> None:
        """How it is now, before the client is told that it is subscribed: what changes later is news."""
        new = [uri for uri in uris if uri not in self._known][: MOST_WATCHED - len(self._known)]
        self._known.update(await self._look(new))

    async def newest(self) -> list[Title] | None:
        """The newest jobs, for the list of resources: what differs from a list that was shown is news."""
        now = await self._contents.newest()
        if self._listening and self._listed is None:
            self._listed = now
        return now

    @contextmanager
    def _wanting(self, uris: Collection[str], the_list: bool) -> Generator[None]:
        self._wanted.update(uris)
        self._listening += the_list
        self._wake()
        try:
            yield
        finally:
            self._forget(uris)
            self._listening -= the_list
            if not self._listening:
                self._listed = None

    def _forget(self, uris: Collection[str]) -> None:
        self._wanted.subtract(uris)
        self._wanted = +self._wanted
        for uri in self._known.keys() - self._wanted.keys():
            del self._known[uri]

    def _wake(self) -> None:
        self._more.set()
        self._more = anyio.Event()

    @asynccontextmanager
    async def lifespan(self, _: object = None) -> AsyncGenerator[Session]:
        """The session's lifespan, with its changes announced meanwhile."""
        async with self._session.lifespan(), anyio.create_task_group() as tasks:
            tasks.start_soon(self._announce)
            tasks.start_soon(self._announce_list)
            yield self._session
            tasks.cancel_scope.cancel()

    async def _announce(self) -> None:
        while True:
            while not self._wanted:
                await self._more.wait()
            seen = self._session.changes
            await self._tell_changes()
            await anyio.sleep(QUIET)
            growing = any(uri.endswith(TAIL) for uri in self._wanted)
            await self._session.changed(seen, OUTPUT_POLL if growing else LONG)

    async def _announce_list(self) -> None:
        while True:
            while not self._listening:
                await self._more.wait()
            seen = self._session.changes
            now = await self._contents.newest()
            if now is not None and self._listening:
                was, self._listed = self._listed, now
                if was is not None and was != now:
                    await self._bus.publish(ResourcesListChanged())
            await anyio.sleep(LIST_QUIET)
            await self._session.changed(seen, LONG)

    async def _tell_changes(self) -> None:
        now = await self._look([uri for uri in self._known if uri in self._wanted])
        for uri, content in now.items():
            if uri in self._known and self._known[uri] != content:
                self._known[uri] = content
                await self._bus.publish(ResourceUpdated(uri))

    async def _look(self, uris: Collection[str]) -> dict[str, str | None]:
        if not uris:
            return {}
        look = self._contents.state_of
        return await anyio.to_thread.run_sync(lambda: {uri: look(uri) for uri in uris}, abandon_on_cancel=True)


def _listened_to(params: Any) -> tuple[list[str], bool]:
    """The resources that a `subscriptions/listen` names, and whether their list is among what it is for.

    From its unchecked parameters.
    """
    wanted: object = params.get("notifications") if is_object(params) else None
    if not is_object(wanted):
        return [], False
    uris = wanted.get("resourceSubscriptions")
    named = [uri for uri in uris if isinstance(uri, str)] if is_list(uris) else []
    return named, wanted.get("resourcesListChanged") is True

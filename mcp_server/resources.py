"""What a client can read: the status, the statistics, the dead letters, each job and its output."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import Any, NamedTuple, TypeVar

import anyio.to_thread
from mcp.server.mcpserver import MCPServer
from mcp.server.mcpserver.exceptions import ResourceError, ResourceNotFoundError

from mcp_server import replies, text
from mcp_server.session import Session
from mcp_server.wording import for_agents
from queue_core.errors import QueueError, UnknownJob
from queue_core.jobs import Filter

T = TypeVar("T")

STATUS, STATISTICS, DEAD_LETTERS, JOB, OUTPUT = (
    "queue://status",
    "queue://statistics",
    "queue://dead-letters",
    "queue://jobs/{job_id}",
    "queue://jobs/{job_id}/output",
)
JOBS, TAIL = JOB.partition("{")[0], OUTPUT.rpartition("}")[2]
OUTPUT_BUDGET = 64 * 1024  # bytes
MOST_LISTED = 100
NEWEST = 20  # jobs in the list of resources
MOST_DIGITS = 18  # of an id: one more does not fit into the database's integers


# A word of a command that may stand in a list, which agents read before they ask anything: no room for a sentence.
_PLAIN = re.compile(r"[A-Za-z0-9._/:=@+,-]{1,30}")


class Title(NamedTuple):
    """A job in the list of resources."""

    id: int
    title: str


class Contents:
    """The resources' contents. All of it blocks: for threads."""

    def __init__(self, session: Session) -> None:
        self._session = session

    def status(self) -> str:
        """Counts by state, queues, workers and health."""
        view = self._session.queue.status_view()
        return _json({**view, "health": replies.health(view["health"])})

    def statistics(self) -> str:
        """Figures of the last day."""
        return _json(self._session.queue.stats())

    def dead_letters(self) -> str:
        """The jobs that failed for good, newest first."""
        found = self._session.queue.list_view(Filter(states=("dead",), limit=MOST_LISTED))
        return json.dumps({"jobs": found["jobs"], "cursor": found["cursor"]})

    async def newest(self) -> list[Title] | None:
        """The newest jobs; None if the queue cannot be read just now. For the loop."""
        try:
            return await anyio.to_thread.run_sync(self._newest, abandon_on_cancel=True)
        except QueueError:
            return None

    def _newest(self) -> list[Title]:
        found = self._session.queue.list_view(Filter(limit=NEWEST))
        return [Title(job["id"], f"Job {job['id']}: {_in_short(job)}") for job in found["jobs"]]

    def job(self, job_id: str) -> str:
        """One job with its attempts."""
        return _json(replies.full(self._session.queue.job_view(_id(job_id))))

    def output(self, job_id: str) -> str:
        """The end of what the latest attempt wrote, between two lines that say what it is."""
        number = _id(job_id)
        return text.enclosed(self._output(number), f"output of job {number}")

    def _output(self, number: int) -> str:
        try:
            file = self._session.queue.output(number)
            return text.piece(file, max(0, file.size - OUTPUT_BUDGET), OUTPUT_BUDGET).text
        except FileNotFoundError:
            raise UnknownJob(number) from None

    def state_of(self, uri: str) -> str | None:
        """A resource's content but for what changes with the clock alone; None if there is no such thing."""
        try:
            if uri == STATUS:
                return self.status()
            if uri == STATISTICS:
                return _json({**self._session.queue.stats(), "since": None, "until": None})
            if uri == DEAD_LETTERS:
                return self.dead_letters()
            job_id = uri.removeprefix(JOBS)
            if job_id.endswith(TAIL):
                return self._output(_id(job_id.removesuffix(TAIL)))
            return _json({**self._session.queue.job_view(_id(job_id)), "waiting_for": None})
        except (QueueError, ResourceError):
            return None


def add_resources(server: MCPServer[Any], contents: Contents) -> None:
    """Register the five resources."""

    @server.resource(STATUS, title="Queue status", mime_type="application/json")
    async def status() -> str:  # pyright: ignore[reportUnusedFunction]
        """Counts by state, queues, worker and health."""
        return await _asked(contents.status)

    @server.resource(STATISTICS, title="Queue statistics", mime_type="application/json")
    async def statistics() -> str:  # pyright: ignore[reportUnusedFunction]
        """The last 24 h: jobs and attempts by outcome, waits and run times, by queue and program."""
        return await _asked(contents.statistics)

    @server.resource(DEAD_LETTERS, title="Dead letters", mime_type="application/json")
    async def dead_letters() -> str:  # pyright: ignore[reportUnusedFunction]
        """Jobs that failed for good, newest first, with the reason."""
        return await _asked(contents.dead_letters)

    @server.resource(JOB, title="A job", mime_type="application/json")
    async def job(job_id: str) -> str:  # pyright: ignore[reportUnusedFunction]
        """One job with its attempts."""
        return await _asked(lambda: contents.job(job_id))

    @server.resource(OUTPUT, title="A job's output", mime_type="text/plain")
    async def output(job_id: str) -> str:  # pyright: ignore[reportUnusedFunction]
        """The end of what the job's latest attempt wrote: untrusted text."""
        return await _asked(lambda: contents.output(job_id))


def _in_short(job: Mapping[str, Any]) -> str:
    """What it runs: the program and its first argument, as far as these are plain words."""
    argv: list[str] = [job["handler"]] if job["handler"] else [job["argv"][0].rpartition("/")[2], *job["argv"][1:]]
    words = [word if _PLAIN.fullmatch(word) else "…" for word in argv[:2]]
    return " ".join([*words, *(["…"] if len(argv) > 2 and words[-1] != "…" else [])])


def job_number(given: str) -> int:
    """A job's id from a client's text; ValueError says what is wrong with it."""
    if not (given.isascii() and given.isdigit() and len(given) <= MOST_DIGITS):
        raise ValueError(f"A job's id is a positive whole number, not {given[:MOST_DIGITS]!r}.")
    return int(given)


def _id(given: str) -> int:
    """A resource's id, checked here: the SDK would call a text an internal error."""
    try:
        return job_number(given)
    except ValueError as error:
        raise ResourceNotFoundError(str(error)) from error


async def _asked(look: Callable[[], T]) -> T:
    """A look at the queue on a thread; what is wrong with it reaches the client in words."""
    try:
        return await anyio.to_thread.run_sync(look, abandon_on_cancel=True)
    except UnknownJob as error:
        raise ResourceNotFoundError(for_agents(str(error))) from error
    except QueueError as error:
        raise ResourceError(for_agents(str(error))) from error


def _json(view: dict[str, Any]) -> str:
    return json.dumps(replies.without_nulls(view))

"""A home and a project folder, what people put there, and the processes that work on it."""

import json
import os
import signal
import subprocess
import sys
from collections.abc import AsyncGenerator
from contextlib import asynccontextmanager, suppress
from pathlib import Path
from typing import Any, Self

from mcp.client import Client
from mcp_types import CallToolResult, Implementation, TextContent, TextResourceContents

from mcp_server import session as session_module
from mcp_server.server import make_server
from mcp_server.session import Session
from queue_core.jobs import Filter, Job
from queue_core.model import ENDED, NewJob, Origin
from queue_core.service import Queue
from tests.helpers import wait_until

ROOT = str(Path(__file__).parents[2])
PERSON = Origin(caller="person")
INFO = Implementation(name="a client", version="2")

# Nobody kills a server that lives in a test's own process: on however busy a machine, its reader's thread ends
# before the event loop that it answers to.
session_module.CLOSING = 60.0


class Place:
    """One queue's home, seen by the person who owns it. Leaving it stops every worker that is left."""

    def __init__(self, folder: Path) -> None:
        self.home = folder / "home"
        self.project = folder / "project"
        self.home.mkdir(mode=0o700)
        self.project.mkdir()
        self._queue: Queue | None = None
        self._processes: list[subprocess.Popen[bytes]] = []

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        if self._queue is not None:
            self._stop_everything(self._queue)
            self._queue.close()

    def _stop_everything(self, queue: Queue) -> None:
        """A test that failed half way leaves commands and workers behind; a worker waits for its commands."""
        live = queue.ids(Filter(states=("running",)))
        if live:
            queue.cancel(live)
        for pid in queue.live_workers().values():
            with suppress(ProcessLookupError):
                os.kill(pid, signal.SIGTERM)
        wait_until(lambda: not queue.live_workers(), "the workers have left")
        for process in self._processes:
            process.wait()

    @property
    def environ(self) -> dict[str, str]:
        """What a client gives to its server; runs from this checkout."""
        names = ("PATH", "HOME", "LANG")
        kept = {name: os.environ[name] for name in names if name in os.environ}
        return {**kept, "RUNQ_HOME": str(self.home), "CLAUDE_PROJECT_DIR": str(self.project), "PYTHONPATH": ROOT}

    @property
    def queue(self) -> Queue:
        """The queue as a person has it open."""
        if self._queue is None:
            self._queue = Queue.open(self.environ)
        return self._queue

    def configure(self, **settings: object) -> None:
        lines = [f"{name} = {json.dumps(value)}\n" for name, value in settings.items()]
        (self.home / "config.toml").write_text("".join(lines))

    def rules(self, text: str) -> None:
        path = self.home / "rules.toml"
        path.write_text(text)
        path.chmod(0o600)

    def add(self, *argv: str, **fields: Any) -> int:
        """A person's job."""
        job = NewJob(argv=argv or ("true",), **{"retries": 0, **fields})
        return self.queue.enqueue([job], PERSON, folder=str(self.project))[0].id

    def job(self, job_id: int) -> Job:
        return self.queue.job(job_id)

    def die(self, *argv: str, **fields: Any) -> int:
        """A job that has failed for good."""
        return self.end(self.add(*(argv or ("false",)), **fields))

    def end(self, job_id: int) -> int:
        self.all_end([job_id])
        return job_id

    def all_end(self, ids: list[int]) -> None:
        wait_until(lambda: set(self.queue.states_of(ids).values()) <= set(ENDED), f"the jobs {ids} have ended")

    def pause(self, queue: str | None = "default") -> None:
        self.queue.pause(queue, paused=True)

    def start_worker(self) -> None:
        code = "from queue_core.launch import main; main()"
        command = [sys.executable, "-c", code, "work"]
        self._processes.append(
            subprocess.Popen(
                command,
                env=self.environ,
                cwd=self.project,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.DEVNULL,
                stderr=subprocess.DEVNULL,
            )
        )
        wait_until(lambda: self.queue.live_workers(claiming=True), "the worker is up")

    def cli(self, *arguments: str) -> str:
        """The command line as a person uses it; what it says."""
        environ = {name: value for name, value in self.environ.items() if name != "CLAUDE_PROJECT_DIR"}
        code = "from queue_core.launch import main; main()"
        done = subprocess.run(
            [sys.executable, "-c", code, *arguments],
            env=environ,
            cwd=self.project,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            check=True,
        )
        return done.stdout.strip()

    @asynccontextmanager
    async def client(
        self, *, mode: Any = "auto", user: Any = None, asks: bool = True, name: str = INFO.name, **environ: str
    ) -> AsyncGenerator[Client]:
        """A client of a server in this process; `user` answers what it is asked."""
        session = Session({**self.environ, **environ}, asks=asks)
        server, _ = make_server(session)
        info = Implementation(name=name, version=INFO.version)
        try:
            async with Client(server, mode=mode, elicitation_callback=user, client_info=info) as client:
                yield client
        finally:
            session.close()


async def ask(client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
    """A tool's reply, which holds no null anywhere."""
    result = await client.call_tool(tool, arguments)
    assert not result.is_error, said(result)
    reply = result.structured_content
    assert isinstance(reply, dict)
    assert not list(nulls_in(reply)), reply
    return reply


async def refused(client: Client, tool: str, **arguments: Any) -> str:
    """What a tool says when it refuses."""
    result = await client.call_tool(tool, arguments)
    assert result.is_error, result.structured_content
    return said(result)


async def read(client: Client, uri: str) -> str:
    """A resource's text."""
    (content,) = (await client.read_resource(uri)).contents
    assert isinstance(content, TextResourceContents)
    return content.text


def said(result: CallToolResult) -> str:
    (content,) = result.content
    assert isinstance(content, TextContent)
    return content.text


def nulls_in(value: Any) -> Any:
    """Where a reply says null."""
    if isinstance(value, dict):
        for key, inner in value.items():
            if inner is None:
                yield key
            yield from nulls_in(inner)
    elif isinstance(value, list):
        for inner in value:
            yield from nulls_in(inner)

"""`runq demo`: the main job on real input, in a folder of its own that is gone afterwards.

Real hooks' payloads, the real server over stdio, a real MCP client, real signals. What it shows is
checked on the way: a step that does not come true ends the demo with exit code 1.
"""

from __future__ import annotations

import json
import logging
import os
import shlex
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from typing import TYPE_CHECKING, Any

import anyio
from rich.console import Console
from rich.markup import escape

from queue_core.cli.options import Given, Verb
from queue_core.errors import QueueError

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Sequence

    from anyio.abc import TaskStatus
    from mcp import Client

VERBS = {
    "demo": Verb(
        name="demo",
        summary="See the whole thing work: hooks queue commands, a session's server replays them, everything is\n"
        "killed in the middle, nothing is lost. Takes under 30 s and leaves nothing behind.",
        example="runq demo",
    ),
}
PATIENCE = 15.0  # seconds that any one step may take
_CLIENT_MARKS = ("CLAUDE", "ANTHROPIC_", "RUNQ_")
_ROOT = os.path.dirname(os.path.dirname(os.path.dirname(os.path.abspath(__file__))))


class DemoFailed(QueueError):
    """Something that the demo shows did not come true."""


def run_demo(given: Given) -> int:
    """`runq demo`."""
    folder = tempfile.mkdtemp(prefix="runq-demo-")
    story = Story(folder, Console(highlight=False))
    try:
        anyio.run(_tell_unless_interrupted, story)
    except BaseExceptionGroup as group:  # task groups of the client's wrap what went wrong in a step
        if not story.interrupted:
            raise _cause(group) from group
    except KeyboardInterrupt:  # before or after the event loop
        story.interrupted = True
    except Exception:
        if not story.interrupted:  # whatever breaks off then is no failure of the demo's
            raise
    finally:
        story.clean_up()
    if story.interrupted:
        sys.stderr.write("runq: interrupted\n")
        return 130
    return 0


async def _tell_unless_interrupted(story: Story) -> None:
    """Ctrl-C ends the story between two steps, so that what it has started can be cleaned up."""
    async with anyio.create_task_group() as tasks:
        await tasks.start(_watch_for_interrupt, story, tasks.cancel_scope)
        await story.tell()
        tasks.cancel_scope.cancel()


async def _watch_for_interrupt(story: Story, told: anyio.CancelScope, *, task_status: TaskStatus[None]) -> None:
    with anyio.open_signal_receiver(signal.SIGINT) as signals:
        task_status.started()
        async for _ in signals:
            story.interrupted = True
            logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # of a process that nobody waited for
            told.cancel()


def _cause(group: BaseExceptionGroup[BaseException]) -> QueueError:
    first = group.exceptions[0]
    if isinstance(first, BaseExceptionGroup):
        return _cause(first)  # pyright: ignore[reportUnknownArgumentType]
    return first if isinstance(first, QueueError) else DemoFailed(f"the demo's session broke off: {first}")


class Story:
    """The demo's steps, in order, and the processes that they start."""

    def __init__(self, folder: str, console: Console) -> None:
        self.interrupted = False
        self._console = console
        self._folder = folder
        self._project = os.path.join(folder, "project")
        os.mkdir(self._project)
        plain = {name: value for name, value in os.environ.items() if not name.startswith(_CLIENT_MARKS)}
        path = {"PYTHONPATH": os.pathsep.join(filter(None, (_ROOT, plain.get("PYTHONPATH"))))}
        self._person = {**plain, **path, "RUNQ_HOME": os.path.join(folder, "home")}
        session = {"CLAUDECODE": "1", "CLAUDE_PROJECT_DIR": self._project, "CLAUDE_CODE_SESSION_ID": "demo"}
        self._client = {**self._person, **session}
        # A person's home may name another engine; the demo then shows that one.
        if "RUNQ_DATABASE_URL" in os.environ:
            self._person["RUNQ_DATABASE_URL"] = self._client["RUNQ_DATABASE_URL"] = os.environ["RUNQ_DATABASE_URL"]

    async def tell(self) -> None:
        """The whole story."""
        began = time.monotonic()
        self._hooks_queue()
        await self._first_session()
        await self._second_session()
        self._heading(f"Done in {time.monotonic() - began:.0f} s. Try it:")
        self._tell(f"{_as_called()} add -- echo hello")
        self._tell(f"{_as_called()} process-queue")

    # the steps

    def _hooks_queue(self) -> None:
        self._heading("1. No server runs. A client's hooks queue commands, in milliseconds, and go.")
        notes = [sys.executable, "-c", "import sys; print('captured', sys.argv[1])", "{tool_input.file_path}"]
        flaky = [sys.executable, "-c", "print(open('settings.txt').read())"]
        self._hook("PostToolUse", {"tool_input": {"file_path": "src/app.py"}}, *notes)
        self._hook("Stop", {"stop_hook_active": False}, *flaky, options=("--retries", "1", "--backoff-base", "1"))
        status = self._json("status")
        self._check(status["worker"]["state"] == "off", "a worker is up although nothing has booted one")
        self._tell(f"{status['counts']['available']} commands wait, worker: {status['worker']['state']}")

    async def _first_session(self) -> None:
        self._heading("2. A session starts. Its MCP server finds the backlog and boots a worker, only then.")
        async with self._session() as client:
            pids = await self._eventually("a worker is up", self._worker_pids)
            self._tell(f"worker process {pids[0]} was booted because of the backlog")
            job = await self._job_when(client, 1, "succeeded")
            self._tell(f"job 1 {job['state']}, exit code {job['exit_code']}: {_written(job)}")
            await self._see_it_fail(client)
            await self._replay(client)
            await self._kill_everything()

    async def _see_it_fail(self, client: Client) -> None:
        self._heading("3. A command fails, backs off, fails again: a dead letter.")
        job = await self._job_when(client, 2, "scheduled", "dead")
        self._tell(f"job 2 {job['state']}: {job.get('waiting_for') or job.get('error')}")
        job = await self._job_when(client, 2, "dead")
        self._tell(
            f"job 2 {job['state']} after {job['attempt']} attempts: {job['output_tail'].strip().splitlines()[-1]}"
        )

    async def _replay(self, client: Client) -> None:
        self._heading("4. The cause is mended; the agent replays it, a person approves: agents run what you allow.")
        self._write(os.path.join(self._project, "settings.txt"), "the settings are back")
        reply = await self._call(client, "dead_letter_retry", job_ids=[2])
        self._tell(f"agent: dead_letter_retry 2 -> {reply['jobs'][0]['state']}")
        self._check(reply["jobs"][0]["state"] == "held", "an agent's replay went past the rules")
        self._runq("approve", "2")
        self._tell("person: runq approve 2")
        job = await self._job_when(client, 2, "succeeded")
        self._tell(f"job 2 {job['state']}, exit code {job['exit_code']}: {_written(job)}")

    async def _kill_everything(self) -> None:
        self._heading("5. In the middle of a running command, server and worker are killed with SIGKILL.")
        go = os.path.join(self._folder, "go")
        runs = os.path.join(self._folder, "runs.txt")
        script = f"echo started >>{runs}; until [ -e {go} ]; do sleep 0.05; done; echo finished all the same; exit 7"
        self._runq("add", "--retries", "0", "--", "sh", "-c", script)
        await self._eventually("job 3 runs", lambda: os.path.exists(runs))
        killed = [*self._server_pids(), *self._worker_pids()]
        for pid in killed:
            os.kill(pid, signal.SIGKILL)
        self._tell(f"killed processes {', '.join(map(str, killed))}; the command does not notice")
        await self._eventually("the worker is gone", lambda: not self._worker_pids())
        self._write(go, "")

    async def _second_session(self) -> None:
        self._heading("6. The next session picks up the command's true end.")
        async with self._session() as client:
            job = await self._job_when(client, 3, "dead")
            self._tell(f"job 3 exit code {job['exit_code']}: {_written(job)}")
            self._check(job["exit_code"] == 7, "the true exit code was lost")
            times = self._lines(os.path.join(self._folder, "runs.txt"))
            self._check(times == 1, f"the command ran {times} times")
            self._tell("it ran once; with retries 0 its failure is a dead letter, not a second run")

    # what the steps are made of

    def _hook(self, event: str, payload: dict[str, Any], *template: str, options: Sequence[str] = ()) -> None:
        began = time.monotonic()
        text = json.dumps({"session_id": "demo", "cwd": self._project, "hook_event_name": event, **payload})
        self._run([*_runq(), "hook", *options, "--", *template], self._client, text)
        shown = " ".join(word if len(word) < 40 else "…" for word in template[1:] if word != "-c")
        self._tell(f"{event} hook: runq hook -- python {shown}  ({(time.monotonic() - began) * 1000:.0f} ms)")

    def _runq(self, *arguments: str) -> str:
        return self._run([*_runq(), *arguments], self._person, "")

    def _json(self, *arguments: str) -> Any:
        return json.loads(self._runq(*arguments, "--json"))

    def _run(self, command: list[str], env: dict[str, str], text: str) -> str:
        done = subprocess.run(
            command,
            env=env,
            input=text,
            capture_output=True,
            text=True,
            check=False,
            timeout=PATIENCE,
            cwd=self._project,
            start_new_session=True,  # Ctrl-C is for the demo alone
        )
        self._check(done.returncode == 0, f"`{' '.join(command[-3:])}` said: {done.stderr.strip()}")
        return done.stdout

    def _session(self) -> Client:
        from mcp import Client, StdioServerParameters

        arguments = ["-m", "mcp_server"]
        server = StdioServerParameters(command=sys.executable, args=arguments, env=self._client, cwd=self._project)
        return Client(server)

    async def _call(self, client: Client, tool: str, **arguments: Any) -> dict[str, Any]:
        result = await client.call_tool(tool, arguments)
        self._check(not result.is_error, f"the tool {tool} said: {result.content}")
        return result.structured_content or {}

    async def _job_when(self, client: Client, job_id: int, *states: str) -> dict[str, Any]:
        async def look() -> dict[str, Any] | None:
            job = await self._call(client, "status", job_id=job_id)
            return job if job["state"] in states else None

        return await self._eventually(f"job {job_id} is {' or '.join(states)}", look)

    async def _eventually(self, what: str, look: Callable[[], Any | Awaitable[Any]]) -> Any:
        """The first true answer; the demo has failed if there is none in time."""
        give_up = time.monotonic() + PATIENCE
        while time.monotonic() < give_up:
            answer = look()
            found = await answer if hasattr(answer, "__await__") else answer
            if found:
                return found
            await anyio.sleep(0.02)
        raise DemoFailed(f"the demo waited {PATIENCE:.0f} s in vain until {what}; `runq doctor` may tell why")

    def _write(self, path: str, text: str) -> None:
        with open(path, "w", encoding="utf-8") as file:
            file.write(text)

    def _lines(self, path: str) -> int:
        with open(path, encoding="utf-8") as file:
            return len(file.readlines())

    def _worker_pids(self) -> list[int]:
        return self._json("status")["worker"]["pids"]

    def _server_pids(self) -> list[int]:
        """The servers of this demo: children of this process that are not workers."""
        children = f"/proc/self/task/{os.getpid()}/children"
        if os.path.exists(children):
            with open(children, encoding="ascii") as file:
                return [int(pid) for pid in file.read().split()]
        listed = subprocess.run(["pgrep", "-P", str(os.getpid())], capture_output=True, text=True, check=False)
        return [int(pid) for pid in listed.stdout.split()]

    def clean_up(self) -> None:
        """Stop whatever the demo started, and remove its folder."""
        stop = [*_runq(), "work", "--stop", "--now"]
        subprocess.run(stop, env=self._person, capture_output=True, check=False, start_new_session=True)
        shutil.rmtree(self._folder, ignore_errors=True)

    def _heading(self, text: str) -> None:
        self._console.print(f"\n[bold]{escape(text)}[/bold]", soft_wrap=True)

    def _tell(self, text: str) -> None:
        self._console.print(f"   {escape(text)}", soft_wrap=True)

    def _check(self, true: bool, otherwise: str) -> None:
        if not true:
            raise DemoFailed(f"the demo failed: {otherwise}")


def _written(job: dict[str, Any]) -> str:
    """The end of a job's output, without the line before it that says to agents whose it is."""
    return job["output_tail"].partition("\n")[2].strip()


def _runq() -> list[str]:
    """This very runq, as it is run here."""
    return [sys.executable, "-m", "queue_core.launch"]


def _as_called() -> str:
    """How this very runq is typed: by its bare name only where the shell finds it so."""
    called = sys.argv[0]
    on_path = shutil.which("runq")
    if on_path and os.path.exists(called) and os.path.samefile(on_path, called):
        return "runq"
    return shlex.quote(called) if os.path.basename(called) == "runq" else f"{sys.executable} -m queue_core.launch"

"""The ways in: `runq add` one by one and from a file, `runq hook`, the tools of four MCP servers.

Each job carries its number, and each asker learns what became of it: accepted (exit 0, a reply), refused (any other
answer: then no job may have come of it), or unknown, since the process that was asked died: no job or one is right.
"""

import json
import os
import time
from collections.abc import Callable, Sequence
from random import Random
from typing import Any

from tests.crash.arming import armed
from tests.crash.frames import CLOSED, Server, reply_of
from tests.crash.tasks import Need, Task
from tests.crash.world import Process, World

SERVERS = 4
CALLS_AT_ONCE = 4  # of one server
LEAVING = ("spool write", "spool rename", "spool acknowledge")
TAKING = ("spool ingest before", "spool ingest after", "commit admit before", "commit admit after")
PAUSES = ("pause", "resume")


class Line:
    """One `runq` process, and the tasks that it was given."""

    def __init__(self, process: Process, tasks: list[Task], done: "Callable[[int, str, str], None]") -> None:
        self.process, self.tasks, self._done = process, tasks, done

    def look(self) -> bool:
        """Whether it still runs; what it said is taken when it does not."""
        if not self.process.over:
            return True
        popen = self.process.popen
        assert popen.stdout
        assert popen.stderr
        self._done(popen.returncode, popen.stdout.read().decode(), popen.stderr.read().decode())
        popen.stdout.close()
        popen.stderr.close()
        return False


class Clients:
    """Everybody who asks for jobs in one home, and what they were told."""

    def __init__(self, world: World, chance: Random, lasting: Sequence[int]) -> None:
        self._world, self._chance = world, chance
        self._lasting = lasting
        self.tasks: dict[int, Task] = {}
        self.lines: list[Line] = []
        self.servers: list[Server] = []
        self.cancelled: set[int] = set()  # ids that somebody wanted to cancel
        self.acknowledged: dict[int, float] = {}  # those of which an answer said that they are, and when it came
        self.replayed: dict[int, int] = {}  # ids, and how often somebody wanted to have them again
        self.surprises: list[str] = []  # answers that nobody should get
        self.calls = 0

    def look(self) -> None:
        """Take what was answered."""
        self.lines = [line for line in self.lines if line.look()]
        self.servers = [server for server in self.servers if server.look()]

    # asking

    def task(self) -> Task:
        """One more job, not yet asked for."""
        made = Task(len(self.tasks) + 1, self._chance, self._world.folder, self._lasting)
        self.tasks[made.number] = made
        return made

    def ask(self) -> None:
        """One more process that wants something."""
        ways = (self._add, self._file, self._hook, self._control)
        self._chance.choices(ways, (40, 12, 35, 13))[0]()

    def ask_hooks(self) -> None:
        """The write lock is held: two hooks that have to spool; one may die at it."""
        self._hook(armed="")
        self._hook(armed=f"{self._chance.choice(LEAVING)}=0.7=kill")

    def take_in(self) -> None:
        """The write lock is free again: somebody takes in what was spooled, and dies at it."""
        process = self._world.start("cli", ["status"], armed=f"{self._chance.choice(TAKING)}=0.7=kill")
        self.lines.append(Line(process, [], lambda _code, _out, _err: None))

    def ask_servers(self) -> None:
        """One more question to a server that is up, if there is one."""
        able = [one for one in self.servers if one.ready and not one.spoilt and one.waiting < CALLS_AT_ONCE]
        if able:
            self._call(self._chance.choice(able))

    def _armed(self, role: str) -> str:
        return armed(self._chance, role, self._world.points) if self._chance.random() < 0.4 else ""

    def boot_server(self) -> Server:
        server = Server(self._world, armed=self._armed("server"))
        self.servers.append(server)
        return server

    def _start(self, words: list[str], stdin: bytes | None, armed: str | None = None) -> Process:
        source = None
        if stdin is not None:
            source, into = os.pipe()
            os.write(into, stdin)  # fits into the pipe
            os.close(into)
        points = self._armed("cli") if armed is None else armed
        process = self._world.start("cli", words, armed=points, stdin=source)
        if source is not None:
            os.close(source)
        return process

    def _add(self) -> None:
        task = self.task()
        options: list[str] = []
        waited_for = self._some_id()
        owner = next((one for one in self.tasks.values() if one.id == waited_for and not one.unique), None)
        if waited_for and owner and self._chance.random() < 0.1:
            options, task.need = ["--after-any", str(waited_for)], Need(owner.number, success=False)
        self._submit(["add", *options, *task.words], [task])

    def _file(self) -> None:
        """Several at once; some wait for the one before."""
        tasks = [self.task() for _ in range(self._chance.randrange(2, 6))]
        lines: list[str] = []
        for before, task in zip([None, *tasks], tasks, strict=False):
            fields = {**task.fields, "ref": f"r{task.number}"}
            if before and not before.unique and self._chance.random() < 0.4:  # of a key there may be another one
                task.need = Need(before.number, success=self._chance.random() < 0.5)
                fields["after" if task.need.success else "after_any"] = [f"r{before.number}"]
            lines.append(json.dumps(fields))
        self._submit(["add", "--file", "-"], tasks, stdin="\n".join(lines).encode())

    def _hook(self, armed: str | None = None) -> None:
        task = self.task()
        payload = {"session_id": "storm", "cwd": str(self._world.project), "number": task.number}
        self._submit(["hook", *task.words], [task], stdin=json.dumps(payload).encode(), armed=armed)

    def _submit(
        self, words: list[str], tasks: list[Task], stdin: bytes | None = None, armed: str | None = None
    ) -> None:
        def done(code: int, out: str, err: str) -> None:
            if code == 0:
                ids = [int(line) for line in out.split() if line.isdigit()]
                for place, task in enumerate(tasks):
                    task.accept(ids[place] if len(ids) == len(tasks) else None)
            elif code > 0:
                for task in tasks:
                    task.refuse(err)
                self._mind(err)

        self.lines.append(Line(self._start(words, stdin, armed), tasks, done))

    def _mind(self, said: str) -> None:
        if "Traceback" in said or not said.strip():
            self.surprises.append(said[-2000:])

    def _some_id(self) -> int | None:
        known = [task.id for task in self.tasks.values() if task.id is not None]
        return self._chance.choice(known[-30:]) if known else None

    def _control(self) -> None:
        """Cancel, replay, pause, or just look."""
        what = self._chance.choice(("cancel", "retry", "pause", "resume", "status", "list", "health"))
        job_id = self._some_id()
        words = [what, "--json"]
        if what in PAUSES:
            words = [what, "two"]
        elif what in ("cancel", "retry"):
            if job_id is None:
                return
            words = ["cancel", "--json", str(job_id)] if what == "cancel" else ["dead", "retry", str(job_id)]
            self._wanted(what, job_id)

        def done(code: int, out: str, err: str) -> None:
            if code == 0 and what == "cancel":
                self._acknowledge(json.loads(out))
            if code > 0 and (err.strip() or what not in ("health",)):
                self._mind(err)

        self.lines.append(Line(self._start(words, None), [], done))

    def _wanted(self, what: str, job_id: int) -> None:
        if what == "cancel":
            self.cancelled.add(job_id)
        else:
            self.replayed[job_id] = self.replayed.get(job_id, 0) + 1

    def _acknowledge(self, said: dict[str, Any]) -> None:
        for job in said["jobs"]:
            if job["state"] == "cancelled":
                self.acknowledged.setdefault(job["id"], time.monotonic())

    def _call(self, server: Server) -> None:
        self.calls += 1
        what = self._chance.choices(("enqueue", "run", "look", "cancel", "retry"), (50, 20, 20, 5, 5))[0]
        job_id = self._some_id()
        if what in ("enqueue", "run"):
            self._enqueue(server, what)
        elif what == "look" or job_id is None:
            server.call(self._chance.choice(("status", "health", "list_jobs")), {}, self._looked)
        else:
            tool, answered = ("cancel", self._stopped) if what == "cancel" else ("dead_letter_retry", self._looked)
            self._wanted(what, job_id)
            server.call(tool, {"job_ids": [job_id]}, answered)

    def _enqueue(self, server: Server, tool: str) -> None:
        task = self.task()
        fields: dict[str, Any] = task.fields
        if tool == "run":
            kept = ("argv", "retries", "queue", "timeout", "locks")
            fields = {name: value for name, value in fields.items() if name in kept}
            task.unique = None
            task.options = {name: value for name, value in task.options.items() if name in kept}

        def answered(frame: dict[str, Any] | None) -> None:
            if frame is None:
                return
            reply, why = reply_of(frame)
            if reply is not None:
                task.accept(reply["id"])
            elif why != CLOSED:
                task.refuse(why)

        server.call(tool, fields, answered)

    def _stopped(self, frame: dict[str, Any] | None) -> None:
        reply = reply_of(frame)[0] if frame is not None else None
        if reply is not None:
            self._acknowledge(reply)

    def _looked(self, _frame: dict[str, Any] | None) -> None:
        """Whatever it says: the answer itself is what counts."""

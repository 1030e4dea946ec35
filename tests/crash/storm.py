"""A storm over one home: everybody works and dies for a while, then it is calm, and everything is asked and judged."""

import faulthandler
import json
import time
from collections import Counter
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from random import Random
from typing import Any, NamedTuple

from queue_core.keeper import records
from tests.crash.arming import armed
from tests.crash.clients import Clients
from tests.crash.frames import Server
from tests.crash.history import History
from tests.crash.job import payload
from tests.crash.nemeses import Busy, Frames, Hunter, Trouble
from tests.crash.tasks import LASTING, number_of
from tests.crash.witness import ENDED, Finding, Told, judge
from tests.crash.world import World

STUCK = 40.0  # seconds after which a turn that does not end says where it is
TICK = 0.004  # seconds between two looks at everything
CALM = 120.0  # seconds in which an unharmed worker has to finish everything
BACKLOG = 60  # jobs that nobody has begun, beyond which nobody asks for more
AHEAD_OF_ALL = 4 * 3600.0  # seconds: later than anything that was put off under a clock that was ahead
ASKED_AT_ONCE = 16
ARMED = 0.6  # share of the workers that may die at points


class Scenario(NamedTuple):
    """Who is killed, in which shares (per cent), and what else befalls the home."""

    name: str
    part: int  # of all kills, per cent
    shares: Mapping[str, int]
    keepers: bool = False  # whether a worker's keepers may die at their points
    lasting: Sequence[int] = LASTING  # milliseconds that jobs take, chosen among these
    trouble: bool = False
    servers: int = 4
    workers: int = 3


SCENARIOS = {
    one.name: one
    for one in (
        Scenario(
            "servers and workers",
            30,
            {"cli": 50, "worker": 35, "server": 15},
            lasting=(0, 20, 150, 300, 1500, 3000),  # some outlive their worker until the next one is there
        ),
        Scenario("keepers too", 22, {"cli": 33, "worker": 30, "keeper": 27, "server": 10}, keepers=True),
        Scenario(
            "commands too",
            33,
            {"cli": 18, "worker": 16, "server": 6, "keeper": 8, "command": 52},
            keepers=True,
            lasting=(100, 300, 600, 1000),  # long enough to be hit
        ),
        Scenario("store", 15, {"cli": 50, "worker": 35, "server": 15}, trouble=True),
    )
}


class Result(NamedTuple):
    """What a storm has tried, and what it has found."""

    scenario: str
    seed: int
    kills: Counter[str]
    stops: Counter[str]
    points: Counter[str]
    troubles: Counter[str]
    frames: Counter[str]
    answers: Counter[str]  # to those who asked for jobs
    jobs: int
    runs: int
    verdicts: Counter[str]  # on claims of dead workers
    outcomes: Counter[str]  # of attempts, as the queue has them
    outputs: int
    seconds: float
    findings: list[Finding]


class Storm:
    """One scenario in one home."""

    def __init__(self, scenario: Scenario, folder: Path, seed: int, *, mounted: bool = False, plant: str = "") -> None:
        self._scenario, self._seed = scenario, seed
        self.world = World(folder, chance=self._chance("world"), plant=plant)
        self.clients = Clients(self.world, self._chance("clients"), scenario.lasting)
        self._hunter = Hunter(self.world, self.clients, self._chance("hunter"), scenario.shares)
        self._frames = Frames(self.world, self.clients, self._chance("frames"))
        self._trouble = Trouble(self.world, self.clients, self._chance("trouble"), mounted=mounted)
        self._busy = Busy(self.world, self._chance("busy"))
        self._pace = self._chance("pace")
        self._next: dict[str, float] = {}
        self._findings: list[Finding] = []

    def _chance(self, whose: str) -> Random:
        return Random(f"{self._seed} {self._scenario.name} {whose}")

    def run(self, *, kills: int, seconds: float) -> Result:
        """Kill so many, or for so long; then judge."""
        began = time.monotonic()
        self.world.configure()
        while self.world.kills.total() < kills and time.monotonic() - began < seconds:
            faulthandler.dump_traceback_later(STUCK)
            self._turn()
            time.sleep(TICK)
        faulthandler.cancel_dump_traceback_later()
        self._calm_down()
        history, jobs, outputs = self._ask_for_everything()
        world, clients = self.world, self.clients
        return Result(
            scenario=self._scenario.name,
            seed=self._seed,
            kills=world.kills,
            stops=world.stops,
            points=world.points,
            troubles=self._trouble.tried,
            frames=self._frames.tried,
            answers=Counter(task.answer for task in clients.tasks.values()),
            jobs=len(jobs),
            runs=len(history.runs),
            verdicts=history.verdicts,
            outcomes=Counter(attempt["outcome"] for job in jobs for attempt in job["attempts"]),
            outputs=outputs,
            seconds=time.monotonic() - began,
            findings=[
                *self._findings,
                *(Finding(*found) for found in self._trouble.findings),
                *(Finding("truth", f"an answer that nobody should get: {text}") for text in clients.surprises),
            ],
        )

    # the storm

    def _turn(self) -> None:
        self.world.look()
        self.clients.look()
        self._keep_up("worker", self._scenario.workers)
        self._keep_up("server", self._scenario.servers)
        if self._due("line", 0.05, 0.2) and not self._trouble.no_clients and self._backlog() < BACKLOG:
            self.clients.ask()
        if self._due("call", 0.02, 0.1) and not self._trouble.no_clients and self._backlog() < BACKLOG:
            self.clients.ask_servers()
        if self._due("hunt", 0.06, 0.25):
            self._hunter.hunt()
        if self._due("frame", 0.5, 1.5):
            self._frames.spoil()
        if self._due("busy", 1.5, 4):
            self._keep_busy()
        if self._scenario.trouble and not self._busy.held:
            self._trouble.step()
        if self._busy.held:
            self._busy.end()
            if not self._busy.held and not self._trouble.no_clients:
                self.clients.take_in()

    def _keep_busy(self) -> None:
        """What hooks want meanwhile goes by way of the spool."""
        if not self._busy.held:
            self._busy.begin()
            if self._busy.held and not self._trouble.no_clients:
                self.clients.ask_hooks()

    def _due(self, what: str, least: float, most: float) -> bool:
        """Whether the time for it has come; the next is a while later."""
        now = time.monotonic()
        if now < self._next.setdefault(what, now + self._pace.uniform(least, most)):
            return False
        del self._next[what]
        return True

    def _keep_up(self, role: str, count: int) -> None:
        up = self.world.alive(role)
        if len(up) >= count or not self._due(f"{role} start", 0.05, 0.4):
            return
        if role == "server":
            process = self.clients.boot_server().process
            process.until = process.born + self._pace.choice((0.3, 1, 2, 4, 8))
        else:
            process = self.world.start("worker", ["work"], armed=self._worker_armed())
            process.until = process.born + self._pace.choice((0.1, 0.4, 0.7, 1, 1.5, 3))

    def _worker_armed(self) -> str:
        if self._pace.random() >= ARMED:
            return ""
        keepers = self._scenario.keepers and not self._hunter.had_its_share_at_points("keeper")
        return armed(self._pace, "worker", self.world.points, keepers=keepers)

    def _backlog(self) -> int:
        tasks, begun = self.clients.tasks, self.world.begun
        return sum(task.answer == "accepted" and number not in begun for number, task in tasks.items())

    # the calm

    def _calm_down(self) -> None:
        """Nobody harms anybody any more; an unharmed worker finishes everything."""
        world, clients = self.world, self.clients
        self._busy.end(at_once=True)
        self._trouble.end()
        if self._trouble.tried["clock"]:
            world.set_clock(AHEAD_OF_ALL)
        world.go_on()
        self._wait(lambda: not clients.lines, 60)
        self._wait(lambda: not any(one.waiting for one in clients.servers if one.ready and not one.spoilt), 4)
        if not self._wait(lambda: not self._frames.unanswered(), 60):
            self._findings.append(
                Finding("frames", f"{self._frames.unanswered()} servers beside a spoilt one are silent")
            )
        for one in world.alive("worker"):
            world.kill(one.pid, "worker")
        for one in world.alive("server"):
            world.kill(one.pid, "server")
        self._wait(lambda: not clients.servers, 60)
        self._runq("resume")
        world.start("worker", ["work"])
        self._judge = Server(world)
        clients.servers.append(self._judge)
        self._wait(lambda: self._judge.ready, 60)
        self._wait(self._all_ended, CALM)

    def _wait(self, over: Any, seconds: float) -> bool:
        give_up = time.monotonic() + seconds
        while not (done := over()) and time.monotonic() < give_up:
            self.world.look()
            self.clients.look()
            time.sleep(TICK)
        return done

    def _all_ended(self) -> bool:
        """What is blocked when nothing else is left waits for a dead one; the witness looks into it."""
        time.sleep(0.1)
        status = self._read("queue://status")
        over = {*ENDED, "blocked"}
        return status is not None and not any(count for state, count in status["counts"].items() if state not in over)

    def _read(self, *uris: str) -> Any:
        """What resources of the unharmed server say; of one just that."""
        found: dict[str, Any] = {}
        left = list(reversed(uris))

        def ask() -> None:
            uri = left.pop()

            def answered(frame: dict[str, Any] | None) -> None:
                if frame is None or "result" not in frame:
                    found[uri] = None
                else:
                    found[uri] = json.loads(frame["result"]["contents"][0]["text"])

            self._judge.ask("resources/read", {"uri": uri}, answered)

        def all_there() -> bool:
            while left and self._judge.waiting < ASKED_AT_ONCE:
                ask()
            return len(found) == len(uris)

        self._wait(all_there, 60)
        return found.get(uris[0]) if len(uris) == 1 else [found.get(uri) for uri in uris]

    def _runq(self, *words: str) -> str:
        said: list[str] = []
        process = self.world.start("cli", words)
        out, err = process.popen.communicate(timeout=120)
        if process.popen.returncode:
            self._findings.append(Finding("truth", f"runq {words} failed in the calm: {err.decode()}"))
        said.append(out.decode(errors="replace"))
        return said[0]

    # the judgement

    def _ask_for_everything(self) -> tuple[History, list[dict[str, Any]], int]:
        world, clients = self.world, self.clients
        listed = json.loads(self._runq("list", "--json", "--limit", "100000"))["jobs"]
        jobs = [
            job for job in self._read(*(f"queue://jobs/{one['id']}" for one in listed), "queue://status")[:-1] if job
        ]
        if len(jobs) != len(listed):
            self._findings.append(Finding("truth", f"{len(listed)} jobs are listed, {len(jobs)} of them can be read"))
        history = History(world.events())
        told = Told(
            clients.tasks,
            cancelled=clients.cancelled,
            acknowledged=clients.acknowledged,
            replayed=clients.replayed,
            keeper_of=self._keeper_of,
        )
        for job in jobs:
            job.setdefault("attempts", [])
        self._findings += judge(history, told, jobs, self._kept)
        return history, jobs, self._compare_outputs(history, jobs)

    def _keeper_of(self, claim: tuple[int, int]) -> str | None:
        found = records.read(f"{self.world.home}/runs/{claim[0]}/{claim[1]}")
        return found.start.keeper if found and found.start else None

    def _kept(self, claim: tuple[int, int]) -> bytes | None:
        with suppress(FileNotFoundError):
            return (self.world.home / "runs" / str(claim[0]) / str(claim[1]) / "output").read_bytes()
        return None

    def _compare_outputs(self, history: History, jobs: Sequence[dict[str, Any]]) -> int:
        """What `runq output` prints, for some: all bytes that the latest run wrote."""
        latest = {run.job: run for run in history.runs if run.code is not None}
        some = [job for job in jobs if job["state"] == "succeeded" and job["id"] in latest]
        some = self._pace.sample(some, min(10, len(some)))
        for job in some:
            run = latest[job["id"]]
            size = self.clients.tasks[number_of(job["argv"]) or 0].size
            if self._runq("output", str(job["id"])).encode() != payload(run.number, run.claim, size)[: run.written]:
                self._findings.append(Finding("truth", f"`runq output {job['id']}` is not what {run} wrote"))
        return len(some)

    def close(self) -> None:
        """End every process of this home, whatever happened."""
        self._trouble.end()
        self.world.close()
        for server in self.clients.servers:
            server.close()

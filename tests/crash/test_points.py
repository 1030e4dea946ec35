"""Every named point lies on a way that a real process takes: one that was renamed away would test nothing."""

import subprocess
from collections.abc import Iterator
from pathlib import Path
from random import Random

import pytest

from tests.crash.frames import Server
from tests.crash.nemeses import WriteLock
from tests.crash.points import ROLES
from tests.crash.world import Process, World
from tests.helpers import short_folder, wait_until

PATIENCE = 60
EVERYWHERE = ",".join(f"{name}=1=note" for names in ROLES.values() for name in names)


class Scene:
    """A home in which every point is noted by whoever passes it for the first time."""

    def __init__(self, world: World) -> None:
        self.world = world

    def runq(self, *words: str, stdin: int | None = None) -> str:
        process = self.world.start("cli", words, armed=EVERYWHERE, stdin=stdin)
        out, err = process.popen.communicate(timeout=PATIENCE)
        assert process.popen.returncode == 0, (words, err)
        return out.decode()

    def add(self, *command: str, options: tuple[str, ...] = ()) -> str:
        return self.runq("add", *options, "--", *command).strip()

    def worker(self, verb: str = "work") -> Process:
        return self.world.start("worker", [verb], armed=EVERYWHERE)

    def wait_for_file(self, name: str) -> None:
        wait_until((self.world.project / name).exists, f"{name} is there", PATIENCE)

    def passed(self) -> dict[str, set[str]]:
        found: dict[str, set[str]] = {role: set() for role in ROLES}
        for line in self.world.events():
            what, *rest = line.split(maxsplit=5)
            if what == "point":
                found[rest[1]].add(rest[4])
        return found


@pytest.fixture
def scene() -> Iterator[Scene]:
    with short_folder() as folder:
        world = World(folder, chance=Random(1))
        world.configure()
        yield Scene(world)
        world.close()


def test_every_point_is_passed(scene: Scene) -> None:
    failing = scene.add("sh", "-c", "exit 3", options=("--retries", "0"))
    scene.runq("cancel", scene.add("true"))
    spool_a_job(scene)
    scene.runq("status")
    spool_a_job(scene)
    scene.worker("process-queue").popen.wait(PATIENCE)  # takes it in, and hears how its commands end
    die_while_a_command_ends(scene, "looked-at")
    scene.runq("status")
    scene.runq("dead", "retry", failing)
    die_while_a_command_ends(scene, "recovered")  # by the next worker
    take_over(scene)
    spool_a_job(scene)
    ask_a_server(scene)
    missing = {role: set(names) - scene.passed()[role] for role, names in ROLES.items()}
    assert missing == {role: set() for role in ROLES}


def spool_a_job(scene: Scene) -> None:
    with WriteLock(scene.world):
        scene.runq("hook", "--", "true", stdin=subprocess.DEVNULL)


def die_while_a_command_ends(scene: Scene, name: str) -> None:
    go_on = die_while_a_command_runs(scene, name)
    go_on.touch()
    wait_until(lambda: not scene.world.everybody(), "command and keeper have ended", PATIENCE)


def die_while_a_command_runs(scene: Scene, name: str) -> Path:
    """Leave a command without its worker; the file that it waits for."""
    scene.add("sh", "-c", f"touch {name}-begun; until [ -e {name} ]; do sleep 0.02; done")
    worker = scene.worker()
    scene.wait_for_file(f"{name}-begun")
    worker.popen.kill()
    worker.popen.wait()
    return scene.world.project / name


def take_over(scene: Scene) -> None:
    """The next worker adopts what still runs, and leaves when nothing is left."""
    go_on = die_while_a_command_runs(scene, "taken-over")
    heir = scene.worker("process-queue")
    wait_until(lambda: "commit take_over after" in scene.passed()["worker"], "it is taken over", PATIENCE)
    go_on.touch()
    heir.popen.wait(PATIENCE)


def ask_a_server(scene: Scene) -> None:
    server = Server(scene.world, armed=EVERYWHERE)
    server.call("enqueue", {"argv": ["true"]}, lambda _: None)

    def noted() -> bool:
        server.look()
        return {"commit _run_all after", "spool ingest after"} <= scene.passed()["server"]

    wait_until(noted, "the server has stored a job, and taken in another", PATIENCE)
    server.close()

"""A storm reaches what it is there for whatever the machine: who is armed, who is spared, which storms go on."""

from collections import Counter
from collections.abc import Iterator
from random import Random

import pytest

from tests.crash import nemeses, points
from tests.crash.__main__ import able_to_reach
from tests.crash.arming import armed
from tests.crash.clients import Clients
from tests.crash.nemeses import Hunter
from tests.crash.reached import Missing
from tests.crash.storm import SCENARIOS
from tests.crash.world import World
from tests.helpers import PATIENCE, short_folder, wait_until

LAGGING = ("spool", "settle", "commit", "spawn request")


def groups_armed(hit: dict[str, int]) -> Counter[str]:
    """Of many workers, how often points of each group."""
    chance = Random(1)
    found: Counter[str] = Counter()
    for _ in range(300):
        found.update(points.group_of(item.split("=")[0]) for item in armed(chance, "worker", hit).split(","))
    return found


@pytest.mark.parametrize("group", LAGGING)
def test_a_group_that_lags_is_armed_the_most(group: str) -> None:
    hit = {name: 4 for name in points.ROLES["worker"] if points.group_of(name) != group}
    found = groups_armed(hit)
    assert found[group] > max(times for other, times in found.items() if other != group)


def chance_of_a_keeper(hit: dict[str, int]) -> float:
    item = armed(Random(1), "worker", hit, keepers=True).split(",")[-1]
    name, chance, _ = item.split("=")
    assert name in points.ROLES["keeper"]
    return float(chance)


def test_the_chance_at_keepers_points_rises_while_theirs_lag() -> None:
    others = {"commit admit before": 20, "recover before": 20, "spool write": 20, "spawn request before": 20}
    chances = [chance_of_a_keeper({**others, "record end before": times}) for times in (0, 10, 20, 30)]
    assert chances[0] > chances[1] > chances[2] == chances[3] > 0


@pytest.fixture
def world() -> Iterator[World]:
    with short_folder() as folder:
        made = World(folder, chance=Random(1))
        made.configure()
        yield made
        made.close()


def hit(world: World) -> list[int]:
    """Whom the harness has killed or stopped, in order."""
    lines = (line.split() for line in world.events())
    return [int(line[2]) for line in lines if line[0] in ("kill", "stop")]


def worker(world: World, armed: str = "") -> int:
    """The pid of one that can be hit."""
    process = world.start("worker", ["work"], armed=armed)
    wait_until(lambda: world.owns(process.pid), "it can be told whose it is")
    return process.pid


def test_who_may_die_at_a_point_is_spared_for_a_while_when_too_few_have(
    world: World, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(nemeses, "IMPATIENT", 1000.0)
    world.kills["worker"] = 10  # none of them at a point
    hunter = Hunter(world, Clients(world, Random(1), (0,)), Random(1), {"worker": 100})
    armed_one, other = worker(world, "recover after=0=kill"), worker(world)
    for _ in range(20):
        hunter.hunt()
    assert set(hit(world)) == {other}
    monkeypatch.setattr(nemeses, "IMPATIENT", 0.0)

    def is_hit() -> bool:
        hunter.hunt()
        return armed_one in hit(world)

    wait_until(is_hit, "the armed one is hit as well")


def test_nobody_is_spared_when_enough_have_died_at_points(world: World) -> None:
    world.kills["worker"] = world.killed_at_points["worker"] = 10
    hunter = Hunter(world, Clients(world, Random(1), (0,)), Random(1), {"worker": 100})
    armed_one = worker(world, "recover after=0=kill")
    hunter.hunt()
    assert hit(world) == [armed_one]


@pytest.mark.parametrize(("name", "spared"), [("record end before", True), ("request sending before", False)])
def test_a_keeper_is_told_from_its_command_line(world: World, name: str, spared: bool) -> None:
    world.start("worker", ["work"], armed=f"{name}=0=kill")
    adding = world.start("cli", ["add", "--", "sleep", "60"]).popen
    adding.communicate(timeout=PATIENCE)
    assert adding.returncode == 0

    def keepers() -> list[int]:
        world.look(anew=True)
        return list(world.keepers)

    (keeper,) = wait_until(keepers, "a keeper is there")
    assert world.may_die_at_a_point(keeper) is spared


def test_what_only_keepers_reach_is_looked_for_where_they_die() -> None:
    names = list(SCENARIOS)
    by_keepers, anywhere = Missing("one", by_keepers=True), Missing("two")
    assert able_to_reach([by_keepers], names) == ["keepers too", "commands too"]
    assert able_to_reach([by_keepers, anywhere], names) == ["servers and workers", "keepers too", "commands too"]
    assert able_to_reach([anywhere], ["store"]) == ["store"]
    assert able_to_reach([], names) == able_to_reach([by_keepers], ["store"]) == []

"""Who of a storm may die at which points: rather at those of the group that the storm has hit least so far.

So what a storm reaches depends less on chance, and on how fast the machine is.
"""

from collections import Counter
from collections.abc import Mapping
from random import Random

from tests.crash import points
from tests.crash.reached import hits_of_groups

FAVOURED = ("spool", points.OF_KEEPERS)  # twice as likely as the others: few processes pass their points
FEW = 2  # hits: a group that was hit so often is chosen half as often as one that never was
KEEPERS = (0.1, 0.5)  # chances at a keeper's point: as many hits as the other groups have, and none at all


def armed(chance: Random, role: str, hit: Mapping[str, int], *, keepers: bool = False) -> str:
    """Some points at which a process of this role, and of its keepers, may die or stop; `hit`: how often each was."""
    groups = hits_of_groups(hit)
    names = list(dict.fromkeys(_point_of(role, groups, chance) for _ in range(3)))
    likely = [chance.choice((0.2, 0.5, 1)) for _ in names]
    if keepers:  # one that dies is followed by another of the same worker's
        names.append(_point_of("keeper", groups, chance))
        likely.append(_keepers_chance(groups))
    actions = chance.choices(("kill", "stop"), (5, 1), k=len(names))
    return ",".join(map("=".join, zip(names, map(str, likely), actions, strict=True)))


def _point_of(role: str, hit: Counter[str], chance: Random) -> str:
    """Any group first: there are few points at the spool, and few processes pass them."""
    groups: dict[str, list[str]] = {}
    for name in points.ROLES[role]:
        groups.setdefault(points.group_of(name), []).append(name)
    weights = [(1 + (group in FAVOURED)) / (FEW + hit[group]) for group in groups]
    return chance.choice(chance.choices(list(groups.values()), weights)[0])


def _keepers_chance(hit: Counter[str]) -> float:
    """The more their own points lag behind the others, the higher: keepers are few, and pass each point often."""
    others = [hit[group] for group in points.GROUPS if group != points.OF_KEEPERS]
    lag = 1 - min(1.0, hit[points.OF_KEEPERS] * len(others) / max(1, sum(others)))
    least, most = KEEPERS
    return round(least + lag * (most - least), 2)

"""What a run of storms has reached, summed over its processes: one that reaches too little has proved nothing."""

import json
import os
from collections import Counter
from collections.abc import Iterable, Mapping
from pathlib import Path
from typing import NamedTuple

from tests.crash.points import GROUPS, OF_KEEPERS, group_of

FULL = 1000  # kills from which on a run has to reach everything
OFTEN = 20  # times that a full run has to pass points of each group
FILE = "CRASH_REACHED"


class Reached(NamedTuple):
    """Of one storm, or of several."""

    kills: Counter[str]  # by role
    groups: Counter[str]  # of points that were hit
    verdicts: Counter[str]  # claims
    after_keepers: Counter[str]  # those verdicts where keepers' points are killed at, too
    keepers: bool  # whether there was such a storm


class Missing(NamedTuple):
    """Something that was not reached, in words."""

    why: str
    by_keepers: bool = False  # only where keepers' points are killed at is it to be had


def reached(kills: Counter[str], points: Counter[str], verdicts: Counter[str], *, keepers: bool) -> Reached:
    """What one storm has reached."""
    return Reached(kills, hits_of_groups(points), verdicts, verdicts if keepers else Counter(), keepers)


def hits_of_groups(hit: Mapping[str, int]) -> Counter[str]:
    """How often points of each group were hit, by how often each point was."""
    groups: Counter[str] = Counter()
    for name, times in hit.items():
        groups[group_of(name)] += times
    return groups


def note(one: Reached) -> None:
    """Tell the process that has started this one, if it wants to know."""
    if path := os.environ.get(FILE):
        with Path(path).open("a") as file:
            file.write(json.dumps(one) + "\n")


def total(lines: Iterable[str]) -> Reached:
    """The sum of what was noted."""
    summed = Reached(Counter(), Counter(), Counter(), Counter(), keepers=False)
    for line in lines:
        *counts, keepers = json.loads(line)
        for counter, more in zip(
            (summed.kills, summed.groups, summed.verdicts, summed.after_keepers), counts, strict=True
        ):
            counter.update(more)
        summed = summed._replace(keepers=summed.keepers or keepers)
    return summed


def missing(one: Reached) -> list[Missing]:
    """What a full run has not reached; a smaller one need not."""
    if one.kills.total() < FULL:
        return []
    found = [
        Missing(f"the verdict {what} was never reached") for what in ("ask_keeper", "settle") if not one.verdicts[what]
    ]
    if one.keepers and not (one.after_keepers["alone"] or one.after_keepers["lost"]):
        found.append(Missing("keepers died, and neither alone nor lost was ever reached", by_keepers=True))
    for group in GROUPS:
        if (times := one.groups[group]) < OFTEN:
            why = f"points of the group {group!r} were hit {times} times only, not {OFTEN}"
            found.append(Missing(why, by_keepers=group == OF_KEEPERS))
    return found

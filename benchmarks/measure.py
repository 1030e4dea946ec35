"""Rounds that alternate, and what is made of them: medians, ratios, percentiles."""

from __future__ import annotations

import math
import statistics
import subprocess
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from benchmarks.ground import Ground
from benchmarks.results import Row


class NotHere(Exception):
    """A peer cannot be measured on this machine; the text says why."""


@dataclass
class How:
    """How much is measured, and where."""

    ground: Ground
    quick: bool = False
    jobs: int = 3000  # short commands that are drained

    def rounds(self, usual: int) -> int:
        """How many rounds, where so many are usual."""
        return max(2, usual // 5) if self.quick else usual

    def count(self, usual: int) -> int:
        """How many of something, where so many are usual."""
        return max(1, usual // 10) if self.quick else usual


@dataclass
class Contestant:
    """Who takes part: `run` does it once and gives the figure, or raises NotHere."""

    name: str
    durability: str
    run: Callable[[], float]
    more: dict[str, str] = field(default_factory=dict)


def alternate(
    contestants: Sequence[Contestant], rounds: int, *, unit: str, reference: str, warm_up: bool = True
) -> list[Row]:
    """All of them in turn, again and again, so that the machine's moods hit all alike.

    Who fails is left out from then on, and its row says why: the others go on.
    """
    missing: dict[str, str] = {}
    found: dict[str, list[float]] = {one.name: [] for one in contestants}
    for number in range(-1 if warm_up else 0, rounds):
        for one in contestants:
            if one.name in missing:
                continue
            try:
                value = one.run()
            except Exception as error:  # whatever it is: it is this row's alone
                missing[one.name] = why(error)
                tell(f"  {one.name}: not here: {missing[one.name]}")
                continue
            if number >= 0:
                found[one.name].append(value)
    base = found.get(reference, [])
    return [_row(one, found[one.name], base, unit, missing.get(one.name, "")) for one in contestants]


def _row(one: Contestant, values: Sequence[float], base: Sequence[float], unit: str, missing: str) -> Row:
    if missing or not values:
        return Row(one.name, one.durability, unit, more=one.more, missing=missing or "nothing was measured")
    return Row(
        one.name,
        one.durability,
        unit,
        median=statistics.median(values),
        ratio=ratio(values, base),
        low=min(values),
        high=max(values),
        more=one.more,
        rounds=list(values),
    )


def ratio(values: Sequence[float], base: Sequence[float]) -> float | None:
    """The median of the ratios round by round: what slowed a whole round down counts for nothing."""
    pairs = [one / other for one, other in zip(values, base, strict=False) if other]
    return statistics.median(pairs) if pairs else None


def percentile(values: Sequence[float], share: float) -> float:
    """The smallest value that at least this share (0 to 1) of them do not exceed."""
    ordered = sorted(values)
    return ordered[max(0, math.ceil(share * len(ordered)) - 1)]


def distribution(values: Sequence[float]) -> list[tuple[float, float]]:
    """Percentiles for a plot: (per cent, value), close together where it gets interesting."""
    shares = [*range(0, 100, 5), 96, 97, 98, 99, 99.5, 100]
    return [(share, percentile(values, share / 100)) for share in shares]


def why(error: BaseException) -> str:
    """One line about what went wrong."""
    if isinstance(error, subprocess.CalledProcessError):
        said = (error.stderr or error.stdout or b"") if isinstance(error.stderr or error.stdout, bytes) else b""
        last = said.decode(errors="replace").strip().rpartition("\n")[2]
        return f"{error.cmd[0].rpartition('/')[2]} failed with status {error.returncode}: {last}"[:200]
    if isinstance(error, subprocess.TimeoutExpired):
        return f"{error.cmd[0].rpartition('/')[2]} took longer than {error.timeout:g} s"
    return str(error).strip()[:200] or type(error).__name__


def tell(text: str) -> None:
    """Say how it goes, apart from the results."""
    print(text, file=sys.stderr, flush=True)

"""What a benchmark finds: rows, targets and curves, as values that go into one JSON file and come back from it."""

from __future__ import annotations

from dataclasses import asdict, dataclass, field
from typing import Any


@dataclass
class Row:
    """One contestant: the median of its rounds, and the median of its ratios to the reference, round by round."""

    name: str
    durability: str  # what has survived when it answers, in words
    unit: str = ""
    median: float | None = None
    ratio: float | None = None
    low: float | None = None  # the smallest and the largest round
    high: float | None = None
    more: dict[str, str] = field(default_factory=dict)  # further columns, already in words
    rounds: list[float] = field(default_factory=list)
    missing: str = ""  # why it is not here


@dataclass
class Target:
    """What was set as a goal, what was measured, and whether that is enough."""

    what: str
    limit: float
    measured: float | None
    unit: str
    at_most: bool = True
    note: str = ""

    @property
    def met(self) -> bool:
        """False, too, if it could not be measured."""
        if self.measured is None:
            return False
        return self.measured <= self.limit if self.at_most else self.measured >= self.limit


@dataclass
class Curve:
    """Points of one or several lines, for a plot."""

    title: str
    across: str
    up: str
    lines: dict[str, list[tuple[float, float]]]
    log_across: bool = False
    log_up: bool = False


@dataclass
class Result:
    """One benchmark."""

    title: str
    says: str  # what was measured and how, for the reader of the table
    reference: str  # the row that ratios are to
    rows: list[Row] = field(default_factory=list)
    targets: list[Target] = field(default_factory=list)
    curves: list[Curve] = field(default_factory=list)
    measured: dict[str, Any] = field(default_factory=dict)  # when, at what load, which commit

    def row(self, name: str) -> Row | None:
        """The row of this name, if it was measured."""
        return next((row for row in self.rows if row.name == name and row.median is not None), None)


def to_json(result: Result) -> dict[str, Any]:
    """As it is written."""
    found = asdict(result)
    for target, written in zip(result.targets, found["targets"], strict=True):
        written["met"] = target.met
    return found


def from_json(found: dict[str, Any]) -> Result:
    """As it was written."""
    targets = [Target(**{key: value for key, value in one.items() if key != "met"}) for one in found["targets"]]
    curves = [Curve(**one) for one in found["curves"]]
    for curve in curves:
        curve.lines = {name: [(x, y) for x, y in line] for name, line in curve.lines.items()}
    rows = [Row(**one) for one in found["rows"]]
    rest = {key: found[key] for key in ("title", "says", "reference", "measured")}
    return Result(**rest, rows=rows, targets=targets, curves=curves)

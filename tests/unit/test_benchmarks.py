"""The arithmetic and the wording of the benchmarks: wrong there, every figure in the documents would be."""

from __future__ import annotations

import json
import os
import re

import pytest

from benchmarks import report
from benchmarks.__main__ import NAMES
from benchmarks.ground import ROOT
from benchmarks.measure import Contestant, NotHere, alternate, percentile, ratio
from benchmarks.results import Curve, Result, Row, Target, from_json, to_json

SAMPLE = Result(
    "Running",
    "Seconds of each.",
    "floor",
    rows=[
        Row("floor", "none", "s", 1.0, 1.0, 0.9, 1.1, rounds=[0.9, 1.0, 1.1]),
        Row("runq", "synced", "s", 12345.6, 2.0, 1.8, 2.2, more={"p99": "3"}),
        Row("peer", "memory", missing="no `peer` on the PATH"),
    ],
    targets=[Target("runq to the floor", 1.8, 2.0, "×"), Target("memory", 5, None, "MiB")],
    curves=[Curve("By size", "jobs", "s", {"runq": [(1.0, 2.0), (10.0, 3.0)]}, log_across=True)],
)


@pytest.mark.parametrize(("share", "expected"), [(0.5, 50), (0.99, 99), (1.0, 100), (0.001, 1), (0.0, 1)], ids=str)
def test_a_percentile_is_the_smallest_value_that_so_many_do_not_exceed(share: float, expected: float) -> None:
    assert percentile([float(value) for value in range(100, 0, -1)], share) == expected


def test_a_ratio_is_the_median_of_the_rounds_own_ratios() -> None:
    # The second round was slow for both: it says the same as the others.
    assert ratio([2.0, 200.0, 2.2], [1.0, 100.0, 1.0]) == 2.0
    assert ratio([1.0], []) is None
    assert ratio([1.0], [0.0]) is None


def test_contestants_take_turns_and_one_that_is_missing_stops_nobody() -> None:
    turns: list[str] = []

    def runs(name: str, value: float) -> Contestant:
        def run() -> float:
            turns.append(name)
            return value

        return Contestant(name, "", run)

    def absent() -> float:
        raise NotHere("not on the PATH")

    contestants = [runs("a", 1.0), Contestant("missing", "", absent), runs("b", 3.0)]
    rows = alternate(contestants, 2, unit="s", reference="a", warm_up=False)
    assert turns == ["a", "b", "a", "b"]
    assert [(row.name, row.median, row.ratio) for row in rows] == [
        ("a", 1.0, 1.0),
        ("missing", None, None),
        ("b", 3, 3),
    ]
    assert rows[1].missing == "not on the PATH"


@pytest.mark.parametrize(
    ("measured", "at_most", "met"),
    [(1.8, True, True), (1.81, True, False), (1.8, False, True), (1.79, False, False), (None, True, False)],
)
def test_a_target_is_met_up_to_its_limit_and_never_unmeasured(measured: float | None, at_most: bool, met: bool) -> None:
    assert Target("t", 1.8, measured, "×", at_most=at_most).met is met


def test_a_result_comes_back_from_json_as_it_went() -> None:
    assert from_json(json.loads(json.dumps(to_json(SAMPLE)))) == SAMPLE


def test_a_table_has_a_line_for_each_row_and_says_who_is_not_here() -> None:
    lines = report.table(SAMPLE).splitlines()
    assert len({line.count(" | ") for line in lines}) == 1
    assert lines[0] == "|  | median | to floor | rounds, least to most | p99 | durability |"
    assert lines[3] == "| runq | 12,346 s | 2.00 × | 1.8 to 2.2 | 3 | synced |"
    assert lines[4].startswith("| peer | not here: no `peer` on the PATH |")


def test_the_targets_say_what_was_met() -> None:
    text = report.targets({"add": SAMPLE})
    assert "| [runq to the floor](#add) | ≤ 1.8 × | 2 × | **not met** |" in text
    assert "| not measured |" in text


def test_a_part_replaces_what_is_between_its_marks_and_nothing_else() -> None:
    text = "before\n<!-- add -->\nold\n<!-- /add -->\nafter <!-- adder -->\n"
    assert report.between(text, "add", r"new \1") == text.replace("old", r"new \1")
    assert report.between(text, "drain", "new") == text


def test_the_document_has_a_place_for_every_benchmark() -> None:
    with open(report.DOCUMENT, encoding="utf-8") as file:
        text = file.read()
    for mark in ("machine", "targets", *NAMES):
        assert len(re.findall(rf"<!-- {mark} -->\n.*?<!-- /{mark} -->", text, re.S)) == 1, mark
    for name in NAMES:
        assert f'<a id="{name}"></a>' in text


def test_the_product_imports_no_benchmark() -> None:
    for package in ("queue_core", "mcp_server"):
        for folder, _, files in os.walk(f"{ROOT}/{package}"):
            for name in files:
                if name.endswith(".py"):
                    with open(f"{folder}/{name}", encoding="utf-8") as file:
                        assert not re.search(r"^\s*(from|import) benchmarks", file.read(), re.M), name

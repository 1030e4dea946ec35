"""From the JSON of a run to the tables in docs/performance.md."""

from __future__ import annotations

import os
import re
from typing import Any

from benchmarks.ground import ROOT
from benchmarks.results import Result, Row, Target, from_json

DOCUMENT = f"{ROOT}/docs/performance.md"
PLOTS = f"{ROOT}/docs/performance"


def write(document: dict[str, Any]) -> None:
    """Put tables and plots where readers find them; what has no place between marks is left out."""
    from benchmarks import plots

    results = {name: from_json(one) for name, one in document["benchmarks"].items()}
    drawn = plots.draw(results, PLOTS)
    with open(DOCUMENT, encoding="utf-8") as file:
        text = file.read()
    parts = {"machine": on(document), "targets": targets(results)}
    parts |= {name: section(result, drawn.get(name, [])) for name, result in results.items()}
    for mark, part in parts.items():
        text = between(text, mark, part)
    with open(DOCUMENT + ".new", "w", encoding="utf-8") as file:
        file.write(text)
    os.replace(DOCUMENT + ".new", DOCUMENT)


def between(text: str, mark: str, part: str) -> str:
    """The text with this part between `<!-- mark -->` and `<!-- /mark -->`."""
    found = re.compile(rf"(<!-- {mark} -->\n).*?(<!-- /{mark} -->)", re.S)
    return found.sub(lambda it: f"{it[1]}{part}\n{it[2]}", text)


def on(document: dict[str, Any]) -> str:
    """The machine and the day."""
    it = document["machine"]
    measured = [one["measured"] for one in document["benchmarks"].values()]
    dates = sorted({one["date"][:10] for one in measured})
    commits = sorted({one["commit"] for one in measured})
    loads = sorted(one["load"] for one in measured)
    lines = [
        ("processor", f"{it['cpu']}, {it['cores']} cores"),
        ("kernel, file system", f"{it['kernel']}, {it['file system']}"),
        ("Python, SQLite", f"{it['python']}, {it['sqlite']}"),
        ("measured", f"{', '.join(dates)}; load at the start of each benchmark {loads[0]} to {loads[-1]}"),
        ("commit", ", ".join(commits)),
        ("peers", ", ".join(it["peers"])),
    ]
    if any(one["quick"] for one in measured):
        lines.append(("**beware**", "a quick run, of fewer rounds and smaller sizes"))
    return "\n".join(["| | |", "|---|---|", *(f"| {name} | {what} |" for name, what in lines)])


def targets(results: dict[str, Result]) -> str:
    """All targets, one line each."""
    lines = ["| target | | measured | |", "|---|---|---|---|"]
    for name, result in results.items():
        for target in result.targets:
            limit = f"{'≤' if target.at_most else '≥'} {amount(target.limit, target.unit)}"
            measured = "not measured" if target.measured is None else amount(target.measured, target.unit)
            note = f" ({target.note})" if target.note else ""
            lines.append(
                f"| [{target.what}](#{name}) | {limit} | {measured}{note} | {'met' if target.met else '**not met**'} |"
            )
    return "\n".join(lines)


def section(result: Result, drawn: list[tuple[str, str]]) -> str:
    """What was measured, the table, the plots."""
    images = [f"![{title}](performance/{name})" for title, name in drawn]
    return "\n\n".join([wrapped(result.says), table(result), *images])


def table(result: Result) -> str:
    """The rows, in Markdown."""
    more = list(dict.fromkeys(heading for row in result.rows for heading in row.more))
    durable = any(row.durability for row in result.rows)
    headings = [
        "",
        "median",
        f"to {result.reference}",
        "rounds, least to most",
        *more,
        *(["durability"] if durable else []),
    ]
    lines = [headings, ["---"] * len(headings), *(_cells(row, more, durable) for row in result.rows)]
    return "\n".join("| " + " | ".join(line) + " |" for line in lines)


def _cells(row: Row, more: list[str], durable: bool) -> list[str]:
    last = [row.durability] if durable else []
    if row.median is None:
        return [row.name, f"not here: {row.missing}", "", "", *("" for _ in more), *last]
    spread = "" if row.low is None or row.high is None else f"{number(row.low)} to {number(row.high)}"
    compared = "" if row.ratio is None else f"{row.ratio:.2f} ×"
    return [row.name, amount(row.median, row.unit), compared, spread, *(row.more.get(it, "") for it in more), *last]


def in_words(target: Target) -> str:
    """One line on a target."""
    measured = "not measured" if target.measured is None else amount(target.measured, target.unit)
    wanted = f"{'at most' if target.at_most else 'at least'} {amount(target.limit, target.unit)}"
    return f"{target.what}: {measured} ({wanted}){' ' + target.note if target.note else ''}"


def amount(value: float, unit: str) -> str:
    """A figure with its unit."""
    return f"{number(value)} {unit}"


def number(value: float) -> str:
    """Three digits that matter, no more."""
    if value and abs(value) < 0.01:
        return f"{value:.4f}"
    if abs(value) < 10:
        return f"{value:.2f}".rstrip("0").rstrip(".")
    if abs(value) < 100:
        return f"{value:.1f}".removesuffix(".0")
    return f"{value:,.0f}"


def wrapped(text: str, width: int = 118) -> str:
    """Lines no longer than the documents' are."""
    import textwrap

    return textwrap.fill(text, width, break_on_hyphens=False, break_long_words=False)

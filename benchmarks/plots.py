"""Plots of a run, as SVG that comes out the same from the same figures: no date, no random ids."""

from __future__ import annotations

import os
from typing import Any

from benchmarks.results import Curve, Result, Row

RUNQ, FLOOR, PEER = "#c2410c", "#94a3b8", "#1d4ed8"
COLOURS = ("#1d4ed8", "#c2410c", "#15803d", "#7e22ce", "#a16207")
BARS = ("add", "drain", "enqueue", "bulk")  # whose medians are worth a bar each
FLOORS = ("Python, spawning alone", "SQLite alone, 64 rows a commit", "Python and SQLite alone", "python -I -S -c pass")


def draw(results: dict[str, Result], folder: str) -> dict[str, list[tuple[str, str]]]:
    """All plots of a run into a folder: title and file name, by the name of the benchmark."""
    os.makedirs(folder, exist_ok=True)
    drawn: dict[str, list[tuple[str, str]]] = {}
    for name, result in results.items():
        plots = [(result.title, _bars(result))] if name in BARS else []
        plots += [(curve.title, _curve(curve)) for curve in result.curves]
        for number, (title, figure) in enumerate(plots, 1):
            file = f"{name}.svg" if len(plots) == 1 else f"{name}-{number}.svg"
            _save(figure, f"{folder}/{file}")
            drawn.setdefault(name, []).append((title, file))
    return drawn


def _library() -> Any:
    import matplotlib as mpl

    mpl.use("svg")
    mpl.rcParams.update(
        {
            "svg.hashsalt": "runq",
            "svg.fonttype": "none",
            "font.family": "sans-serif",
            "font.size": 9,
            "path.simplify": True,
        }
    )
    import matplotlib.pyplot as plt

    return plt


def _bars(result: Result) -> Any:
    """A bar for each row; beside it the figure and its ratio."""
    rows = [row for row in result.rows if row.median is not None][::-1]
    figure, axes = _library().subplots(figsize=(7.5, 0.42 * len(rows) + 0.9), facecolor="white")
    medians = [row.median or 0.0 for row in rows]
    names = [row.name.replace("`", "") for row in rows]
    axes.barh(names, medians, color=[_colour(row) for row in rows], height=0.62)
    for place, row in enumerate(rows):
        ratio = f"  {row.ratio:.2f} ×" if row.ratio is not None else ""
        axes.annotate(
            f"{_short(row.median or 0)}{ratio}", (row.median or 0, place), xytext=(4, 0), textcoords="offset points",
            va="center",
        )  # fmt: skip
    axes.set_xlim(0, max(medians) * 1.3)
    axes.set_xlabel(f"{rows[0].unit}; × to {result.reference.replace('`', '')}" if rows else "")
    return _plain(figure, axes)


def _colour(row: Row) -> str:
    if row.name.startswith("runq"):
        return RUNQ
    return FLOOR if row.name in FLOORS else PEER


def _short(value: float) -> str:
    return f"{value:,.0f}" if value >= 100 else f"{value:.1f}"


def _curve(curve: Curve) -> Any:
    figure, axes = _library().subplots(figsize=(9 if len(curve.lines) > 1 else 7.5, 3.2), facecolor="white")
    for colour, (name, points) in zip(COLOURS, curve.lines.items(), strict=False):
        across, up = zip(*points, strict=True)
        axes.plot(across, up, label=name, color=colour, marker="o", markersize=3)
    if curve.log_across:
        axes.set_xscale("log")
    if curve.log_up:
        axes.set_yscale("log")
    else:
        axes.set_ylim(bottom=0)
    axes.set_xlabel(curve.across)
    axes.set_ylabel(curve.up)
    axes.grid(color="#e2e8f0")
    if len(curve.lines) > 1:
        axes.legend(frameon=False, fontsize=8, loc="upper left", bbox_to_anchor=(1.01, 1.0))
    return _plain(figure, axes)


def _plain(figure: Any, axes: Any) -> Any:
    for side in ("top", "right"):
        axes.spines[side].set_visible(False)
    figure.tight_layout()
    return figure


def _save(figure: Any, path: str) -> None:
    figure.savefig(path, format="svg", metadata={"Date": None, "Creator": None}, facecolor="white")
    _library().close(figure)
    with open(path, encoding="utf-8") as file:
        lines = [line.rstrip() for line in file]
    with open(path, "w", encoding="utf-8") as file:
        file.write("\n".join(lines) + "\n")

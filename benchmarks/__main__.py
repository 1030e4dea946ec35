"""Run the benchmarks: `python -m benchmarks [NAME...]`, or `make bench BENCH=add,drain`.

Results go to benchmarks/results/latest.json. With --write they also go to docs/performance.json, from which the tables
in docs/performance.md and the plots in docs/performance/ are made (--render does only that).
"""

from __future__ import annotations

import argparse
import json
import os
import sys
import time
from importlib import import_module
from typing import Any

from benchmarks import machine, report
from benchmarks.ground import ROOT, Ground
from benchmarks.measure import How, tell, why
from benchmarks.peers import versions
from benchmarks.results import Result, from_json, to_json

NAMES = ("add", "drain", "enqueue", "bulk", "claim", "latency", "contention", "memory", "server")
LATEST = f"{ROOT}/benchmarks/results/latest.json"
WRITTEN = f"{ROOT}/docs/performance.json"


def main() -> int:
    """0 if all that was chosen could be measured, whether or not the targets are met."""
    given = options()
    if given.render:
        report.write(read(WRITTEN))
        return 0
    chosen = [name for text in given.names for name in text.replace(",", " ").split()] or list(NAMES)
    if unknown := [name for name in chosen if name not in NAMES]:
        tell(f"there is no benchmark {unknown[0]}; there are {', '.join(NAMES)}")
        return 2
    found = read(LATEST)
    kept = read(WRITTEN) if given.write else {}
    new, failed = measure(given, chosen)
    for document, path in ((found, LATEST), *([(kept, WRITTEN)] if given.write else [])):
        document["machine"] = new["machine"]
        merged = {**document.get("benchmarks", {}), **new["benchmarks"]}
        document["benchmarks"] = {name: merged[name] for name in NAMES if name in merged}
        save(document, path)
    if given.write:
        report.write(kept)
    return int(failed)


def options() -> argparse.Namespace:
    """What was asked for."""
    parser = argparse.ArgumentParser(prog="python -m benchmarks", description=__doc__)
    parser.add_argument("names", nargs="*", metavar="NAME", help=f"some of {', '.join(NAMES)}; else all")
    parser.add_argument("--quick", action="store_true", help="fewer rounds of less: to see that all works")
    parser.add_argument("--jobs", type=int, default=None, metavar="N", help="commands to drain (3000; quick: 300)")
    parser.add_argument("--place", metavar="FOLDER", help="where to measure: a folder on the disk that matters")
    parser.add_argument("--write", action="store_true", help="also write docs/performance.json, .md and the plots")
    parser.add_argument("--render", action="store_true", help="measure nothing; make tables and plots from that file")
    return parser.parse_args()


def measure(given: argparse.Namespace, chosen: list[str]) -> tuple[dict[str, Any], bool]:
    """The benchmarks of these names; and whether one could not be run at all."""
    ground = Ground(given.place)
    how = How(ground, quick=given.quick, jobs=given.jobs or (300 if given.quick else 3000))
    described = {**machine.described(ground.root), "peers": versions.here()}
    document: dict[str, Any] = {"machine": described, "benchmarks": {}}
    failed = False
    try:
        for name in chosen:
            tell(f"{name} ...")
            before, began = machine.moment(), time.monotonic()
            try:
                result = import_module(f"benchmarks.{name}").run(how)
            except Exception as error:  # the others are measured all the same
                tell(f"  failed: {why(error)}")
                failed = True
                continue
            result.measured = {**before, "quick": given.quick}
            document["benchmarks"][name] = to_json(result)
            show(result, time.monotonic() - began)
    finally:
        os.chdir(ROOT)
        tell("tidying up, slowly ...")
        ground.close()
    return document, failed


def show(result: Result, seconds: float) -> None:
    """What was found, on the terminal."""
    print(f"\n{result.title} ({seconds:.0f} s)\n\n{report.table(result)}\n", flush=True)
    for target in result.targets:
        print(f"{'met    ' if target.met else 'NOT met'} {report.in_words(target)}", flush=True)


def read(path: str) -> dict[str, Any]:
    """What was written there; nothing if nothing was."""
    try:
        with open(path, encoding="utf-8") as file:
            return json.load(file)
    except FileNotFoundError:
        return {}


def save(document: dict[str, Any], path: str) -> None:
    """Write it whole, or not at all."""
    for one in document["benchmarks"].values():
        from_json(one)  # it comes back as it went
    os.makedirs(os.path.dirname(path), exist_ok=True)
    with open(path + ".new", "w", encoding="utf-8") as file:
        json.dump(document, file, indent=1, ensure_ascii=False)
        file.write("\n")
    os.replace(path + ".new", path)


if __name__ == "__main__":
    sys.exit(main())

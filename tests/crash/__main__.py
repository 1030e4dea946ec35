"""`python -m tests.crash --kills 2000 --seed 1`: storms in all scenarios until so many processes have been killed.

A run of 1000 kills or more fails as well if its storms never had to find out what became of a dead worker's commands,
or hardly passed some group of points: kills that hit nobody in the middle of anything prove nothing.
"""

import argparse
import itertools
import os
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import IO, NamedTuple

from tests import claims
from tests.crash import failures, reached
from tests.crash.plants import PLANTS
from tests.crash.storm import SCENARIOS, Result, Scenario, Storm
from tests.helpers import MEMORY

MOST = 400  # kills in one home
MORE = 480.0  # seconds for which a run may go on, by as many kills at a time as one home has, to reach everything
SEEDS_APART = 1000
LONGEST = 1200.0  # seconds that a round may take; one that hangs has failed
FEW = 5  # findings of a storm that are told again at the end of everything
DISK = "64m"
INSIDE = "CRASH_MAY_MOUNT"


class Round(NamedTuple):
    """One storm."""

    scenario: str
    kills: int
    seed: int


def main() -> int:
    """Storm, sum up; 1 if anything was found."""
    given = _arguments()
    signal.signal(signal.SIGTERM, _leave)
    seconds = given.minutes * 60 if given.minutes else float("inf")
    if given.here:
        return int(_storm(SCENARIOS[given.scenario], given.kills, given.seed, seconds, given.plant))
    names = [given.scenario] if given.scenario else list(SCENARIOS)
    with tempfile.NamedTemporaryFile("r", prefix="reached-") as file:
        os.environ[reached.FILE] = file.name  # for the processes that are started
        worst = _all(_rounds(names, given.kills, given.seed), given.jobs, seconds, given.plant)
        everything = _total(file)
        give_up = time.monotonic() + min(seconds, MORE)
        for more in itertools.count(1):  # where kills fall is chance: go on until all has been reached, within bounds
            left = give_up - time.monotonic()
            able = able_to_reach(reached.missing(everything), names)
            if worst or not able or left <= 0:
                break
            worst = _all(_rounds(able, MOST, given.seed + more * SEEDS_APART), given.jobs, left, given.plant)
            everything = _total(file)
        return max(worst, _sum_up(everything))


def _total(file: IO[str]) -> reached.Reached:
    file.seek(0)
    return reached.total(file)


def able_to_reach(missing: Sequence[reached.Missing], names: Sequence[str]) -> list[str]:
    """The scenarios among these that can reach any of it: in trouble little runs, and not everywhere keepers die."""
    calm = [name for name in names if not SCENARIOS[name].trouble] or names
    return [name for name in calm if any(SCENARIOS[name].keepers or not what.by_keepers for what in missing)]


def _sum_up(everything: reached.Reached) -> int:
    """A line for all storms together; 1 if they have not reached what they are there for."""
    missing = [what.why for what in reached.missing(everything)]
    counts = (
        ("kills", everything.kills),
        ("at points of a group", everything.groups),
        ("claims found by a verdict", everything.verdicts),
    )
    line = f"all together: {_counted(counts)}"
    print("\n".join([line, *(f"  {why}" for why in missing)]), flush=True)
    if missing:
        failures.note(*(f"the storms have not reached everything: {why}" for why in missing), line)
    return int(bool(missing))


def _leave(_number: int, _frame: object) -> None:
    """In order: nothing of a storm may be left."""
    sys.exit(1)


def _all(rounds: Iterator[Round], jobs: int, seconds: float, plant: str) -> int:
    """Every round in a process of its own, some at a time; 1 if one of them failed."""
    give_up = time.monotonic() + seconds
    running: dict[subprocess.Popen[bytes], tuple[Round, float]] = {}
    worst = 0
    try:
        while True:
            while len(running) < jobs and time.monotonic() < give_up and (next_one := next(rounds, None)):
                process = _start(next_one, max(1.0, give_up - time.monotonic()), plant)
                running[process] = next_one, time.monotonic()
            if not running:
                return worst
            for one, (what, since) in list(running.items()):
                if one.poll() is not None:
                    del running[one]
                    worst = max(worst, int(one.returncode != 0))
                    if one.returncode:
                        took = f"ended with code {one.returncode} after {time.monotonic() - since:.0f} s"
                        failures.note(f"the storm {what.scenario!r}, {what.kills} kills, seed {what.seed} {took}")
                elif time.monotonic() - since > LONGEST:
                    one.terminate()
            time.sleep(0.1)
    finally:
        for one in running:
            one.terminate()
            one.wait(60)


def _start(one: Round, seconds: float, plant: str) -> "subprocess.Popen[bytes]":
    """Where a store is to be in trouble, in a namespace of its own: there it may mount a small disk of its own."""
    words = ["--here", "--scenario", one.scenario, "--kills", str(one.kills), "--seed", str(one.seed)]
    if plant:
        words += ["--plant", plant]
    if seconds != float("inf"):
        words += ["--minutes", str(seconds / 60)]
    command = [sys.executable, "-m", "tests.crash", *words]
    if SCENARIOS[one.scenario].trouble:
        if _may_mount():
            return subprocess.Popen(["unshare", "-rm", *command], env={**os.environ, INSIDE: "1"})
        print(f"{one.scenario}: without full and read-only disks, as `unshare -rm` is not permitted here", flush=True)
    return subprocess.Popen(command)


def _arguments() -> argparse.Namespace:
    parser = argparse.ArgumentParser(
        prog="python -m tests.crash", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument(
        "--kills", type=int, default=2000, help="how many (default 2000); 0: as many as the time allows"
    )
    parser.add_argument("--seed", type=int, default=1, help="what makes the decisions of a storm the same again")
    parser.add_argument("--scenario", choices=SCENARIOS, help="only this one, instead of all")
    parser.add_argument("--minutes", type=float, help="end after so long at the latest")
    parser.add_argument("--jobs", type=int, default=2, help="how many homes at a time (default 2)")
    parser.add_argument("--here", action="store_true", help=argparse.SUPPRESS)  # one storm in this process
    parser.add_argument(
        "--plant",
        default="",
        choices=PLANTS,
        metavar="FAULT",
        help=f"plant a fault, to see it found: {'; '.join(PLANTS)}",
    )
    return parser.parse_args()


def _rounds(names: list[str], kills: int, seed: int) -> Iterator[Round]:
    """So many kills in homes of a few hundred each; without a number, for ever, each round with another seed."""
    parts = sum(SCENARIOS[name].part for name in names)
    if not kills:
        yield from (Round(name, MOST, seed + turn) for turn in itertools.count() for name in names)
    for name in names:
        share = -(-kills * SCENARIOS[name].part // parts)
        count = -(-share // MOST)
        yield from (Round(name, -(-share // count), seed + number) for number in range(count))


def _may_mount() -> bool:
    done = subprocess.run(["unshare", "-rm", "true"], capture_output=True, check=False)
    return done.returncode == 0


def _storm(scenario: Scenario, kills: int, seed: int, seconds: float, plant: str) -> bool:
    folder = Path(tempfile.mkdtemp(prefix="storm-", dir=MEMORY if os.access(MEMORY, os.W_OK) else None))
    mounted = INSIDE in os.environ
    storm = Storm(scenario, folder, seed, mounted=mounted, plant=plant)
    if mounted:
        home = str(storm.world.home)
        subprocess.run(["mount", "-t", "tmpfs", "-o", f"size={DISK},mode=700", "storm", home], check=True)
    try:
        result = storm.run(kills=kills, seconds=seconds)
    finally:
        storm.close()
    note(result)
    reached.note(reached_by(result))
    print(summary(result), flush=True)
    if result.findings:
        name = f"{result.scenario!r}, seed {result.seed}"
        failures.note(*(f"a finding of {name}: {found.claim}: {found.text}" for found in result.findings[:FEW]))
        if mounted:
            shutil.copytree(storm.world.home, folder / "kept", ignore_dangling_symlinks=True, ignore=_no_pipes)
        print(f"the home is kept: {folder}" + ("/kept (of a disk that is gone with this process)" if mounted else ""))
        planted = f" --plant '{plant}'" if plant else ""
        words = f"--scenario '{scenario.name}' --kills {kills} --seed {seed}{planted}"
        print(f"again: python -m tests.crash {words}", flush=True)
    else:
        for point in ("home", "read-only") if mounted else ():
            subprocess.run(["umount", "-l", folder / point], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)
    return bool(result.findings)


def _no_pipes(_folder: str, names: list[str]) -> list[str]:
    return [name for name in names if name in ("bells", "keepers")]


def note(result: Result) -> None:
    """Tell the table of claims."""
    broken = Counter(finding.claim for finding in result.findings)
    kills, jobs, runs = result.kills.total(), result.jobs, result.runs
    amounts: dict[str, dict[str, int]] = {
        "lost": {"kills": kills, "jobs": jobs},
        "overlap": {"kills": kills, "runs": runs},
        "unrecorded": {"kills": kills, "runs": runs},
        "twice" if not result.kills["keeper"] else "again": {"kills": kills, "runs": runs},
        "order": {"runs": runs},
        "truth": {"runs": runs, "printed_outputs": result.outputs},
        "frames": {"spoilt_servers": result.frames.total()},
        "spool": {"kills_at_it": sum(count for name, count in result.points.items() if name.startswith("spool"))},
        "file": {"swaps": result.troubles["foreign"] + result.troubles["removed"]},
        "full": {"full_disks": result.troubles["full"], "read_only": result.troubles["read-only"]},
    }
    for claim, figures in amounts.items():
        if broken[claim] or any(figures.values()):
            claims.tried(claim, broken=broken[claim], **{name: count for name, count in figures.items() if count})
    for claim in broken.keys() - amounts.keys():
        claims.tried(claim, broken=broken[claim])


def summary(result: Result) -> str:
    """A storm in a line, and a line for each thing that it has found."""
    counts = (
        ("kills", result.kills),
        ("stops", result.stops),
        ("troubles", result.troubles),
        ("spoilt stdins", result.frames),
        ("answers", result.answers),
        ("attempts", result.outcomes),
        ("claims found by a verdict", result.verdicts),
        (f"at {len(result.points)} points", reached_by(result).groups),
    )
    line = f"{result.scenario}, seed {result.seed}: {_counted(counts)}; {result.jobs} jobs, {result.runs} runs"
    findings = [f"  {finding.claim}: {finding.text}" for finding in result.findings]
    return "\n".join([f"{line}, {result.seconds:.0f} s: {len(findings)} findings", *findings[:40]])


def _counted(counts: Iterable[tuple[str, Counter[str]]]) -> str:
    return ", ".join(
        f"{some.total()} {what} ({', '.join(f'{count} {name}' for name, count in some.most_common())})"
        for what, some in counts
        if some
    )


def reached_by(result: Result) -> reached.Reached:
    """What one storm has reached."""
    keepers = SCENARIOS[result.scenario].keepers if result.scenario in SCENARIOS else False
    return reached.reached(result.kills, result.points, result.verdicts, keepers=keepers)


if __name__ == "__main__":
    sys.exit(main())

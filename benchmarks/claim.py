"""Claim and settle in one exchange, status and health, in queues of a thousand and of a million jobs."""

from __future__ import annotations

import itertools
import os
import statistics
import time
from dataclasses import dataclass

from benchmarks.ground import Ground
from benchmarks.measure import How, percentile, ratio, tell, why
from benchmarks.populations import POPULATIONS, Population, make
from benchmarks.results import Curve, Result, Row, Target
from queue_core import Queue
from queue_core.jobs import Outcome, Settlement

TITLE = "Claim and settle, by the size of the queue"
SAYS = (
    "Microseconds of one exchange, in which a worker settles the job it had and claims the next, in one synced"
    " transaction; by the store alone, nothing is run. Blocks of exchanges in the big queue and in one of 1,000 waiting"
    " jobs alternate; the ratio is between the medians of neighbouring blocks. `status` and `health` are read in the"
    " process, in milliseconds. The processor's time leaves the disk out, which takes most"
    " of an exchange."
)
SIZE = 1_000_000
SIZES = (10_000, 100_000)  # further points of the curve
BLOCKS, EXCHANGES, READS = 7, 120, 15
SMALL = "1,000 waiting"
PROCESSOR = "processor time (µs)"
DURABILITY = "synced"


@dataclass
class Block:
    """Exchanges one after the other, in microseconds: on the clock, and on the processor."""

    took: list[float]
    used: list[float]


class Claims:
    """A worker that runs nothing: each exchange settles what the one before has claimed."""

    def __init__(self, queue: Queue) -> None:
        self.queue = queue
        self._tokens = itertools.count()
        self._held: list[Settlement] = []
        queue.store.register(
            "bench", pid=os.getpid(), host="bench", keeper="k", booted_by=None, version="1", now=time.time(),
            limits={}, queues={},
        )  # fmt: skip
        self.block(20)

    def block(self, exchanges: int) -> Block:
        """What each of so many took."""
        took, used = zip(*(self._once() for _ in range(exchanges)), strict=True)
        return Block(list(took), list(used))

    def _once(self) -> tuple[float, float]:
        began, at_work = time.perf_counter_ns(), time.thread_time_ns()
        _, leases = self.queue.store.exchange(
            self._held,
            worker="bench",
            keeper="k",
            host="bench",
            want=1,
            max_running=8,
            now=time.time(),
            tokens=lambda: f"token-{next(self._tokens)}",
            chance=lambda: 0.0,
        )
        took, used = (time.perf_counter_ns() - began) / 1000, (time.thread_time_ns() - at_work) / 1000
        outcome = Outcome(kind="exited", exit_code=0, started_at=time.time(), finished_at=time.time())
        self._held = [
            Settlement(job=lease.job, claim=lease.claim, token=lease.token, outcome=outcome) for lease in leases
        ]
        assert len(self._held) == 1, "there was nothing to claim"
        return took, used

    def reads(self, count: int) -> tuple[float, float]:
        """Milliseconds of `status` and of `health`, medians."""
        return _median_ms(self.queue.status_view, count), _median_ms(self.queue.health_view, count)


def _median_ms(read: object, count: int) -> float:
    took: list[float] = []
    for _ in range(count):
        began = time.perf_counter()
        read()  # type: ignore[operator]
        took.append((time.perf_counter() - began) * 1000)
    return statistics.median(took)


def run(how: How) -> Result:
    """One population after the other, each beside the small queue; a million jobs at a time on the disk."""
    size = how.count(SIZE)
    small = _claims(how.ground, None, 0)
    status, health = small.reads(READS)
    rows, curve = (
        [_small_row([small.block(EXCHANGES) for _ in range(BLOCKS)], status, health)],
        _points(how.ground, size),
    )
    small.queue.close()
    for population in POPULATIONS:
        name = f"{size:,} {population.name}"
        tell(f"  {name} ...")
        try:
            rows.append(_compare(how.ground, population, size, name))
        except Exception as error:
            rows.append(Row(name, DURABILITY, "µs", missing=why(error)))
    big = next((row for row in rows if row.name == f"{size:,} waiting" and row.median), None)
    curve.lines["claim and settle"] += [(float(size), big.median)] if big and big.median else []
    return Result(TITLE, SAYS, SMALL, rows, _targets(rows), [curve])


def _small_row(blocks: list[Block], status: float, health: float) -> Row:
    return _row(SMALL, blocks, blocks, status, health)


def _claims(ground: Ground, population: Population | None, size: int) -> Claims:
    return Claims(make(ground.environ(RUNQ_CAPACITY="10000000"), population, size))


def _compare(ground: Ground, population: Population, size: int, name: str) -> Row:
    began = time.perf_counter()
    small, big = _claims(ground, None, 0), _claims(ground, population, size)
    tell(f"    made in {time.perf_counter() - began:.0f} s")
    mine: list[Block] = []
    theirs: list[Block] = []
    for _ in range(BLOCKS):
        theirs.append(small.block(EXCHANGES // 2))
        mine.append(big.block(EXCHANGES))
    status, health = big.reads(READS)
    big.queue.close()
    small.queue.close()
    os.truncate(big.queue.home.database, 0)  # a million jobs at a time are enough for a disk
    return _row(name, mine, theirs, status, health)


def _row(name: str, mine: list[Block], theirs: list[Block], status: float, health: float) -> Row:
    medians = [statistics.median(block.took) for block in mine]
    used = [statistics.median(block.used) for block in mine]
    took = [one for block in mine for one in block.took]
    compared = ratio(used, [statistics.median(block.used) for block in theirs])
    more = {
        "p99 (µs)": f"{percentile(took, 0.99):,.0f}",
        PROCESSOR: f"{statistics.median(used):,.0f} ({compared or 0:.2f} ×)",
        "status (ms)": f"{status:.2f}",
        "health (ms)": f"{health:.2f}",
    }
    to_small = ratio(medians, [statistics.median(block.took) for block in theirs])
    return Row(name, DURABILITY, "µs", statistics.median(took), to_small, min(medians), max(medians), more, medians)


def _points(ground: Ground, size: int) -> Curve:
    """Further sizes between the small and the big queue."""
    points: list[tuple[float, float]] = []
    for between in (0, *SIZES):
        if between < size:
            one = _claims(ground, POPULATIONS[0], between)
            points.append((float(between or 1000), statistics.median(one.block(EXCHANGES * 2).took)))
            one.queue.close()
    return Curve(
        "Claim and settle by the number of waiting jobs", "jobs that wait", "µs, median",
        {"claim and settle": points}, log_across=True,
    )  # fmt: skip


def _targets(rows: list[Row]) -> list[Target]:
    big = rows[1:]
    worst = max((row.ratio for row in big if row.ratio), default=None)
    whole = worst if all(row.ratio for row in big) else None
    reads = [float(row.more[key]) for row in rows if row.more for key in ("status (ms)", "health (ms)")]
    note = next(
        (f"{row.name}; on the processor {row.more[PROCESSOR]}" for row in big if row.ratio and row.ratio == worst), ""
    )
    return [
        Target("claim and settle at 1,000,000 to 1,000, the worst of all populations", 2, whole, "×", note=note),
        Target("status and health, the slowest of all", 5, max(reads, default=None), "ms"),
    ]

"""What a worker and its keeper have in memory: at rest, and after a command that has written a gigabyte."""

from __future__ import annotations

from benchmarks.ground import BIN, Ground
from benchmarks.measure import Contestant, How, alternate, tell
from benchmarks.processes import family, memory, running, until
from benchmarks.results import Result, Row, Target
from queue_core import Queue

TITLE = "A worker's memory"
SAYS = (
    "MiB resident of a worker that has run a command, of its keeper, and the most that the worker has ever had after"
    " another that wrote 1 GB (of which 64 MiB are kept, and searched for secrets)."
)
ROUNDS = 3
OUTPUT = 1_000_000_000  # bytes
IDLE, KEEPER, AFTER, GREW = "worker, idle", "keeper, idle", "worker, the most, 1 GB later", "growth by 1 GB of output"


def run(how: How) -> Result:
    """The same worker gives all four figures of a round."""
    size = OUTPUT // 10 if how.quick else OUTPUT
    figures: dict[str, float] = {}

    def idle() -> float:
        figures.clear()
        figures.update(_measured(how.ground, size))
        return figures[IDLE]

    contestants = [
        Contestant(IDLE, "", idle),
        *(Contestant(name, "", lambda name=name: figures[name]) for name in (KEEPER, AFTER, GREW)),
    ]
    rows = alternate(contestants, how.rounds(ROUNDS), unit="MiB", reference=IDLE, warm_up=False)
    return Result(TITLE, SAYS, IDLE, rows, _targets(rows))


def _measured(ground: Ground, size: int) -> dict[str, float]:
    env = ground.environ()
    queue = Queue.open(env)
    with running([f"{BIN}/runq", "work"], env) as process:
        _run(queue, "true")
        worker = next(iter(queue.live_workers().values()))
        keeper = next((pid for pid in family(process.pid) if pid != worker), None)
        before = memory(worker)
        kept = memory(keeper)["Rss"] if keeper else 0.0
        tell(f"  {size:,} bytes of output ...")
        _run(queue, "head", "-c", str(size), "/dev/zero")
        after = memory(worker)
    queue.close()
    return {IDLE: before["Rss"], KEEPER: kept, AFTER: after["VmHWM"], GREW: after["VmHWM"] - before["VmHWM"]}


def _run(queue: Queue, *argv: str) -> None:
    job = queue.submit(argv).id
    until(lambda: queue.states_of([job])[job] == "succeeded", f"{argv[0]} has succeeded", 120)


def _targets(rows: list[Row]) -> list[Target]:
    found = {row.name: row.median for row in rows}
    return [
        Target("a worker's memory, idle", 30, found.get(IDLE), "MiB"),
        Target("its growth by 1 GB of output", 3, found.get(GREW), "MiB", note="flat"),
    ]

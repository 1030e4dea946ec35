"""What happened in a storm: what the commands noted themselves, whom the harness hit, how dead workers' claims were
judged. Nothing of it comes from the queue's database."""

from collections import Counter
from collections.abc import Iterable, Sequence
from typing import NamedTuple

Claim = tuple[int, int]  # job and claim


class Run(NamedTuple):
    """One run of a command, as it told of itself; times by the monotonic clock, in seconds."""

    job: int
    claim: int
    pid: int
    number: int
    began: float = 0.0
    ended: float | None = None  # None: it did not come to its end
    code: int | None = None
    written: int = 0

    @property
    def last(self) -> float:
        """When it was certainly still there: of one that was killed nobody knows more than its start."""
        return self.began if self.ended is None else self.ended


class History:
    """The lines of the harness's file, read."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.runs: list[Run] = []
        self.overlaps: list[str] = []
        self.killed: set[int] = set()  # pids of commands
        self.keepers: set[str] = set()  # ids of those that were killed
        self.late = False  # whether some keeper was stopped: then a time-out may come when all is over
        self._verdicts: set[tuple[Claim, str]] = set()
        parsers = {
            "start": self._start,
            "end": self._end,
            "overlap": self._overlap,
            "kill": self._kill,
            "stop": self._stop,
            "point": self._point,
            "verdict": self._verdict,
        }
        for line in lines:
            what, *rest = line.split()
            if parser := parsers.get(what):
                parser(rest)

    @property
    def verdicts(self) -> Counter[str]:
        """How many claims of dead workers were found in which way; one may be found in several, one after another."""
        return Counter(what for _, what in self._verdicts)

    def _start(self, rest: Sequence[str]) -> None:
        self.runs.append(_run(rest))

    def _end(self, rest: Sequence[str]) -> None:
        if len(rest) == 1:
            return  # a process that the harness has ended when all was over
        ended = _run(rest)._replace(ended=float(rest[4]), code=int(rest[5]), written=int(rest[6]))
        for place in range(len(self.runs) - 1, -1, -1):
            one = self.runs[place]
            if (one.job, one.claim, one.pid) == (ended.job, ended.claim, ended.pid):
                self.runs[place] = ended._replace(began=one.began)
                return
        self.runs.append(ended)

    def _overlap(self, rest: Sequence[str]) -> None:
        self.overlaps.append(f"another run of the same job goes on beside {_run(rest)}")

    def _kill(self, rest: Sequence[str]) -> None:
        role, pid, keeper = rest
        if role == "command":
            self.killed.add(int(pid))
        elif role == "keeper":
            self.keepers.add(keeper)

    def _stop(self, rest: Sequence[str]) -> None:
        self.late |= rest[0] == "keeper"

    def _point(self, rest: Sequence[str]) -> None:
        action, role, _pid, keeper = rest[:4]
        if role == "keeper" and action == "kill":
            self.keepers.add(keeper)
        self.late |= (action, role) == ("stop", "keeper")

    def _verdict(self, rest: Sequence[str]) -> None:
        what, job, claim = rest
        self._verdicts.add(((int(job), int(claim)), what))


def _run(rest: Sequence[str]) -> Run:
    return Run(job=int(rest[0]), claim=int(rest[1]), pid=int(rest[2]), number=int(rest[3]), began=float(rest[4]))

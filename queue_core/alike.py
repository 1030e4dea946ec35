"""Many jobs that differ in what their program is told, and in nothing else: what they share is kept and checked once.

A file of a hundred thousand lines is a hundred thousand commands, but hardly ever more than one folder, one program,
one rule for retries. As objects of their own they take 2.6 KB each (job, admission, receipt), in stretches 0.2.
"""

from __future__ import annotations

from bisect import bisect_right
from collections.abc import Sequence
from itertools import accumulate
from typing import TYPE_CHECKING, Any, Generic, TypeVar, overload

from queue_core.model import Admission, NewJob, Receipt

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

T = TypeVar("T")
Stretch = tuple[T, Sequence[Any]]  # the first value, and for each what it has of its own


class Alike(Sequence[T], Generic[T]):
    """Values in their order, made when somebody looks at one; `stretches` is for those who need not."""

    def __init__(self, made: Callable[[T, Any], T], stretches: Iterable[Stretch[T]] = ()) -> None:
        """`made` gives a value like another one, from what it has of its own."""
        self._made = made
        self.stretches: list[Stretch[T]] = [*stretches]

    def __len__(self) -> int:
        return sum([len(own) for _, own in self.stretches])

    def __iter__(self) -> Iterator[T]:
        made = self._made
        for like, owns in self.stretches:
            for own in owns:
                yield made(like, own)

    @overload
    def __getitem__(self, index: int) -> T: ...
    @overload
    def __getitem__(self, index: slice) -> Sequence[T]: ...
    def __getitem__(self, index: int | slice) -> T | Sequence[T]:
        if isinstance(index, slice):
            return [*self][index]
        ends = list(accumulate([len(own) for _, own in self.stretches]))
        count = ends[-1] if ends else 0
        if not -count <= index < count:
            raise IndexError(f"there are {count}")
        place = index % count
        stretch = bisect_right(ends, place)
        like, owns = self.stretches[stretch]
        return self._made(like, owns[place - ends[stretch]])


def own(job: NewJob) -> Any:
    """What a job's program is told: its argv, or the handler's arguments."""
    return job.argv if job.handler is None else job.arguments


def job_like(job: NewJob, own: Any) -> NewJob:
    """The same job for another argv, or other arguments."""
    name = "argv" if job.handler is None else "arguments"
    return NewJob.of_checked({**job.__dict__, name: own})


def admission_like(admission: Admission, own: Any) -> Admission:
    """The same admission for such a job."""
    return Admission.of_checked({**admission.__dict__, "job": job_like(admission.job, own)})


def receipt_like(receipt: Receipt, own: int) -> Receipt:
    """The same answer for another id."""
    return Receipt.of_checked({"id": own, "state": receipt.state, "existing": receipt.existing})


def stretches_of(jobs: Sequence[NewJob]) -> Iterable[Stretch[NewJob]]:
    """These jobs in their order: as many together as differ in nothing else."""
    return jobs.stretches if isinstance(jobs, Alike) else _found(jobs)


def _found(jobs: Sequence[NewJob]) -> Iterator[Stretch[NewJob]]:
    first, shared = jobs[0], None
    owns: list[Any] = []
    for job in jobs:
        fields = job.__dict__
        others = {**fields, "argv" if fields.get("handler") is None else "arguments": None}
        if others != shared:
            if owns:
                yield first, owns
            first, shared, owns = job, others, []
        owns.append(own(job))
    if owns:
        yield first, owns

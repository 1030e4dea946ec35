"""`runq output`: what a job's command wrote, all of it, its end, or as it comes."""

from __future__ import annotations

import codecs
import select
import sys

from queue_core.changes import Bell
from queue_core.cli.context import complain, on_terminal, opened, write_json
from queue_core.cli.options import JSON, Given, Option, Verb, job_id
from queue_core.cli.reading import GrowingOutput
from queue_core.errors import QueueError, UsageError
from queue_core.model import ENDED
from queue_core.outcomes import OutputFile, secrets_of

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

    from queue_core.jobs import Attempt, Job
    from queue_core.outcomes import Secrets
    from queue_core.service import Queue

POLL = 0.2  # seconds between two looks at a growing output: nobody rings for what a command writes
VERBS = {
    "output": Verb(
        name="output",
        summary="What a job's command wrote: of its latest attempt, also while it runs.",
        operands="ID",
        options=(
            Option(name="attempt", metavar="N", kind="int", help="of the N-th attempt, 1 being the first"),
            Option(name="tail", metavar="LINES", kind="int", help="only the last lines"),
            Option(name="follow", help="go on as more comes, until the attempt has ended"),
            JSON,
        ),
        more="In a pipe the bytes come as the command wrote them, but for tokens and keys of known shapes, which are\n"
        'masked (`output_secrets = "keep"` turns that off). What was too long is cut in its middle.',
        example="runq output 7\nrunq output 7 --tail 20\nrunq output 7 --follow",
    ),
}


def run_output(given: Given) -> int:
    """`runq output ID`."""
    if len(given.operands) != 1:
        raise UsageError("runq output needs the id of one job: runq output ID")
    wanted = job_id(given.operands[0])
    tail: int | None = given.get("tail")
    if tail is not None and tail < 0:
        raise UsageError(f"--tail is a number of lines, not {tail}")
    attempt: int | None = given.get("attempt")
    if attempt is not None and attempt < 1:
        raise UsageError(f"--attempt is at least 1, not {attempt}")
    if given.get("follow") and given.get("json"):
        raise UsageError("--follow goes on while more comes, and --json is one document; give either")
    with opened() as queue:
        queue.settle_leftovers()
        shown = _Shown(queue, wanted, attempt)
        if given.get("follow"):
            _follow(queue, shown, tail)
        else:
            shown.find()
            _show_all(shown, tail, as_json=bool(given.get("json")))
    return 0


class _Shown:
    """The attempt that is shown: which claim of the job it is, and whether it has ended."""

    def __init__(self, queue: Queue, wanted: int, number: int | None) -> None:
        self._queue = queue
        self.asked_for = number
        self.number: int | None = None
        self.job: Job = queue.job(wanted)
        self.claim: int | None = None
        self.attempt: Attempt | None = None  # once it has ended

    def look(self) -> bool:
        """Read the job anew; whether the attempt has begun."""
        self.job = self._queue.job(self.job.id)
        claims = [attempt.claim for attempt in self.job.attempts]
        if self.job.state == "running":
            claims.append(self.job.claim)
        if self.claim is None and claims:
            number = self.asked_for or len(claims)
            if 0 < number <= len(claims):
                self.claim, self.number = claims[number - 1], number
        self.attempt = next((one for one in self.job.attempts if one.claim == self.claim), None)
        return self.claim is not None

    @property
    def secrets(self) -> Secrets:
        """What is masked."""
        return secrets_of(self.job.env, self._queue.settings)

    @property
    def running(self) -> bool:
        """Whether more may come."""
        return self.job.state == "running" and self.job.claim == self.claim

    @property
    def never_begins(self) -> bool:
        """Whether there is nothing to wait for."""
        return self.job.state in ENDED

    def find(self) -> None:
        """Look, and be content with nothing but an attempt that has begun."""
        if self.look():
            return
        made = len(self.job.attempts) + (self.job.state == "running")
        if made:
            raise QueueError(f"job {self.job.id} has no attempt {self.asked_for}; the attempts so far are 1 to {made}")
        how = "ended without a run" if self.never_begins else "has not run yet"
        raise QueueError(f"job {self.job.id} {how}, so there is no output; `runq status {self.job.id}` tells more")

    def file(self) -> GrowingOutput:
        """The output's file, which may be gone."""
        path = self._queue.home.run(self.job.id, self.claim or 0) + "/output"
        return GrowingOutput(path, self.secrets, growing=self.running)


def _show_all(shown: _Shown, tail: int | None, *, as_json: bool) -> None:
    output = shown.file()
    if tail is not None:
        output.skip_to_last(tail)
    offset, total = output.position, output.size()
    pieces = output.new()
    if not total and shown.attempt is not None and shown.attempt.tail:
        pieces, offset, total = _kept(shown.attempt, shown.secrets, tail)
    if as_json:
        _write_document(shown, b"".join(pieces), offset, total)
    else:
        _Sink().write(pieces)
        if on_terminal() and not total:
            _say_nothing_came(shown)


def _say_nothing_came(shown: _Shown) -> None:
    """A person wonders whether an empty screen is an answer."""
    job = shown.job.id
    if shown.running:
        complain(f"job {job} has written nothing yet; --follow waits for more")
    elif shown.attempt is not None and shown.attempt.result is not None:
        complain(f"job {job} wrote nothing; its result is in `runq status {job}`")
    else:
        complain(f"job {job} wrote nothing")


def _kept(attempt: Attempt, secrets: Secrets, tail: int | None) -> tuple[list[bytes], int, int]:
    """The end of an output whose file is gone, from the database."""
    kept = OutputFile(None, attempt.tail, secrets=secrets).read()
    if attempt.output_bytes > len(kept):
        complain(f"the output's file is gone; these are the last {len(kept)} bytes of it")
    lines = kept.splitlines(keepends=True)
    chosen = kept if tail is None else b"".join(lines[len(lines) - min(tail, len(lines)) :])
    return [chosen], len(kept) - len(chosen), len(kept)


def _write_document(shown: _Shown, content: bytes, offset: int, total: int) -> None:
    from queue_core import views

    ended = shown.attempt
    how = {"outcome": None, "exit_code": None, "signal": None, "cut_bytes": 0}
    if ended is not None:
        how = {key: value for key, value in views.attempt(ended).items() if key in how}
    known = {"id": shown.job.id, "state": shown.job.state, "attempt": shown.number, "claim": shown.claim}
    write_json({**known, **how, **views.output(content, offset=offset, total=total)})


def _follow(queue: Queue, shown: _Shown, tail: int | None) -> None:
    """Write what comes until the attempt has ended and all of it is written. The state is read before the
    bytes: what has ended by then writes nothing more.
    """
    bell = Bell(queue.home, "watch")
    try:
        while shown.attempt is None:  # a claim that was put back before it started is none
            shown.claim = None
            _wait_for_start(queue, shown, bell)
            _follow_claim(queue, shown, tail, bell)
    finally:
        bell.close()


def _follow_claim(queue: Queue, shown: _Shown, tail: int | None, bell: Bell) -> None:
    output, sink = shown.file(), _Sink()
    if tail is not None:
        output.skip_to_last(tail)
    while shown.running:
        sink.write(output.new())
        _pause(bell)
        queue.settle_leftovers()
        shown.look()
    if shown.attempt is not None:
        sink.write(output.rest(written=shown.attempt.output_bytes, cut=shown.attempt.cut_bytes))
    output.close()


def _wait_for_start(queue: Queue, shown: _Shown, bell: Bell) -> None:
    if shown.look():
        return
    if not shown.never_begins and shown.asked_for is None:
        complain(f"job {shown.job.id} waits for {queue.job_view(shown.job.id)['waiting_for']}")
    while not shown.look():
        if shown.never_begins or shown.asked_for is not None:
            shown.find()
        _pause(bell)


def _pause(bell: Bell) -> None:
    select.select([bell], [], [], POLL)
    bell.clear()


class _Sink:
    """Where output goes: a pipe gets the bytes, a terminal text."""

    def __init__(self) -> None:
        self._decoder = codecs.getincrementaldecoder("utf-8")("replace") if on_terminal() else None

    def write(self, pieces: Iterable[bytes]) -> None:
        """Write what comes, at once."""
        for piece in pieces:
            if self._decoder is None:
                sys.stdout.buffer.write(piece)
            else:
                sys.stdout.write(self._decoder.decode(piece))
        sys.stdout.flush()

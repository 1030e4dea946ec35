"""The command that every job of a storm runs: one process, no children, and it tells on itself.

What it does is noted in a file of the harness's own, a line each, so that a run shows whatever the queue believes:
`start` and `end` with the job's id, its claim, its pid and the harness's number of it, `overlap` where another run of
the same job holds the lock. Started as `python -I -S`, it sees nothing of the harness but its arguments.
"""

import fcntl
import os
import sys
import time

PART = 7919  # bytes that go to one stream before the other has its turn


def payload(number: int, claim: int, size: int) -> bytes:
    """What a run writes, to both its streams together: another text for every claim, in every line."""
    lines = size // 32 + 1
    return b"".join(b"job %6d claim %3d line %6d..\n" % (number, claim, line) for line in range(lines))[:size]


def main() -> None:
    """`job.py FOLDER NUMBER FAILURES CODE MILLISECONDS SIZE`: so many runs exit with the code, later ones with 0."""
    folder = sys.argv[1]
    number, failures, code, milliseconds, size = map(int, sys.argv[2:])
    job, claim = os.environ["RUNQ_JOB_ID"], int(os.environ["RUNQ_CLAIM"])
    events = os.open(folder + "/events", os.O_WRONLY | os.O_APPEND | os.O_CLOEXEC)

    def note(what: str, *more: int) -> None:
        line = " ".join(map(str, (what, job, claim, os.getpid(), number, time.monotonic(), *more)))
        os.write(events, line.encode() + b"\n")

    note("start")
    lock = os.open(f"{folder}/locks/{number}", os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC)
    try:
        fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        note("overlap")
    earlier = os.fstat(lock).st_size  # a byte for each run
    os.write(lock, b".")
    content = payload(number, claim, size)
    half = size // 2
    written = _write(content[:half])
    time.sleep(milliseconds / 1000)
    if written == half:
        written += _write(content[half:])
    result = code if earlier < failures else 0
    note("end", result, written)
    os._exit(result)


def _write(content: bytes) -> int:
    """Write as much as the disk takes, to both streams in turn; how much that was."""
    at = 0
    for begin in range(0, len(content), PART):
        part = content[begin : begin + PART]
        try:
            wrote = os.write(1 + begin // PART % 2, part)
        except OSError:
            return at
        at += wrote
        if wrote < len(part):
            return at
    return at


if __name__ == "__main__":
    main()

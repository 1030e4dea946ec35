"""The spool: where a hook leaves its job when the database cannot take it in time.

One file a submission, with an id of its own, fsynced and renamed. Whoever opens the queue next takes
it in, once: the store keeps the ids of what came from here unique, beyond pruning. A small ballast
file, given up when the disk is full, makes room for one more.
"""

from __future__ import annotations

import errno
import os

from queue_core.errors import QueueError, StoreFull
from queue_core.fastjson import dumps, loads
from queue_core.home import make_folder, sync
from queue_core.model import Admission, NewJob, Origin, Retry, Step
from queue_core.shapes import is_list, is_texts
from queue_core.value import every_field

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from queue_core.home import Home

BALLAST = 64 * 1024
_NO_FILE = (errno.ELOOP, errno.ENXIO)  # a link, a socket
NO_JOB = (TypeError, ValueError, LookupError, ArithmeticError)  # what an admission ends in that runq has not written


def leave(home: Home, admissions: Sequence[Admission], *, now: float) -> str:
    """Write a submission to the spool, durably; its id. StoreFull when even the ballast makes no room."""
    make_folder(home.spool)
    spool_id = f"{int(now * 1000):013d}-{os.getpid()}-{os.urandom(6).hex()}"
    text = dumps([to_dict(admission) for admission in admissions])
    try:
        _write(home, spool_id, text)
    except OSError:
        try:
            _give_up_ballast(home)
            _write(home, spool_id, text)
        except OSError as error:
            raise StoreFull(
                f"the job could not be stored ({error.strerror}); free some space in {home.data} and try again"
            ) from None
    return spool_id


def keep_ballast(home: Home) -> None:
    """Set aside the room that the spool may need on a full disk; best done while there is some."""
    path = home.spool + "/.ballast"
    try:
        if os.lstat(path).st_size == BALLAST:
            return
    except OSError:
        make_folder(home.spool)
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            file.write(os.urandom(BALLAST))  # a file system that compresses would set nothing aside for zeros
    except OSError:  # the disk is full by now: what room there was is better left to others
        try:
            remove(path)
        except OSError:  # a folder that somebody has put there, or a disk that takes no writes
            pass


def pending(home: Home) -> list[str]:
    """The paths of what waits in the spool, oldest first."""
    try:
        names = sorted(name for name in os.listdir(home.spool) if name.endswith(".json"))
    except OSError:
        return []
    return [home.spool + "/" + name for name in names]


def read(path: str) -> list[Admission] | None:
    """A submission; None if another process has just taken it. A broken file is set aside, not lost."""
    try:
        with os.fdopen(_open(path), encoding="ascii") as file:
            items = loads(file.read())
        if not is_list(items) or not items:
            raise ValueError("it holds no jobs")
        return [from_dict(item, spool_id=spool_id(path, index)) for index, item in enumerate(items)]
    except FileNotFoundError:
        return None
    except (ValueError, TypeError, KeyError, AttributeError, IsADirectoryError) as error:
        set_aside(path)
        raise QueueError(f"{path}.broken is no job that this runq can read ({error}); it was set aside") from None


def _open(path: str) -> int:
    """Without waiting, and through no link: only runq writes here, but so could any command."""
    try:
        return os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
    except OSError as error:
        if error.errno in _NO_FILE:
            raise ValueError("it is no file") from None
        raise


def spool_id(path: str, index: int) -> str:
    """What makes one job of a spooled file unique for ever."""
    return f"{os.path.basename(path).removesuffix('.json')}#{index}"


def set_aside(path: str) -> None:
    """Keep what cannot be taken in for a person to look at; `runq health` tells of it."""
    try:
        os.replace(path, path + ".broken")
    except FileNotFoundError:
        pass  # somebody else was faster


def remove(path: str) -> None:
    """A submission is in the database now."""
    try:
        os.unlink(path)
    except FileNotFoundError:
        pass


def remove_unfinished(home: Home, *, before: float) -> None:
    """Remove what killed hooks have left half-written, and last wrote to before this time (seconds since the epoch)."""
    try:
        parts = [f"{home.spool}/{name}" for name in os.listdir(home.spool) if name.endswith(".part")]
    except OSError:
        return
    for path in parts:
        try:
            if os.lstat(path).st_mtime < before:
                os.unlink(path)
        except OSError:
            continue


def _write(home: Home, name: str, text: str) -> None:
    part = f"{home.spool}/{name}.part"
    descriptor = os.open(part, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    try:
        with os.fdopen(descriptor, "wb") as file:
            file.write(text.encode("ascii"))
            file.flush()
            os.fsync(descriptor)
        os.rename(part, f"{home.spool}/{name}.json")
        sync(home.spool)
    except OSError:
        remove(part)
        raise


def _give_up_ballast(home: Home) -> None:
    remove(home.spool + "/.ballast")


def to_dict(admission: Admission) -> dict[str, Any]:
    """An admission as JSON can hold it: how the spool and schedules keep what is to be queued."""
    fields = every_field(admission)
    job = every_field(admission.job)
    if job["stdin"] is not None:
        job["stdin"] = job["stdin"].decode("latin-1")
    fields["on_dead"] = [step.__dict__ for step in admission.on_dead]
    fields.update(job=job, origin=admission.origin.__dict__, retry=admission.retry.__dict__)
    return fields


def from_dict(fields: dict[str, Any], *, spool_id: str | None = None) -> Admission:
    """What `to_dict` made; ValueError, TypeError or KeyError if this is nothing of the kind."""
    job: dict[str, Any] = {name: tuple(value) if is_list(value) else value for name, value in fields["job"].items()}
    if not is_texts(job["argv"]):
        raise ValueError("its argv is no list of texts")
    job["locks"] = tuple((name, capacity) for name, capacity in job["locks"])
    if job["stdin"] is not None:
        job["stdin"] = job["stdin"].encode("latin-1")
    if job["on_dead"] is not None:
        job["on_dead"] = tuple(tuple(argv) for argv in _several(job["on_dead"]))
    made: dict[str, Any] = {
        **fields,
        "on_dead": _steps(fields),
        "job": NewJob(**job),
        "origin": Origin(**fields["origin"]),
        "retry": Retry(**fields["retry"]),
        "spool_id": spool_id,
    }
    made.pop("on_dead_program", None)
    return Admission(**made)


def _steps(fields: dict[str, Any]) -> tuple[Step, ...]:
    """The chain of a job; before there were chains, a file held one command at the most, and its program beside."""
    program: str | None = fields.get("on_dead_program")
    if program is not None:
        return (Step(argv=tuple(fields["job"]["on_dead"]), executable=program),)
    steps: list[dict[str, Any]] = fields.get("on_dead", [])
    return tuple(Step(argv=tuple(one["argv"]), executable=one["executable"], after=one["after"]) for one in steps)


def _several(on_dead: Sequence[Any]) -> Sequence[Any]:
    return [on_dead] if on_dead and isinstance(on_dead[0], str) else on_dead

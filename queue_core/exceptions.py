"""What can go wrong, worded for whoever asked: one sentence each, what is wrong and what to do next."""

from __future__ import annotations


class QueueError(Exception):
    """Something that was asked of the queue could not be done; the message says why and what to do."""

    exit_code = 1


class UsageError(QueueError):
    """The request itself is wrong (a flag, a value, a shape); nothing was stored."""

    exit_code = 2


class InvalidJob(UsageError):
    """A job that could never run was refused; nothing was stored."""


class UnknownJob(QueueError):
    """No job has this id (it may have been pruned)."""

    def __init__(self, job_id: object) -> None:
        super().__init__(f"there is no job {job_id}; `runq list` shows the jobs there are")


class UnknownTask(QueueError):
    """No job is known by this task's id (it may have been pruned)."""

    def __init__(self) -> None:
        super().__init__("there is no such task; `runq list` shows the jobs there are")


class UnknownSchedule(QueueError):
    """No schedule has this name."""

    def __init__(self, name: str) -> None:
        shown = f"`{name}`" if name.isprintable() else repr(name)
        super().__init__(f"there is no schedule {shown}; `runq schedule list` shows the schedules there are")


# How a person calls the states that are no adjectives, and which states the events of theirs need.
_STATES = {"succeeded": "has succeeded", "dead": "is a dead letter", "cancelled": "was cancelled"}
_NEEDED = {
    "approve": "only held jobs can be approved",
    "reject": "only held jobs can be rejected",
    "replay": "only jobs that have ended can be run again",
    "discard": "only dead letters can be discarded",
}


class InvalidTransition(QueueError):
    """The event is not in the table of transitions for the job's state."""

    def __init__(self, state: str, event: str, job_id: int | None = None) -> None:
        self.state, self.event = state, event
        which = "a job" if job_id is None else f"job {job_id}"
        needed = _NEEDED.get(event, f"`{event}` does not apply")
        hint = "" if job_id is None else "; nothing was changed"
        super().__init__(f"{which} {_STATES.get(state, f'is {state}')}; {needed}{hint}")


class QueueFull(QueueError):
    """The queue holds as many waiting jobs as this caller may add to."""


class QuotaFull(QueueFull):
    """This project or this session has as many waiting jobs as the user lets one have."""


class Denied(QueueError):
    """A rule of the user's forbids this command to agents; no job was made."""


class NotAllowed(QueueError):
    """The verb is a person's alone (approve, reject, allow)."""


class SpawnFailed(QueueError):
    """The program or its folder does not exist or cannot be executed; no retry cures that."""


class StoreError(QueueError):
    """The database cannot be used as it is; the message says what to do about it."""


class StoreBusy(StoreError):
    """The database's lock was not free within the time allowed."""


class StoreFull(StoreError):
    """The disk has no room for another transaction."""


class StoreReadOnly(StoreFull):
    """The file system takes no writes, as if it were full: it may take them again."""


class StoreTooNew(StoreError):
    """A newer runq has written this database; this one is too old to touch it."""


class HomeError(QueueError):
    """The folder that runq keeps its files in is not safe or not fit to be used."""


class SettingsError(UsageError):
    """A setting has a value that makes no sense; the message names where it stands."""


class KeeperError(QueueError):
    """The process that is to be the parent of commands did not start or answer."""


class WorkerError(QueueError):
    """A worker process did not start."""

"""From a lease to what the keeper is asked for. What a command gets is decided here and nowhere else."""

from __future__ import annotations

import errno
import os
import stat
from typing import TYPE_CHECKING, Any

from queue_core.home import make_folder
from queue_core.keeper.records import InTheWay

if TYPE_CHECKING:
    from queue_core.environment import Environments
    from queue_core.home import Home
    from queue_core.jobs import Lease
    from queue_core.settings import Settings


def spawn_request(lease: Lease, home: Home, settings: Settings, environments: Environments) -> dict[str, Any]:
    """One command as a keeper is asked to start it."""
    run_dir = home.run(lease.job, lease.claim)
    own = {
        "RUNQ_JOB_ID": str(lease.job),
        "RUNQ_CLAIM": str(lease.claim),
        "RUNQ_HOME": home.data,
        "RUNQ_PROGRESS": run_dir + "/progress",
        "PWD": lease.cwd,
    }
    if lease.escalated_from is not None:
        own["RUNQ_ESCALATED_FROM"] = str(lease.escalated_from)
    return {
        "job": lease.job,
        "claim": lease.claim,
        "token": lease.token,
        "dir": run_dir,
        # What an agent's job runs is what was shown and approved; a link may have been moved since.
        "program": lease.program if lease.caller == "agent" else lease.executable,
        "argv": list(lease.argv),
        "cwd": lease.cwd,
        "env": environments.for_command(lease.env, caller=lease.caller, own=own),
        "stdin": _stdin(lease, home),
        "timeout": lease.timeout,
        "grace": settings.grace,
        "cap": settings.output_cap,
        "confined": lease.caller == "agent",
    }


def _stdin(lease: Lease, home: Home) -> str | None:
    """The file that the command reads; input kept in the database becomes one for as long as it runs."""
    if lease.stdin is None:
        return lease.stdin_path
    make_folder(home.path("runs"))
    folder = make_folder(home.path("runs", str(lease.job)))
    if not stat.S_ISDIR(os.lstat(folder).st_mode):  # a link that an earlier attempt's command has put there
        raise InTheWay(errno.ENOTDIR, os.strerror(errno.ENOTDIR), folder)
    path = home.input(lease.job, lease.claim)
    home.remove_input(lease.job, lease.claim)  # the same
    try:
        descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC, 0o600)
    except (FileExistsError, PermissionError) as error:
        raise InTheWay(error.errno, error.strerror, path) from None
    with os.fdopen(descriptor, "wb") as file:
        file.write(lease.stdin)
    return path

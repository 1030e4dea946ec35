"""Where runq keeps its files, and whether that folder is safe to use.

One folder of the user's own, 0700, on a local file system: the database, the commands' runs and
output, the spool, the logs. `RUNQ_HOME` moves everything; without it the data lies in the user's data
directory and the configuration in the user's config directory. (platformdirs would find both, but
costs the hook path more than the rest of `runq add`.)
"""

from __future__ import annotations

import os
import stat
import sys

from queue_core import errors
from queue_core.value import Frozen

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Mapping

NETWORK_FILE_SYSTEMS = frozenset({"nfs", "nfs4", "cifs", "smb3", "smbfs", "9p", "afs", "ceph", "glusterfs"})


class Home(Frozen):
    """The folder of one queue and the paths inside it."""

    data: str
    config: str

    def path(self, *names: str) -> str:
        """A path inside the data folder."""
        return os.path.join(self.data, *names)

    @property
    def database(self) -> str:
        return self.data + "/runq.db"

    @property
    def write_lock(self) -> str:
        """Held by flock for every write transaction and every checkpoint."""
        return self.data + "/runq.lock"

    @property
    def ballast(self) -> str:
        """Room that is kept for how jobs ended, on a full disk."""
        return self.data + "/ballast"

    @property
    def damaged(self) -> str:
        """Says that the database was found damaged, and of what kind the damage is."""
        return self.data + "/damaged"

    @property
    def bells(self) -> str:
        return self.data + "/bells"

    @property
    def spool(self) -> str:
        return self.data + "/spool"

    @property
    def backups(self) -> str:
        return self.data + "/backups"

    @property
    def backup_lock(self) -> str:
        """Held by flock for every backup and every restore, so that one is at work at a time."""
        return self.backups + "/lock"

    @property
    def restoring(self) -> str:
        """Where a restore makes ready what it will put in place."""
        return self.data + "/restoring"

    @property
    def settings_file(self) -> str:
        return self.config + "/config.toml"

    @property
    def rules_file(self) -> str:
        return self.config + "/rules.toml"

    def run(self, job: int, claim: int) -> str:
        """The folder of one claim: its record and its output."""
        return f"{self.data}/runs/{job}/{claim}"

    def input(self, job: int, claim: int) -> str:
        """What a claim's command reads, if the database keeps it: a file for as long as it runs."""
        return self.run(job, claim) + ".stdin"

    def remove_input(self, job: int, claim: int) -> None:
        """The command has ended; a file that cannot be removed goes with the job's others."""
        try:
            os.unlink(self.input(job, claim))
        except OSError:
            pass

    def keeper(self, keeper_id: str) -> str:
        return f"{self.data}/keepers/{keeper_id}"

    def worker_lock(self, worker_id: str) -> str:
        """A worker holds a flock on this file for as long as it lives."""
        return f"{self.data}/workers/{worker_id}.lock"


def locate(environ: Mapping[str, str]) -> Home:
    """The home that the environment names, as full paths; nothing is created or checked. HomeError if it names none."""
    default = _default(environ)
    given = environ.get("RUNQ_HOME")
    if not given:
        if not default.data[0] == default.config[0] == "/":  # a user without an entry, or a HOME that is no full path
            raise errors.HomeError("it is not known where your home folder is; set HOME, or RUNQ_HOME, to a full path")
        return default
    data = os.path.abspath(os.path.expanduser(given))
    # A command is told its queue's home; where that is the usual one, so is its configuration.
    return default if data == default.data else Home(data=data, config=data)


def _default(environ: Mapping[str, str]) -> Home:
    user = environ["HOME"] if "HOME" in environ else os.path.expanduser("~")
    user = user.rstrip("/") if user else "."  # nothing is no full path, but nothing before a slash is the root
    if sys.platform == "darwin":
        support = user + "/Library/Application Support/runq"
        return Home(data=support, config=support)
    data = _full_path(environ.get("XDG_DATA_HOME")) or user + "/.local/share"
    config = _full_path(environ.get("XDG_CONFIG_HOME")) or user + "/.config"
    return Home(data=data + "/runq", config=config + "/runq")


def _full_path(path: str | None) -> str | None:
    """The path, if it means the same everywhere: others are to be ignored, as the XDG specification says."""
    return path if path and path[0] == "/" else None


def prepare(home: Home) -> None:
    """Make the home's folder if it is missing; refuse one that others can read or that is not ours."""
    try:
        found = os.stat(home.data)
    except FileNotFoundError:
        _create(home)
        return
    except OSError as error:
        raise errors.HomeError(
            f"{home.data} cannot be used ({error.strerror}); set RUNQ_HOME to another folder"
        ) from None
    if not stat.S_ISDIR(found.st_mode):
        raise errors.HomeError(f"{home.data} is not a folder; move it away or set RUNQ_HOME to another place")
    if found.st_uid != os.geteuid():
        raise errors.HomeError(f"{home.data} belongs to another user; set RUNQ_HOME to a folder of your own")
    if found.st_mode & 0o077:
        raise errors.HomeError(
            f"{home.data} is open to other users; check what is in it, then run `chmod 700 {home.data}`"
        )


def _create(home: Home) -> None:
    try:
        make_folders(home.data)
    except OSError as error:
        raise errors.HomeError(
            f"{home.data} could not be made ({error.strerror}); set RUNQ_HOME to a folder of your own"
        ) from None
    refuse_network_file_system(home.data)


def make_folders(path: str) -> None:
    """A folder and whatever above it is missing, each for its user alone, whatever the umask. OSError."""
    if not os.path.isdir(path):
        if (above := os.path.dirname(path)) != path:
            make_folders(above)
        try:
            os.mkdir(path, 0o700)
        except FileExistsError:
            if not os.path.isdir(path):
                raise
        else:
            _sync_if_readable(above)  # what is durable inside it is found again


def _sync_if_readable(folder: str) -> None:
    try:
        sync(folder)
    except PermissionError:  # one may be allowed to make folders where one may not look
        pass


def free_mib(path: str) -> float:
    """Disk space that is free for this user, in MiB; no end of it where the file system knows of none (a tmpfs may)."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize / (1024 * 1024) if found.f_blocks else float("inf")


def make_folder(path: str) -> str:
    """A 0700 folder inside the home, made on first use."""
    try:
        os.mkdir(path, 0o700)
    except FileExistsError:
        pass
    except OSError as error:
        raise errors.HomeError(f"{path} could not be made ({error.strerror})") from None
    return path


def sync(path: str) -> None:
    """Have a file, or a folder's list of names, on the disk."""
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def refuse_network_file_system(path: str) -> None:
    """SQLite's WAL needs shared memory, and flock its meaning: no network file system has both."""
    kind = file_system(path)
    if kind is not None and (kind in NETWORK_FILE_SYSTEMS or kind.startswith("fuse.")):
        raise errors.HomeError(
            f"{path} lies on a network file system ({kind}), where a SQLite queue is not safe; "
            "set RUNQ_HOME to a local folder, or RUNQ_DATABASE_URL to a PostgreSQL server"
        )


def file_system(path: str) -> str | None:
    """The type of the file system below a path, where the system tells (Linux)."""
    try:
        with open("/proc/self/mountinfo", encoding="utf-8", errors="surrogateescape") as file:
            mounts = [line.split() for line in file]
    except OSError:
        return None
    real = os.path.realpath(path)
    best, kind = "", None
    for fields in mounts:
        point = fields[4].replace("\\040", " ")
        inside = real == point or real.startswith(point.rstrip("/") + "/")
        if inside and len(point) >= len(best):
            best, kind = point, fields[fields.index("-") + 1]
    return kind

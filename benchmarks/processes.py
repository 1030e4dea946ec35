"""Processes: how long one takes, what it has in memory, what it has used of a core."""

from __future__ import annotations

import os
import subprocess
import time
from collections.abc import Callable, Generator, Sequence
from contextlib import contextmanager

MIB = 1024  # KiB


def seconds_of(command: list[str], env: dict[str, str], stdin: str = os.devnull) -> float:
    """Seconds of wall time from spawn to exit; an error if it fails."""
    actions = [
        (os.POSIX_SPAWN_OPEN, 0, stdin, os.O_RDONLY, 0),
        (os.POSIX_SPAWN_OPEN, 1, os.devnull, os.O_WRONLY, 0),
    ]
    began = time.perf_counter()
    pid = os.posix_spawnp(command[0], command, env, file_actions=actions)
    _, status = os.waitpid(pid, 0)
    took = time.perf_counter() - began
    if status:
        raise RuntimeError(f"{' '.join(command)[:80]} failed with wait status {status}")
    return took


def timed(command: Sequence[str], env: dict[str, str], *, cwd: str | None = None, timeout: float = 300) -> float:
    """The same with a bound, for what takes long."""
    began = time.perf_counter()
    subprocess.run(
        command,
        env=env,
        cwd=cwd,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
        timeout=timeout,
        check=True,
    )
    return time.perf_counter() - began


@contextmanager
def running(
    command: Sequence[str], env: dict[str, str], *, keep_stdin: bool = False
) -> Generator[subprocess.Popen[bytes]]:
    """A process for as long as the block runs; then it is asked to end, and made to."""
    stdin = subprocess.PIPE if keep_stdin else subprocess.DEVNULL
    with subprocess.Popen(
        command, env=env, cwd=env.get("HOME"), stdin=stdin, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
    ) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(15)
            except subprocess.TimeoutExpired:
                process.kill()


def family(pid: int) -> list[int]:
    """A process and all that descend from it."""
    parents: dict[int, list[int]] = {}
    for name in os.listdir("/proc"):
        if name.isdigit():
            try:
                with open(f"/proc/{name}/stat") as file:
                    parents.setdefault(int(file.read().rpartition(") ")[2].split()[1]), []).append(int(name))
            except OSError:
                continue
    found = [pid]
    for one in found:
        found += parents.get(one, [])
    return found


def cpu_seconds(pids: Sequence[int]) -> float:
    """What all threads of these processes have used of a core, to the nanosecond."""
    total = 0
    for pid in pids:
        for task in os.listdir(f"/proc/{pid}/task"):
            with open(f"/proc/{pid}/task/{task}/schedstat") as file:
                total += int(file.read().split()[0])
    return total / 1e9


def memory(pid: int) -> dict[str, float]:
    """MiB by name, as the kernel tells: Rss, Pss, and VmHWM (the most it has ever had)."""
    found: dict[str, float] = {}
    for source in ("smaps_rollup", "status"):
        with open(f"/proc/{pid}/{source}") as file:
            for line in file:
                name, _, rest = line.partition(":")
                if rest.endswith("kB\n"):
                    found[name] = int(rest.split()[0]) / MIB
    return found


def until(predicate: Callable[[], object], what: str, timeout: float = 30) -> None:
    """Wait until it is so; TimeoutError by that name."""
    end = time.monotonic() + timeout
    while not predicate():
        if time.monotonic() > end:
            raise TimeoutError(f"waited {timeout:g} s in vain: {what}")
        time.sleep(0.004)

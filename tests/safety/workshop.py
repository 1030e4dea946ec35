"""A developer's project with everything hostile beside it, and an agent that queues the whole table there."""

from __future__ import annotations

import os
import shlex
import shutil
import sqlite3
import subprocess
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import anyio

from queue_core.shapes import is_list, is_object
from tests.helpers import short_folder
from tests.mcp.places import Place, said
from tests.safety.vectors import BENIGN, EXTRAS, HOSTILE, RULES

# Fakes even where there is the real one: slow ones, and those that would hurt the machine if they ever got through.
ALWAYS_FAKE = """
    pytest npm black ruff gh docker rg cargo go pip mytool make date crontab at systemd-run ssh scp rsync curl wget npx
    claude runq runq-mcp watch gdb strace
""".split()  # noqa: SIM905
GIT = ("-c", "user.name=a", "-c", "user.email=a@example.org", "-c", "init.defaultBranch=main")


class Workshop(Place):
    """The place, with a PATH that ends in fakes of what is not installed."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder)
        self.outside, self.evil, self.fakes = folder / "outside", folder / "outside" / "bin", folder / "fakes"
        self.canaries = folder / "canaries"
        for made in (self.outside, self.evil, self.fakes, self.canaries, folder / "user"):
            made.mkdir()
        self.user = folder / "user"
        self._furnish()
        self.rules(self._rules())

    @property
    def environ(self) -> dict[str, str]:
        path = f"{self.fakes}:{os.environ['PATH']}:{self.fakes}/rest"
        return {**super().environ, "PATH": path, "HOME": str(self.user)}

    def texts(self, number: int) -> dict[str, str]:
        """What stands for the names in braces in a vector's texts."""
        return {
            "c": f"{self.canaries}/{number}",
            "p": str(self.project),
            "o": str(self.outside),
            "e": str(self.evil),
            "home": str(self.home),
        }

    # what there is

    def _furnish(self) -> None:
        script = "#!/bin/sh\nexit 0\n"
        evil = f"#!/bin/sh\ntouch {self.canaries}/evil\n"
        project = self.project
        files = {
            "src/a.py": "hello\n", "src/b.py": "b\n", "src/a.sh": evil, "tests/test_a.py": "", "package.json": "{}",
            "src/evil.py": f"open('{self.canaries}/evil', 'w')\n", "src/arguments": "-pevil", "Makefile": "test:\n",
        }  # fmt: skip
        for name, text in files.items():
            write(project / name, text)
        for name in ("scripts/build", "scripts/lint"):
            write(project / name, script, 0o755)
        for name in ("git", "evil/build", "evil/scripts/build", "g\u0456t"):
            write(project / name, evil, 0o755)
        (project / "bin").mkdir()
        (project / "bin/git").symlink_to("/bin/sh")
        for name in ("touch", "git", "sh", "x.so", "x.py", "x.sh", "x.js"):
            write(self.evil / name, evil, 0o755)
        write(self.outside / "secret", "SECRET\n")
        write(self.outside / "test_evil.py", f"open('{self.canaries}/evil', 'w')\n")
        (project / "way-out").symlink_to(self.outside)
        (project / "leak").symlink_to(self.outside / "secret")
        subprocess.run(["tar", "-cf", "a.tar", "src"], cwd=project, check=True)
        for name in ALWAYS_FAKE:
            write(self.fakes / name, script, 0o755)
        for name in {rule.split()[0] for rule in RULES.split("\n") if rule} | {"runq", "runq-mcp", "claude"}:
            if "/" not in name and shutil.which(name) is None:
                write(self.fakes / "rest" / name, script, 0o755)
        self._repositories()

    def _repositories(self) -> None:
        evil = str(self.evil / "touch")
        project = self.project
        repository(project, "src")
        repository(self.outside / "evil", config=f"[core]\n\tfsmonitor = {evil}\n")
        repository(project / "nested", config=f"[core]\n\tfsmonitor = {evil}\n")
        write(self.outside / "included", f"[core]\n\tfsmonitor = {evil}\n")
        repository(project / "included", config=f"[include]\n\tpath = {self.outside}/included\n")
        repository(project / "hooked")
        write(project / "hooked/.git/hooks/post-index-change", f"#!/bin/sh\ntouch {self.canaries}/evil\n", 0o755)
        repository(project / "committing")
        write(project / "committing/.git/hooks/pre-commit", f"#!/bin/sh\ntouch {self.canaries}/evil\n", 0o755)
        shutil.copytree(project / "nested/.git", project / "bare")
        write(project / "pointing/.git", "gitdir: ../nested/.git\n")
        repository(project / "super")
        repository(project / "super/sub", config=f"[core]\n\tfsmonitor = {evil}\n")
        git(project / "super", "-c", "advice.addEmbeddedRepo=false", "add", "sub")

    def _rules(self) -> str:
        """As `runq allow` writes them: with the program's real path as the agent's PATH finds it."""
        tables: list[str] = []
        for pattern in filter(None, RULES.split("\n")):
            argv = pattern.split()
            program = shutil.which(argv[0], path=self.environ["PATH"]) or str(self.project / argv[0])
            words = ", ".join(f"'{word}'" for word in argv)
            tables.append(f"[[allow]]\nargv = [{words}]\nprogram = '{os.path.realpath(program)}'")
            tables.append(EXTRAS.get(pattern, ""))
        return "\n".join(tables) + "\n"

    # what becomes of it

    def attempts(self) -> dict[int, int]:
        """How many attempts each job has had."""
        connection = sqlite3.connect(self.home / "runq.db")
        rows = connection.execute("SELECT job, count(*) FROM attempts GROUP BY job").fetchall()
        connection.close()
        return dict(rows)


class Outcome:
    """What a vector came to: the tool's reply, or what it said when it refused."""

    def __init__(self, reply: dict[str, Any] | None, refusal: str | None) -> None:
        self.reply, self.refusal = reply, refusal

    @property
    def id(self) -> int | None:
        return self.reply["id"] if self.reply else None

    def __repr__(self) -> str:
        return str(self.reply or self.refusal)[:600]


class Verdicts:
    """Everything queued by an agent, and drained by a real worker afterwards."""

    def __init__(self, shop: Workshop) -> None:
        self.shop = shop
        self.benign: dict[str, Outcome] = {}
        self.hostile: dict[str, Outcome] = {}
        self.handed_over: dict[str, Outcome] = {}
        anyio.run(self._queue_everything)
        shop.cli("process-queue")
        self.states = shop.queue.states_of([one.id for one in self._all() if one.id])
        self.attempts = shop.attempts()

    def _all(self) -> list[Outcome]:
        return [*self.benign.values(), *self.hostile.values(), *self.handed_over.values()]

    async def _queue_everything(self) -> None:
        async with self.shop.client() as client:
            for number, (name, vector) in enumerate(BENIGN.items()):
                self.benign[name] = await _enqueue(client, self._filled(vector, number))
            for number, (name, vector) in enumerate(HOSTILE.items()):
                fields = self._filled(vector, 1000 + number)
                self.hostile[name] = await _enqueue(client, fields)
                if set(fields) == {"argv"} and len(str(fields)) < 50_000:
                    step = {"argv": ["git", "status"], "on_dead": [fields["argv"]]}
                    self.handed_over[name] = await _enqueue(client, step)

    def _filled(self, vector: dict[str, Any] | str, number: int) -> dict[str, Any]:
        texts = self.shop.texts(number)
        if isinstance(vector, str):
            return {"argv": [fill(word, texts) for word in shlex.split(vector)]}
        return {key: fill(value, texts) for key, value in vector.items()}


def fill(value: Any, texts: dict[str, str]) -> Any:
    """The same with the names in braces filled in."""
    if isinstance(value, str):
        for name, text in texts.items():
            value = value.replace("{" + name + "}", text)
        return value.replace("{{", "{").replace("}}", "}")
    if is_list(value):
        return [fill(one, texts) for one in value]
    if is_object(value):
        return {name: fill(one, texts) for name, one in value.items()}
    return value


async def _enqueue(client: Any, fields: dict[str, Any]) -> Outcome:
    result = await client.call_tool("enqueue", fields)
    return Outcome(None, said(result)) if result.is_error else Outcome(result.structured_content, None)


def write(path: Path, text: str, mode: int = 0o644) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(text)
    path.chmod(mode)


def git(folder: Path, *words: str) -> None:
    subprocess.run(["git", *GIT, *words], cwd=folder, check=True, capture_output=True)


def repository(folder: Path, *added: str, config: str = "") -> None:
    """A repository with one commit, and then with this in its configuration."""
    folder.mkdir(exist_ok=True)
    git(folder, "init", "-q")
    if added:
        git(folder, "add", *added)
    git(folder, "commit", "-q", "--allow-empty", "-m", "first")
    with (folder / ".git/config").open("a") as file:
        file.write(config)


@contextmanager
def workshop() -> Generator[Workshop]:
    with short_folder() as folder, Workshop(folder) as shop:
        yield shop

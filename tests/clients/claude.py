"""The real Claude Code in a home of the test's, with a scripted model: `claude -p`, or on a terminal."""

from __future__ import annotations

import fcntl
import json
import os
import pty
import signal
import struct
import subprocess
import sys
import termios
import threading
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path
from typing import IO, Any, Self

from tests.clients.installed import CLAUDE, program
from tests.clients.scripted_model import ScriptedModel
from tests.helpers import wait_until
from tests.mcp.places import ROOT, Place

PLUGIN = f"{ROOT}/plugin"
KEY = "sk-ant-none-of-any-worth"
PROMPT = "❯".encode()  # what a terminal shows where one can type
SESSION_SECONDS = 300  # for a whole session: one that says nothing must fail its test, not hang it
BY_HAND = ("--strict-mcp-config", "--mcp-config", json.dumps({"mcpServers": {"runq": {"command": "runq-mcp"}}}))


def hooked(*arguments: str, timeout: int = 5) -> dict[str, Any]:
    """A hook that calls runq, as it stands in settings."""
    return {"hooks": [{"type": "command", "command": "runq", "args": list(arguments), "timeout": timeout}]}


def settings(**hooks: dict[str, Any]) -> tuple[str, str]:
    """The option that gives a session these hooks."""
    return "--settings", json.dumps({"hooks": {event: [hook] for event, hook in hooks.items()}})


def environ(place: Place, url: str = "http://127.0.0.1:9") -> dict[str, str]:
    """What Claude Code is started with: no real home, no real key, no endpoint but the script's."""
    home = place.home.parent / "claude"
    (home / ".claude").mkdir(parents=True, exist_ok=True)
    theirs = {name: value for name, value in place.environ.items() if name != "CLAUDE_PROJECT_DIR"}
    return {
        **theirs,
        "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",  # where runq and runq-mcp are
        "HOME": str(home),
        "CLAUDE_CONFIG_DIR": str(home / ".claude"),
        "ANTHROPIC_BASE_URL": url,
        "ANTHROPIC_API_KEY": KEY,
        "CLAUDE_CODE_DISABLE_NONESSENTIAL_TRAFFIC": "1",
        "DISABLE_AUTOUPDATER": "1",
    }


def claude(place: Place, *arguments: str) -> str:
    """What one of its commands says, such as `claude plugin install`."""
    done = subprocess.run(
        [program(CLAUDE, "claude"), *arguments],
        env=environ(place),
        cwd=place.project,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=SESSION_SECONDS,
        check=False,
    )
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def has_a_server(place: Place) -> bool:
    """Whether a session's server listens for changes. One that was killed leaves a bell that nobody hears."""
    return any(is_heard(bell) for bell in (place.home / "bells").glob("watch-*"))


def is_heard(bell: Path) -> bool:
    """Whether a process has this FIFO open."""
    try:
        os.close(os.open(bell, os.O_WRONLY | os.O_NONBLOCK))
    except OSError:
        return False
    return True


class Session:
    """One session. Leaving it kills what is left of its process group; workers and commands have their own."""

    def __init__(
        self,
        place: Place,
        model: ScriptedModel,
        *options: str,
        tools: str = "mcp__runq,Write",
        user: Callable[[str], str] | None = None,
    ) -> None:
        arguments = ("-p", "--verbose", "--model", "sonnet", "--allowedTools", tools, "--include-hook-events")
        streams = ("--input-format", "stream-json", "--output-format", "stream-json")
        self.events: list[dict[str, Any]] = []  # all that it has said
        self._user = user
        self._stderr = place.home.parent / "claude.stderr"
        with self._stderr.open("w") as stderr:
            self.process = subprocess.Popen(
                [program(CLAUDE, "claude"), *arguments, *streams, *options],
                env=environ(place, model.url),
                cwd=place.project,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                text=True,
                start_new_session=True,
            )
        self._limit = threading.Timer(SESSION_SECONDS, self.process.kill)
        self._limit.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._limit.cancel()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        for stream in (self.process.stdin, self.process.stdout):
            if stream is not None:
                with suppress(BrokenPipeError):
                    stream.close()

    def connect(self) -> None:
        """Chat until runq's server is there: a client does not wait with its first turn for every server."""

        def connected() -> bool:
            self.ask("hello")
            return {server["status"] for server in self.start["mcp_servers"]} == {"connected"}

        wait_until(connected, "the server is connected", 60)

    def send(self, prompt: str) -> None:
        """Say something, without waiting for what comes of it."""
        self._write(type="user", message={"role": "user", "content": prompt})

    def ask(self, prompt: str) -> str:
        """What is answered at the end of the turn. What the server asks its user, `user` answers."""
        self.send(prompt)
        for line in self._pipe(self.process.stdout):
            event = json.loads(line)
            self.events.append(event)
            if event["type"] == "control_request":
                assert self._user, event
                answer = {"action": "accept", "content": {"answer": self._user(event["request"]["message"])}}
                response = {"subtype": "success", "request_id": event["request_id"], "response": answer}
                self._write(type="control_response", response=response)
            if event["type"] == "result":
                assert event["subtype"] == "success" and not event["is_error"], event
                return event["result"]
        raise AssertionError(f"Claude Code ended without an answer: {self.said_wrong}")

    def end(self) -> int:
        """As its user does; the exit code."""
        self._pipe(self.process.stdin).close()
        self.events += [json.loads(line) for line in self._pipe(self.process.stdout)]
        return self.process.wait()

    @property
    def start(self) -> dict[str, Any]:
        """What it knew of as its latest turn began: tools, servers, plugins, skills, commands."""
        return next(event for event in reversed(self.events) if event.get("subtype") == "init")

    @property
    def hooks(self) -> dict[str, list[dict[str, Any]]]:
        """How hooks ended, by their event. What those of SessionEnd say is on stderr alone, if anything."""
        ended: dict[str, list[dict[str, Any]]] = {}
        for event in self.events:
            if event.get("subtype") == "hook_response":
                ended.setdefault(event["hook_event"], []).append(event)
        return ended

    @property
    def said_wrong(self) -> str:
        """Its stderr."""
        return self._stderr.read_text()

    def _write(self, **event: Any) -> None:
        stdin = self._pipe(self.process.stdin)
        stdin.write(json.dumps(event) + "\n")
        stdin.flush()

    def _pipe(self, pipe: IO[str] | None) -> IO[str]:
        assert pipe
        return pipe


class Terminal:
    """An interactive session on a pseudo terminal. What comes of its keys is looked up in what the model was shown."""

    def __init__(self, place: Place, model: ScriptedModel, *options: str) -> None:
        self._place, self._model = place, model
        self._seen = b""  # what it has written
        self._ours, theirs = pty.openpty()
        fcntl.ioctl(theirs, termios.TIOCSWINSZ, struct.pack("HHHH", 50, 150, 0, 0))
        variables = environ(place, model.url) | {"TERM": "xterm-256color"}
        self._past_the_first_start(Path(variables["CLAUDE_CONFIG_DIR"]), place)
        self.process = subprocess.Popen(
            [program(CLAUDE, "claude"), "--model", "sonnet", "--allowedTools", "mcp__runq", *options],
            env=variables,
            cwd=place.project,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
        )
        os.close(theirs)
        self._limit = threading.Timer(SESSION_SECONDS, self.process.kill)
        self._reader = threading.Thread(target=self._read)
        self._limit.start()
        self._reader.start()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self._limit.cancel()
        with suppress(ProcessLookupError):
            os.killpg(self.process.pid, signal.SIGKILL)
        self.process.wait()
        self._reader.join()
        os.close(self._ours)

    def connect(self) -> None:
        """Chat until the model knows of runq's tools."""
        wait_until(lambda: PROMPT in self._seen, "it takes keys", 60)
        wait_until(lambda: has_a_server(self._place), "the server is up", 60)

        def connected() -> bool:
            self.ask("hello")
            return "mcp__runq__run" in self._model.shown

        wait_until(connected, "the server is connected", 60)

    def ask(self, prompt: str) -> None:
        """Type one word (spaces are drawn as moves). Comes back when the model is asked, before it has answered."""
        before = len(self._model.requests)
        self._seen = b""
        os.write(self._ours, prompt.encode())
        wait_until(lambda: prompt.encode() in self._seen, f"`{prompt}` stands in the input", 30)
        os.write(self._ours, b"\r")
        wait_until(lambda: len(self._model.requests) > before, "the model is asked", 30)

    def _read(self) -> None:
        with suppress(OSError):  # the other end is closed
            while data := os.read(self._ours, 65_536):
                self._seen += data

    def _past_the_first_start(self, folder: Path, place: Place) -> None:
        """What it would ask its user at the very first start has been answered."""
        answers = {
            "hasCompletedOnboarding": True,
            "customApiKeyResponses": {"approved": [KEY[-20:]], "rejected": []},
            "projects": {str(place.project): {"hasTrustDialogAccepted": True}},
        }
        (folder / ".claude.json").write_text(json.dumps(answers))

"""A real uvicorn process around an example, in a home of its own, and what its users do to it."""

from __future__ import annotations

import http.client
import json
import re
import signal
import subprocess
import sys
from typing import TYPE_CHECKING, Any

import pytest

from tests.helpers import wait_until
from tests.worker.conftest import PATIENCE, ROOT, Rig

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

EXAMPLES = ROOT / "examples"


class Server:
    """One uvicorn process."""

    def __init__(self, app: str, folder: Path, rig: Rig, env: dict[str, str]) -> None:
        self._log_path = rig.folder / "server.log"
        self._said_before = len(self._text())
        with self._log_path.open("a") as log_file:
            self.popen = subprocess.Popen(
                [sys.executable, "-m", "uvicorn", app, "--app-dir", str(folder), "--port", "0"],
                env={**rig.env, "PYTHONUNBUFFERED": "1", **env},
                cwd=rig.folder,
                stdin=subprocess.DEVNULL,
                stdout=log_file,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        self.port = self._find_port()

    def _text(self) -> str:
        return self._log_path.read_text() if self._log_path.exists() else ""

    def log(self) -> str:
        """What this process has said."""
        return self._text()[self._said_before :]

    def _find_port(self) -> int:
        def said() -> re.Match[str] | None:
            assert self.popen.poll() is None, self.log()
            return re.search(r"running on http://127\.0\.0\.1:(\d+)", self.log())

        found = wait_until(said, "the server is up", PATIENCE)
        assert found is not None
        return int(found[1])

    def ask(self, method: str, path: str, body: object = None) -> tuple[int, Any]:
        """One request: the answer's status and JSON."""
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            data = None if body is None else body if isinstance(body, str) else json.dumps(body)
            connection.request(method, path, data)
            answer = connection.getresponse()
            return answer.status, json.loads(answer.read())
        finally:
            connection.close()

    def get(self, path: str) -> Any:
        status, answer = self.ask("GET", path)
        assert status == 200, (path, status, answer)
        return answer

    def kill(self) -> None:
        """SIGKILL, and wait until it is gone."""
        self.popen.kill()
        self.popen.wait(PATIENCE)

    def terminate(self) -> None:
        """What a service manager does first; does not wait."""
        self.popen.send_signal(signal.SIGTERM)

    def left(self) -> None:
        """Wait until it has ended by itself."""
        self.popen.wait(PATIENCE)


class Site:
    """An example, its home, and the servers that a test has started one after the other."""

    def __init__(self, example: str, app: str, rig: Rig) -> None:
        self.rig = rig
        self.folder = EXAMPLES / example
        self._app = app
        self._servers: list[Server] = []

    def start(self, **env: str) -> Server:
        server = Server(self._app, self.folder, self.rig, env)
        self._servers.append(server)
        return server

    def close(self) -> None:
        for server in self._servers:
            if server.popen.poll() is None:
                server.kill()
        self.rig.close()


@pytest.fixture
def site_of(tmp_path: Path) -> Iterator[Callable[[str, str], Site]]:
    """An example's site: `site_of("transcription", "service:app")`."""
    made: list[Site] = []

    def make(example: str, app: str) -> Site:
        made.append(Site(example, app, Rig(tmp_path)))
        return made[-1]

    yield make
    for site in made:
        site.close()

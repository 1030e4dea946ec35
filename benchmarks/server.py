"""What runq's MCP server costs beside a bare one of the same SDK: until its first answer, and while it idles.

Both start in turn over stdio, in both eras of the protocol: the time from the spawn to the first answer, and to the
list of tools; then, after a second of idling, the memory (resident, and proportional to who shares it).
"""

from __future__ import annotations

import json
import statistics
import subprocess
import sys
import time
from collections.abc import Callable
from typing import NamedTuple

from benchmarks.ground import BIN
from benchmarks.measure import How, ratio, tell
from benchmarks.results import Result, Row, Target

TITLE = "The MCP server, beside a bare one"
SAYS = (
    "Milliseconds from the spawn to the first answer, and to the list of tools, in both eras of the protocol; MiB after"
    " a second of idling. The bare server is the same SDK's, with one tool that says hello."
)
ROUNDS = 7

BARE = """
from mcp.server.mcpserver import MCPServer
server = MCPServer("bare")
@server.tool()
def hello(name: str) -> str:
    "Say hello."
    return "hello " + name
server.run("stdio")
"""
COMMANDS = {"a bare server": [sys.executable, "-c", BARE], "runq-mcp": [f"{BIN}/runq-mcp"]}
CLIENT = {"name": "bench", "version": "1"}
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": CLIENT,
    "io.modelcontextprotocol/clientCapabilities": {},
}
HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": CLIENT}
ERAS: dict[str, tuple[tuple[str, object], tuple[str, object]]] = {
    "2025-11-25": (("initialize", HELLO), ("tools/list", {})),
    "2026-07-28": (("server/discover", {"_meta": META}), ("tools/list", {"_meta": META})),
}
IDLE = 1.0  # seconds


class Cost(NamedTuple):
    """Seconds, and MiB."""

    first_answer: float
    tools: float
    resident: float
    proportional: float


def once(command: list[str], env: dict[str, str], era: str) -> Cost:
    """One session: start, first answer, tools, idle, end."""
    began = time.perf_counter()
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, env=env, cwd=env["HOME"]) as server:
        (first, hello), (second, no_more) = ERAS[era]
        ask = asking(server)
        ask(1, first, hello)
        answered = time.perf_counter() - began
        ask(2, second, no_more)
        listed = time.perf_counter() - began
        time.sleep(IDLE)
        memory = memory_of(server.pid)
        assert server.stdin
        server.stdin.close()
    return Cost(answered, listed, *memory)


def asking(server: subprocess.Popen[bytes]) -> Callable[[int, str, object], None]:
    """Ask and wait for the answer; it has to be a result."""
    assert server.stdin
    assert server.stdout
    stdin, stdout = server.stdin, server.stdout

    def ask(number: int, method: str, params: object) -> None:
        stdin.write(json.dumps({"jsonrpc": "2.0", "id": number, "method": method, "params": params}).encode() + b"\n")
        stdin.flush()
        for line in stdout:
            frame = json.loads(line)
            if frame.get("id") == number:
                assert "result" in frame, frame
                return
        raise RuntimeError(f"{server.args!r} ended without an answer to {method}")

    return ask


def memory_of(pid: int) -> tuple[float, float]:
    """What a process has in memory, and its share of that, in MiB."""
    found: dict[str, float] = {}
    with open(f"/proc/{pid}/smaps_rollup") as file:
        for line in file:
            name, _, rest = line.partition(":")
            if rest.endswith("kB\n"):
                found[name] = int(rest.split()[0]) / 1024
    return found["Rss"], found["Pss"]


def run(how: How) -> Result:
    """Both eras, both servers in turn."""
    rows: list[Row] = []
    proportions: list[float] = []
    for era in ERAS:
        tell(f"  {era} ...")
        env = how.ground.environ()
        for command in COMMANDS.values():
            once(command, env, era)  # caches, database
        count = how.rounds(ROUNDS)
        rounds = [{name: once(command, env, era) for name, command in COMMANDS.items()} for _ in range(count)]
        rows += [_row(name, era, rounds) for name in COMMANDS]
        proportions.append(
            ratio(*([one[name].resident for one in rounds] for name in ("runq-mcp", "a bare server"))) or 0
        )
    target = Target("an idle server's memory to a bare one's", 1.15, max(proportions), "×")
    return Result(TITLE, SAYS, "a bare server", rows, [target])


def _row(name: str, era: str, rounds: list[dict[str, Cost]]) -> Row:
    mine, bare = [one[name] for one in rounds], [one["a bare server"] for one in rounds]
    more = {
        heading: f"{statistics.median(cost[index] for cost in mine) * scale:.0f}"
        f" ({ratio([cost[index] for cost in mine], [cost[index] for cost in bare]):.2f} ×)"
        for index, (heading, scale) in enumerate(
            (("", 0), ("tools/list (ms)", 1000), ("resident (MiB)", 1), ("proportional (MiB)", 1))
        )
        if heading
    }
    first = [cost.first_answer * 1000 for cost in mine]
    compared = ratio(first, [cost.first_answer * 1000 for cost in bare])
    median = statistics.median(first)
    return Row(f"{name}, {era}", "", "ms", median, compared, min(first), max(first), more, first)

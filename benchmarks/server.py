"""What runq's MCP server costs beside a bare one of the same SDK: until its first answer, and while it idles.

Starts both in turn over stdio, in both eras of the protocol, so that the machine's moods hit all alike: the time from
the spawn to the first answer, and to the list of tools; then, after a second of idling, the memory (resident, and
proportional to who shares it). Prints medians and the median of the ratios run by run.

    python benchmarks/server.py [RUNS]
"""

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from typing import NamedTuple

BARE = """
from mcp.server.mcpserver import MCPServer
server = MCPServer("bare")
@server.tool()
def hello(name: str) -> str:
    "Say hello."
    return "hello " + name
server.run("stdio")
"""
RUNQ = f"{os.path.dirname(sys.executable)}/runq-mcp"
COMMANDS = {"a bare server": [sys.executable, "-c", BARE], "runq-mcp": [RUNQ]}
CLIENT = {"name": "bench", "version": "1"}
META = {
    "io.modelcontextprotocol/protocolVersion": "2026-07-28",
    "io.modelcontextprotocol/clientInfo": CLIENT,
    "io.modelcontextprotocol/clientCapabilities": {},
}
HELLO = {"protocolVersion": "2025-11-25", "capabilities": {}, "clientInfo": CLIENT}
ERAS = {
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
        raise SystemExit(f"{server.args!r} ended without an answer to {method}")

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


def main() -> None:
    runs = int(sys.argv[1]) if len(sys.argv) > 1 else 15
    for era in ERAS:
        with tempfile.TemporaryDirectory() as home:
            env = {"PATH": os.environ["PATH"], "HOME": home, "RUNQ_HOME": f"{home}/queue"}
            for command in COMMANDS.values():
                once(command, env, era)  # caches, database
            rounds = [{name: once(command, env, era) for name, command in COMMANDS.items()} for _ in range(runs)]
        print(f"{era:16}{'first answer':>20}{'tools/list':>20}{'resident':>20}{'proportional':>20}")
        bare = next(iter(COMMANDS))
        for name in COMMANDS:
            shown = ""
            for index, (unit, scale) in enumerate((("ms", 1000), ("ms", 1000), ("MiB", 1), ("MiB", 1))):
                median = statistics.median(one[name][index] for one in rounds) * scale
                ratio = statistics.median(one[name][index] / one[bare][index] for one in rounds)
                shown += f"{median:>10.1f} {unit:3} {ratio:5.2f}"
            print(f"{name:16}{shown}")


if __name__ == "__main__":
    main()

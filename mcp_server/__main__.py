"""`runq-mcp`, also `python -m mcp_server`: the MCP server over stdin and stdout."""

from __future__ import annotations

import sys

USAGE = """runq-mcp

Serve the queue to an MCP client over stdin and stdout. Clients start it; people use `runq`.

Example (Claude Code):
  claude mcp add runq -- runq-mcp"""


def main() -> None:
    """The console script."""
    arguments = sys.argv[1:]
    if arguments in (["--help"], ["-h"]):
        sys.stdout.write(USAGE + "\n")
        return
    if arguments == ["--version"]:
        from queue_core.version import VERSION

        sys.stdout.write(f"runq-mcp {VERSION}\n")
        return
    if arguments:
        sys.stderr.write(f"runq-mcp: does not know `{arguments[0]}`; see `runq-mcp --help`\n")
        sys.exit(2)
    _serve()


def _serve() -> None:
    from mcp_server.logs import log_to_home_too, log_to_stderr

    log_to_stderr()
    from mcp_server.server import make_server
    from mcp_server.session import Session
    from mcp_server.stdio import run_stdio

    server, bus = make_server(Session(on_open=log_to_home_too))
    run_stdio(server, changes=bus)


if __name__ == "__main__":
    main()

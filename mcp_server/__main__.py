"""`runq-mcp`, also `python -m mcp_server`: the MCP server over stdin and stdout, or over HTTP if asked for."""

from __future__ import annotations

import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import NoReturn

PORT = 8417
USAGE = f"""runq-mcp [--http [--port N]]

Serve the queue to an MCP client over stdin and stdout. Clients start it; people use `runq`.

  --http      serve over HTTP instead, on 127.0.0.1 alone, to clients that send the token
              which the server keeps in its own file (it says where); stays until it is ended
  --port N    listen on this port, {PORT} by default; 0 for any free one
  --version   say which version this is

Examples (Claude Code):
  claude mcp add runq -- runq-mcp
  runq-mcp --http     # in the project's folder, which is everybody's project then
  claude mcp add --transport http runq http://127.0.0.1:{PORT}/mcp \\
    --header "Authorization: Bearer $(cat ~/.config/runq/http-token)\""""


class _Refused(Exception):
    """What was typed makes no sense."""


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
    try:
        port = _port(arguments)
    except _Refused as refusal:
        _say_and_leave(str(refusal), 2)
    if port is None:
        _serve()
    else:
        _serve_http(port)


def _port(arguments: list[str]) -> int | None:
    """Where to serve over HTTP, None for stdio."""
    over_http, given = False, None
    rest = iter(arguments)
    for argument in rest:
        name, is_joined, value = argument.partition("=")
        if argument == "--http":
            over_http = True
        elif name == "--port":
            given = _port_number(value if is_joined else next(rest, ""))
        else:
            raise _Refused(f"does not know `{argument}`; see `runq-mcp --help`")
    if given is not None and not over_http:
        raise _Refused("--port is for HTTP; say `runq-mcp --http --port N`")
    if not over_http:
        return None
    return PORT if given is None else given


def _port_number(text: str) -> int:
    if text.isascii() and text.isdigit() and len(text) <= 5 and (int(text) == 0 or 1024 <= int(text) <= 65535):
        return int(text)
    raise _Refused("--port needs a number from 1024 to 65535, or 0 for any free port")


def _serve() -> None:
    from mcp_server.logs import log_to_home_too, log_to_stderr

    log_to_stderr()
    from mcp_server.server import make_server
    from mcp_server.session import Session
    from mcp_server.stdio import run_stdio

    server, bus = make_server(Session(on_open=log_to_home_too))
    run_stdio(server, changes=bus)


def _serve_http(port: int) -> None:
    import os

    from mcp_server.address import listen
    from mcp_server.bearer import token, token_file
    from mcp_server.logs import log_to_stderr
    from queue_core.errors import QueueError
    from queue_core.home import locate

    home = locate(os.environ)
    try:
        secret, listener = token(home), listen(port)
    except QueueError as error:
        _say_and_leave(str(error), error.exit_code)
    log_to_stderr()
    from mcp_server.http import run_http

    run_http(listener, secret, token_file(home))


def _say_and_leave(sentence: str, status: int) -> NoReturn:
    sys.stderr.write(f"runq-mcp: {sentence}\n")
    sys.exit(status)


if __name__ == "__main__":
    main()

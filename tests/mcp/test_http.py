"""`runq-mcp --http` from outside: who is let in, what strangers learn, how it starts and ends."""

import json
import os
import socket
import stat
import subprocess
import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest

from mcp_server.bearer import token
from queue_core.errors import SettingsError
from queue_core.home import locate
from tests.mcp.http_servers import (
    ACCEPT,
    INITIALIZE,
    JSON,
    MODULE_LIMIT,
    TOKEN,
    Served,
    command,
    exchange,
    listening_addresses,
    open_connection,
    staying,
    token_file,
)
from tests.mcp.places import Place

HOST = "Host: 127.0.0.1:{port}"
KNOWN = "Authorization: Bearer {token}"
LINUX_ONLY = pytest.mark.skipif(not Path("/proc/net/tcp").exists(), reason="asks the kernel by /proc")


@pytest.fixture(scope="module")
def served(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    with Place(tmp_path_factory.mktemp("http")) as place, Served(place, limit=MODULE_LIMIT) as server:
        yield server


# -- who is let in -------------------------------------------------------------------------------------------


@pytest.mark.parametrize("host", ["127.0.0.1", "localhost"])
@pytest.mark.parametrize("origin", [[], ["Origin: http://127.0.0.1:{port}"], ["Origin: http://localhost:{port}"]])
@pytest.mark.parametrize("scheme", ["Bearer", "bearer"])
def test_who_shows_the_token_is_served(served: Served, host: str, origin: list[str], scheme: str) -> None:
    headers = [f"Host: {host}:{{port}}", f"Authorization: {scheme} {{token}}", *origin, ACCEPT, JSON]
    reply = served.ask("POST", "/mcp", *headers, body=INITIALIZE)
    assert reply.status == 200 and b'"runq"' in reply.body
    assert not [name for name in reply.headers if name.startswith("access-control-") or name == "server"]


NOT_KNOWN = {
    "none": [],
    "wrong": ["Authorization: Bearer runq_" + "x" * 43],
    "begun": ["Authorization: Bearer runq_"],
    "more": ["Authorization: Bearer {token}x"],
    "empty": ["Authorization: Bearer "],
    "without a scheme": ["Authorization: {token}"],
    "another scheme": ["Authorization: Basic {token}"],
    "no ASCII": ["Authorization: Bearer \xe9"],
    "a cookie": ["Cookie: token={token}; Authorization=Bearer {token}"],
    "a proxy's": ["Proxy-Authorization: Bearer {token}", "X-Forwarded-For: 127.0.0.1"],
}


@pytest.mark.parametrize("way", NOT_KNOWN)
def test_without_the_token_nobody_is_served(served: Served, way: str) -> None:
    reply = served.ask("POST", "/mcp", HOST, *NOT_KNOWN[way], ACCEPT, JSON, body=INITIALIZE)
    assert reply.status == 401 and reply.headers["www-authenticate"] == "Bearer"
    assert "Authorization: Bearer TOKEN" in json.loads(reply.body)["error"]


@pytest.mark.parametrize("path", ["/mcp", "//mcp", "/mcp/", "/", "/healthz/", "/%68ealthz/x", "/metrics", "*"])
@pytest.mark.parametrize("method", ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "TRACE"])
def test_no_path_and_no_method_is_open_to_strangers(served: Served, method: str, path: str) -> None:
    assert served.ask(method, path, HOST).status == 401


def test_a_token_in_the_address_is_none(served: Served) -> None:
    for query in ("token", "access_token", "authorization"):
        assert served.ask("GET", f"/mcp?{query}={served.token}", HOST).status == 401


@pytest.mark.parametrize("path", ["//mcp", "/mcp/", "/MCP", "/", "/mcp/../mcp", "/sse", "/docs", "http://evil.com/mcp"])
def test_only_the_endpoint_itself_is_there(served: Served, path: str) -> None:
    assert served.ask("GET", path, HOST, KNOWN).status == 404


HOSTS = [
    "evil.com",
    "evil.com:{port}",
    "localhost.evil.com:{port}",
    "127.0.0.1.nip.io:{port}",
    "user@127.0.0.1:{port}",
    "127.0.0.1:{port}.evil.com",
    "127.0.0.1",
    "localhost",
    "127.0.0.1:9999",
    "127.0.0.1:0{port}",
    "0.0.0.0:{port}",
    "127.1:{port}",
    "[::1]:{port}",
    "",
]


@pytest.mark.parametrize("path", ["/mcp", "/healthz"])
@pytest.mark.parametrize("host", HOSTS)
def test_cve_2025_66414_a_name_that_was_pointed_here_is_refused(served: Served, host: str, path: str) -> None:
    assert served.ask("POST", path, f"Host: {host}", KNOWN, ACCEPT, JSON, body=INITIALIZE).status == 421


@pytest.mark.parametrize("method", ["GET", "DELETE"])
def test_cve_2025_66416_nor_does_such_a_name_reach_a_session_that_is_open(served: Served, method: str) -> None:
    opened = served.ask("POST", "/mcp", HOST, KNOWN, ACCEPT, JSON, body=INITIALIZE)
    session = f"mcp-session-id: {opened.headers['mcp-session-id']}"
    reply = served.ask(method, "/mcp", "Host: evil.com:{port}", "Origin: http://evil.com", KNOWN, ACCEPT, session)
    assert (opened.status, reply.status) == (200, 421)


ORIGINS = [
    "null",
    "",
    "http://evil.com",
    "http://127.0.0.1:9999",
    "http://127.0.0.1",
    "https://127.0.0.1:{port}",
    "http://localhost.evil.com:{port}",
    "http://localhost:{port}/",
    "http://[::1]:{port}",
    "chrome-extension://abc",
]


@pytest.mark.parametrize("path", ["/mcp", "/healthz"])
@pytest.mark.parametrize("origin", ORIGINS)
def test_cve_2026_11624_a_page_of_another_origin_is_refused(served: Served, origin: str, path: str) -> None:
    for method in ("OPTIONS", "POST", "GET"):
        reply = served.ask(method, path, HOST, KNOWN, f"Origin: {origin}", ACCEPT, JSON)
        assert reply.status == 403
        assert not [name for name in reply.headers if name.startswith("access-control-")]


DOUBTFUL = {
    "no host": ("1.1", [KNOWN]),
    "two hosts": ("1.1", [HOST, HOST, KNOWN]),
    "two tokens": ("1.1", [HOST, KNOWN, KNOWN]),
    "a right and a wrong token": ("1.1", [HOST, KNOWN, "Authorization: Bearer x"]),
    "two origins": ("1.1", [HOST, KNOWN, "Origin: http://127.0.0.1:{port}", "Origin: http://evil.com"]),
    "two lengths": ("1.1", [HOST, KNOWN, "Content-Length: 1", "Content-Length: 2"]),
    "a negative length": ("1.1", [HOST, KNOWN, "Content-Length: -1"]),
}


@pytest.mark.parametrize("case", DOUBTFUL)
def test_what_can_be_read_in_two_ways_is_refused(served: Served, case: str) -> None:
    version, headers = DOUBTFUL[case]
    assert served.ask("POST", "/mcp", *headers, ACCEPT, JSON, version=version).status == 400


def test_a_request_of_an_old_client_without_a_host_is_refused(served: Served) -> None:
    assert served.ask("GET", "/mcp", KNOWN, version="1.0").status == 421


def test_headers_have_a_limit(served: Served) -> None:
    for size in (17_000, 20_000, 60_000):
        assert served.ask("GET", "/mcp", HOST, KNOWN, f"X-Long: {'x' * size}").status in (400, 431)


def test_a_body_has_a_limit_that_its_length_is_held_to(served: Served) -> None:
    too_long = f"Content-Length: {4 * 1024 * 1024 + 1}"
    assert served.ask("POST", "/mcp", HOST, KNOWN, ACCEPT, JSON, too_long).status == 413  # before any of it was sent


def test_a_body_without_a_length_has_the_same_limit(served: Served) -> None:
    chunk = b"100000\r\n" + b"x" * 0x100000 + b"\r\n"
    head = served.request("POST", "/mcp", HOST, KNOWN, ACCEPT, JSON, "Transfer-Encoding: chunked")
    reply = exchange(served.port, [staying(head), *[chunk] * 5, b"0\r\n\r\n"])
    assert (
        reply.status == 413 and "too large" in json.loads(reply.body)["error"]
    )  # ours: the SDK has read it all by then


def test_the_largest_body_that_is_allowed_is_read(served: Served) -> None:
    body = INITIALIZE + b" " * (4 * 1024 * 1024 - len(INITIALIZE))
    assert served.ask("POST", "/mcp", HOST, KNOWN, ACCEPT, JSON, body=body).status == 200


@pytest.mark.parametrize("body", [b"", b"{", b"[]", b"null", b'{"jsonrpc": "2.0"}', b"\xff\xfe", b"[" * 100_000])
@pytest.mark.parametrize("era", [[], ["MCP-Protocol-Version: 2026-07-28"]])
def test_what_is_no_message_gets_an_answer_without_a_traceback(served: Served, body: bytes, era: list[str]) -> None:
    reply = served.ask("POST", "/mcp", HOST, KNOWN, ACCEPT, JSON, *era, body=body)
    assert 400 <= reply.status < 500 and b"Traceback" not in reply.body and b'File "' not in reply.body


MALFORMED = [
    (b'{"jsonrpc": "1.0", "id": 7, "method": "ping"}', 7),
    (b'{"jsonrpc": "2.0", "id": "a", "method": 5}', "a"),
    (b'{"jsonrpc": "2.0"}', None),
    (b"null", None),
]


@pytest.mark.parametrize(("body", "request_id"), MALFORMED)
def test_a_malformed_request_is_told_so_in_one_sentence(served: Served, body: bytes, request_id: object) -> None:
    reply = served.ask("POST", "/mcp", HOST, KNOWN, ACCEPT, JSON, body=body)
    told = {"code": -32600, "message": "Invalid Request: this is no JSON-RPC 2.0 request that this server can read"}
    assert reply.status == 400 and json.loads(reply.body) == {"jsonrpc": "2.0", "id": request_id, "error": told}
    assert reply.headers["content-type"] == "application/json"


def test_a_batch_is_told_that_batches_are_not_served(served: Served) -> None:
    body = b"[" + b",".join(b'{"jsonrpc": "2.0", "id": %d, "method": "ping"}' % one for one in (1, 2)) + b"]"
    reply = served.ask("POST", "/mcp", HOST, KNOWN, ACCEPT, JSON, body=body)
    assert reply.status == 400 and "batches are not served" in json.loads(reply.body)["error"]["message"]


PING = b'{"jsonrpc": "2.0", "id": 7, "method": "ping"}'


@pytest.mark.parametrize(
    ("session", "status", "told"), [([], 400, "no session"), (["Mcp-Session-Id: gone"], 404, "has ended")]
)
def test_who_has_no_session_is_told_what_to_do(served: Served, session: list[str], status: int, told: str) -> None:
    reply = served.ask("POST", "/mcp", HOST, KNOWN, ACCEPT, JSON, *session, body=PING)
    sentence = json.loads(reply.body)["error"]["message"]
    assert reply.status == status and told in sentence and "`initialize`" in sentence


def test_garbage_gets_no_more_than_a_refusal(served: Served) -> None:
    for garbage in (b"\x16\x03\x01\x02\x00\x01\x00\r\n\r\n", b"GET\r\n\r\n", b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n"):
        assert exchange(served.port, garbage).status in (400, 421)
    assert served.ask("GET", "/healthz", HOST).status == 200


def test_the_token_is_in_no_log_and_no_message(served: Served) -> None:
    for headers in ([KNOWN], ["Authorization: Basic {token}"], [KNOWN, KNOWN]):
        for path in ("/mcp", f"/{served.token}"):
            reply = served.ask("POST", path, HOST, *headers, JSON, body=served.token.encode())
            assert served.token.encode() not in reply.body + str(reply.headers).encode()
    log = (served.place.home / "logs" / "runq.log").read_text()
    assert served.token not in log + served.said()
    assert served.said().count("\n") == 1


def test_who_starts_it_in_the_root_folder_is_told_what_that_means(place: Place) -> None:
    with Served(place, folder="/") as server:
        first, told = server.said().splitlines()
        assert "serving http" in told and "roots" in first and "config.toml" in first
    place.configure(roots=["/srv"])
    with Served(place, folder="/") as server:
        assert server.said().count("\n") == 1


# -- health --------------------------------------------------------------------------------------------------


def test_the_health_check_says_ok_and_nothing_else(served: Served) -> None:
    reply = served.ask("GET", "/healthz", HOST)
    assert (reply.status, json.loads(reply.body)) == (200, {"status": "ok"})
    names = {"date", "content-type", "content-length", "cache-control", "x-content-type-options", "connection"}
    assert set(reply.headers) == names
    assert served.ask("HEAD", "/healthz", HOST).body == b""
    assert served.ask("POST", "/healthz", HOST).status == 405


# -- the token's file ----------------------------------------------------------------------------------------


def refusal_to_start(place: Place, *arguments: str) -> tuple[int, str]:
    """The exit code and the one sentence of a server that does not start."""
    done = subprocess.run(
        command(*(arguments or ("--http", "--port", "0"))),
        env=place.environ,
        cwd=place.project,
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=60,
        check=False,
    )
    assert done.stdout == "" and done.stderr.startswith("runq-mcp: ") and done.stderr.count("\n") == 1, done.stderr
    return done.returncode, done.stderr


def test_the_token_is_made_once_for_its_owner_alone(served: Served) -> None:
    found = token_file(served.place).stat()
    assert stat.S_IMODE(found.st_mode) == 0o600 and found.st_nlink == 1
    assert len(served.token) == len(TOKEN)
    assert [name for name in os.listdir(served.place.home) if name.startswith("http-token")] == ["http-token"]
    assert token(locate(served.place.environ)) == served.token


def test_servers_that_start_together_make_one_token(place: Place) -> None:
    home = locate(place.environ)
    with ThreadPoolExecutor(8) as threads:
        assert len(set(threads.map(lambda _: token(home), range(8)))) == 1
    assert os.listdir(place.home) == ["http-token"]


def open_to_others(path: Path) -> None:
    path.write_text(TOKEN)
    path.chmod(0o644)


def writable_for_the_group(path: Path) -> None:
    path.write_text(TOKEN)
    path.chmod(0o620)


def a_link(path: Path) -> None:
    target = path.with_name("elsewhere")
    target.write_text(TOKEN)
    target.chmod(0o600)
    path.symlink_to(target)


def a_dangling_link(path: Path) -> None:
    path.symlink_to(path.with_name("nowhere"))


def a_fifo(path: Path) -> None:
    os.mkfifo(path, 0o600)


def a_folder(path: Path) -> None:
    path.mkdir(mode=0o700)


def empty(path: Path) -> None:
    path.touch(mode=0o600)


def short(path: Path) -> None:
    path.write_text("runq_secret\n")
    path.chmod(0o600)


def two_lines(path: Path) -> None:
    path.write_text(f"{TOKEN}\n{TOKEN}\n")
    path.chmod(0o600)


def somebody_elses(path: Path) -> None:
    if os.geteuid() != 0:
        pytest.skip("only root can give a file away")
    path.write_text(TOKEN)
    path.chmod(0o600)
    os.chown(path, 12345, 12345)


BAD_FILES = {
    open_to_others: "open to other users",
    writable_for_the_group: "open to other users",
    a_link: "is a link",
    a_dangling_link: "is a link",
    a_fifo: "not a plain file",
    a_folder: "not a plain file",
    empty: "holds no token",
    short: "holds no token",
    two_lines: "holds no token",
    somebody_elses: "belongs to another user",
}


@pytest.mark.parametrize("spoil", BAD_FILES)
def test_a_token_that_others_may_know_is_not_used(place: Place, spoil: Callable[[Path], None]) -> None:
    spoil(token_file(place))
    with pytest.raises(SettingsError, match=BAD_FILES[spoil]) as refusal:
        token(locate(place.environ))
    assert "remove it" in str(refusal.value) and "runq_" not in str(refusal.value)


def test_a_token_in_a_folder_that_others_may_write_to_is_not_used(place: Place) -> None:
    path = token_file(place)
    path.write_text(TOKEN)
    path.chmod(0o600)
    path.parent.chmod(0o777)
    with pytest.raises(SettingsError, match="can be replaced by other users"):
        token(locate(place.environ))
    path.parent.chmod(0o700)
    assert token(locate(place.environ)) == TOKEN


def test_a_server_with_a_bad_token_file_does_not_start(place: Place) -> None:
    open_to_others(token_file(place))
    assert refusal_to_start(place)[0] == 2
    assert token_file(place).read_text() == TOKEN  # and nothing was changed


# -- start and end -------------------------------------------------------------------------------------------


@LINUX_ONLY
def test_cve_2026_81735_it_listens_on_this_machines_own_address_alone(served: Served) -> None:
    assert listening_addresses(served.process.pid) == {"0100007F"}
    for family, address in ((socket.AF_INET, "127.0.0.2"), (socket.AF_INET6, "::1")):
        with socket.socket(family) as other, pytest.raises(OSError, match=r"."):
            other.connect((address, served.port))


WRONG = {
    ("--http", "--host", "0.0.0.0"): "does not know `--host`",
    ("--http", "--port"): "--port needs a number",
    ("--http", "--port", "80"): "--port needs a number",
    ("--http", "--port", "65536"): "--port needs a number",
    ("--http", "--port=x"): "--port needs a number",
    ("--port", "8417"): "--port is for HTTP",
    ("http",): "does not know `http`",
}


@pytest.mark.parametrize("arguments", WRONG)
def test_what_was_typed_wrong_is_said_in_one_sentence(place: Place, arguments: tuple[str, ...]) -> None:
    status, said = refusal_to_start(place, *arguments)
    assert status == 2 and WRONG[arguments] in said
    assert not list(place.home.iterdir())


def test_a_port_in_use_is_said_in_one_sentence(served: Served) -> None:
    status, said = refusal_to_start(served.place, "--http", "--port", str(served.port))
    assert status == 1 and f"port {served.port} is in use" in said and "--port 0" in said


def test_help_names_the_command_for_a_client_and_loads_nothing_heavy() -> None:
    code = "import sys; sys.argv[1:] = ['--help']; from mcp_server.__main__ import main; main()"
    code += "; assert not {'mcp', 'anyio', 'uvicorn', 'asyncio', 'sqlite3'} & set(sys.modules)"
    told = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    assert "claude mcp add --transport http runq http://127.0.0.1:8417/mcp" in told
    assert all(len(line) <= 100 for line in told.splitlines())


def test_a_signal_ends_it_with_streams_open_and_requests_half_sent(place: Place) -> None:
    with Served(place) as server:
        opened = server.ask("POST", "/mcp", HOST, KNOWN, ACCEPT, JSON, body=INITIALIZE)
        session = f"Mcp-Session-Id: {opened.headers['mcp-session-id']}"
        stream = server.request("GET", "/mcp", HOST, KNOWN, ACCEPT, session)
        half = server.request("POST", "/mcp", HOST, KNOWN, ACCEPT, JSON, "Content-Length: 100", "Expect: 100-continue")
        with (
            open_connection(server.port, stream) as first,
            open_connection(server.port, half) as second,
            open_connection(server.port, b"GET /mcp HT"),
        ):
            assert first.recv(65536).startswith(b"HTTP/1.1 200")
            assert second.recv(65536).startswith(b"HTTP/1.1 100")  # it is asked for its body, so it is being served
            assert server.end() == (0, b"")
            assert second.recv(65536).startswith(b"HTTP/1.1 503")
    assert server.said().count("\n") == 1

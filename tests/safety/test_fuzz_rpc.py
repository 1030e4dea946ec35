"""Thousands of good, bad and damaged frames for a real server over real stdio, in both eras.

Whatever comes: it answers each request once, goes on serving, says nothing of its inside, and runs nothing but what
the rules allow. `RUNQ_FUZZ_ROUNDS=50 RUNQ_FUZZ_SEED=7 pytest tests/safety/test_fuzz_rpc.py` searches on.
"""

from __future__ import annotations

import json
import os
import sqlite3
import subprocess
import sys
import threading
from collections import Counter
from contextlib import closing
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
from mcp_types import CLIENT_CAPABILITIES_META_KEY, CLIENT_INFO_META_KEY, PROTOCOL_VERSION_META_KEY

from queue_core.shapes import is_list, is_object
from tests.helpers import short_folder, wait_until
from tests.mcp.places import Place
from tests.safety.fuzzing import CANARY, HOSTILE, ROUNDS, SEED, TRACES, broken, dumped, nasty_value, rng, text

if TYPE_CHECKING:
    import random
    from collections.abc import Iterator

FRAMES = 1000  # of one round
HUGE = 5_000_000  # bytes of a few of them
PATIENCE = 60  # seconds for what takes milliseconds
MORE_MEMORY = 200 << 10  # KiB that a round may leave behind, loosely
RULES = '[[allow]]\nargv = ["true"]\n'
ERAS = ("handshake", "modern")
CLIENT = {"name": "fuzzer", "version": "1"}
ENVELOPE = {
    PROTOCOL_VERSION_META_KEY: "2026-07-28",
    CLIENT_INFO_META_KEY: CLIENT,
    CLIENT_CAPABILITIES_META_KEY: {},
}
URIS = (
    "queue://status",
    "queue://statistics",
    "queue://dead-letters",
    "queue://jobs/1",
    "queue://jobs/1/output",
    "queue://jobs/999999999999999999999",
    "queue://jobs//output",
)
NOTIFICATIONS = (
    "notifications/cancelled",
    "notifications/progress",
    "notifications/initialized",
    "notifications/roots/list_changed",
    "notifications/message",
)
CRASHES = (0, -32603)
"""How the SDK answers what it did not expect: in the handshake era, and in the modern one."""
Key = tuple[type, Any]


class Grammar:
    """Frames that a client could send, and what is left of them after a few accidents."""

    def __init__(self, chance: random.Random, era: str, tools: list[dict[str, Any]]) -> None:
        self._chance = chance
        self._era = era
        self._tools = tools
        self._number = 100

    def frame(self) -> bytes:
        """The bytes of the next frame, without the newline."""
        chance = self._chance
        frame = self._notification() if chance.random() < 0.12 else self._request()
        while chance.random() < 0.3:
            frame = mutated(frame, chance)
        raw = dumped(frame, chance)
        if chance.random() < 0.003:
            raw = raw.replace(b'"default"', b'"' + b"x" * HUGE + b'"', 1)
        if chance.random() < 0.02:
            raw = b"[" + raw + b"," + dumped(self._request(), chance) + b"]"
        if chance.random() < 0.07:
            raw = broken(raw, chance)
        return raw + chance.choice((b"", b"", b"\r", b" "))

    def _request(self) -> dict[str, Any]:
        method, params = self._asked()
        if self._era == "modern" and self._chance.random() < 0.97:
            params = {**params, "_meta": {**ENVELOPE, "progressToken": self._chance.choice((1, "t", 2**70))}}
        return {"jsonrpc": "2.0", "id": self._id(), "method": method, "params": params}

    def _id(self) -> Any:
        self._number += 1
        n, pick = self._number, self._chance.random()
        if pick < 0.8:
            return n
        if pick < 0.9:
            return self._chance.choice((str(n), f"id-{n}", -n, 10**30 + n, f"{text(self._chance)}{n}", n - 1))
        return n if pick < 0.97 else nasty_value(self._chance)

    def _asked(self) -> tuple[str, dict[str, Any]]:
        chance = self._chance
        uri = chance.choice((*URIS, text(chance)))
        pick = chance.random()
        if pick < 0.6:
            queueing = [tool for tool in self._tools if tool["name"] in ("enqueue", "run")]
            tool = chance.choice([*self._tools, *queueing * 3])
            return "tools/call", {"name": tool["name"], "arguments": self._arguments(tool)}
        prompt: dict[str, Any] = {
            "name": chance.choice(("triage_dead_letters", "explain_backlog", text(chance))),
            "arguments": {},
        }
        reference = {"type": "ref/resource", "uri": "queue://jobs/{job_id}"}
        argument = {"name": "job_id", "value": text(chance)}
        level = {"level": chance.choice(("debug", "error", text(chance)))}
        listened = {"toolsListChanged": True, "resourceSubscriptions": [uri, text(chance)]}
        requests: tuple[tuple[str, dict[str, Any]], ...] = (
            ("ping", {}),
            ("tools/list", {"cursor": text(chance)}),
            ("resources/list", {}),
            ("resources/templates/list", {}),
            ("resources/read", {"uri": uri}),
            ("resources/read", {"uri": uri}),
            ("resources/subscribe", {"uri": uri}),
            ("resources/unsubscribe", {"uri": uri}),
            ("subscriptions/listen", {"notifications": listened}),
            ("prompts/list", {}),
            ("prompts/get", prompt),
            ("completion/complete", {"ref": reference, "argument": argument}),
            ("logging/setLevel", level),
            ("server/discover", {}),
            ("initialize", {"protocolVersion": text(chance), "capabilities": {}, "clientInfo": CLIENT}),
            (text(chance), {"x": text(chance)}),
        )
        return chance.choice(requests)

    def _notification(self) -> dict[str, Any]:
        chance = self._chance
        params = {"requestId": self._number - chance.randrange(3), "progressToken": 1, "progress": nasty_value(chance)}
        return {"jsonrpc": "2.0", "method": chance.choice((*NOTIFICATIONS, text(chance))), "params": params}

    def _arguments(self, tool: dict[str, Any]) -> dict[str, Any]:
        """Some of a tool's arguments, with values that are mostly of the right kind."""
        schema = tool["inputSchema"]
        properties: dict[str, Any] = schema.get("properties", {})
        chosen = [name for name in properties if name in schema.get("required", ()) or self._chance.random() < 0.08]
        given = {name: self._argument(name, properties[name]) for name in chosen}
        if "argv" in properties and ("command" not in given or self._chance.random() < 0.03):
            given["argv"] = self._argument("argv", properties["argv"])
        if tool["name"] == "wait":
            given["timeout"] = self._chance.choice((0, 0.01, 0.1))
        return given

    def _argument(self, name: str, schema: dict[str, Any]) -> Any:
        chance = self._chance
        if chance.random() < 0.08:
            return nasty_value(chance)
        if name == "argv":
            return ["true"] if chance.random() < 0.6 else list(chance.choice(HOSTILE))
        if name == "command":
            return chance.choice(("true", f"true {text(chance)}", "true; touch canary", "sh -c 'touch canary'"))
        if name == "on_dead":
            return [chance.choice((["true"], *HOSTILE))]
        if name == "delay":
            return chance.choice((0, 0.01, 1e-9))
        if name == "cwd":
            return chance.choice((".", "..", "/", "/tmp", text(chance)))
        branch = chance.choice(schema.get("anyOf", [schema]))
        return self._of_kind(branch)

    def _of_kind(self, schema: dict[str, Any]) -> Any:
        chance = self._chance
        if "enum" in schema:
            return chance.choice(schema["enum"])
        match schema.get("type"):
            case "integer":
                return chance.randrange(1, 60)
            case "number":
                return chance.choice((0, 0.5, 3))
            case "boolean":
                return chance.random() < 0.5
            case "array":
                return [self._of_kind(schema.get("items", {})) for _ in range(chance.randrange(4))]
            case "object":
                return {chance.choice(("A", "PATH", "LD_PRELOAD", text(chance))): chance.choice(("1", text(chance)))}
            case _:
                return chance.choice(("default", "a", "1", text(chance)))


def mutated(frame: dict[str, Any], chance: random.Random) -> dict[str, Any]:
    """One accident at a random place: another kind of value, a key that is gone, new, or named otherwise."""
    places: list[dict[str, Any]] = [frame]
    while is_object(inner := places[-1].get(chance.choice(("params", "arguments", "_meta")))):
        places.append(inner)
    place = chance.choice(places)
    if not place:
        place[text(chance)] = nasty_value(chance)
        return frame
    key = chance.choice(list(place))
    if key == "id" and chance.random() < 0.8:  # or too little would be answered
        return frame
    match chance.randrange(5):
        case 0:
            del place[key]
        case 1:
            place[text(chance)] = nasty_value(chance)
        case 2:
            place[key + text(chance)[:50]] = place.pop(key)
        case _:
            place[key] = nasty_value(chance)
    return frame


class Expected:
    """Which answers the frames that were sent must get."""

    def __init__(self) -> None:
        self.once: Counter[Key] = Counter()
        self.perhaps: Counter[Key] = Counter()
        self._given_up: set[int | str] = set()
        self.waits: dict[Key, bytes] = {}
        self.frames: dict[Key, bytes] = {}

    def note(self, raw: bytes) -> None:
        for line in raw.split(b"\n"):
            try:
                value: object = json.loads(line.decode(errors="replace"), strict=False)
            except (ValueError, RecursionError):
                continue
            for one in value[:100] if is_list(value) else [value]:
                if is_object(one):
                    self._note_one(one, line)

    def _note_one(self, one: dict[str, Any], line: bytes) -> None:
        method, params = one.get("method"), one.get("params")
        if method == "notifications/cancelled" and is_object(params):
            named: object = params.get("requestId")
            self._given_up |= {same(named)} if isinstance(named, int | str) else set()
        key = usable(one)
        if key is None:
            return
        self.frames[key] = line[:2000]
        if method == "subscriptions/listen":
            self.perhaps[key] += 1
            return
        self.once[key] += 1
        if method == "tools/call" and is_object(params) and params.get("name") in ("wait", "run"):
            self.waits[key] = line

    def missing(self, answers: Counter[Key]) -> set[Key]:
        return {key for key, times in self.once.items() if answers[key] < times and same(key[1]) not in self._given_up}

    def unasked(self, answers: Counter[Key]) -> set[Key]:
        return {key for key, times in answers.items() if times > self.once[key] + self.perhaps[key]}


def usable(one: dict[str, Any]) -> Key | None:
    """What an answer to this frame would name."""
    given = one.get("id")
    if "method" not in one and ("result" in one or "error" in one):
        return None
    if isinstance(given, bool) or not isinstance(given, int | str):
        return None
    if isinstance(given, str) and any("\ud800" <= letter <= "\udfff" for letter in given):
        return None
    return type(given), given


def same(request_id: int | str) -> int | str:
    """As the SDK compares ids of cancelled requests: "7" is 7."""
    try:
        return int(request_id)
    except ValueError:
        return request_id


class Talk:
    """One server process, all that it says, and what it has to say."""

    def __init__(self, place: Place, era: str, folder: Path) -> None:
        self.era = era
        self.answers: Counter[Key] = Counter()
        self.results: dict[Key, dict[str, Any]] = {}
        self.bad: list[str] = []
        self.expected = Expected()
        self.errors = folder / f"{era}.stderr"
        with self.errors.open("wb") as stderr:
            self.process = subprocess.Popen(
                [sys.executable, "-m", "mcp_server"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=place.environ,
                cwd=place.project,
            )
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()
        self._id = 0

    def _read(self) -> None:
        assert self.process.stdout
        for line in self.process.stdout:
            self._hear(line)

    def _hear(self, line: bytes) -> None:
        try:
            frame = json.loads(line)
            assert frame["jsonrpc"] == "2.0"
        except (ValueError, KeyError, TypeError, AssertionError):
            self.bad.append(f"no JSON-RPC: {line[:500]!r}")
            return
        if "method" in frame:
            return
        said = json.dumps(frame.get("error") or [frame["result"].get("content")] * bool(frame["result"].get("isError")))
        if any(trace in said for trace in TRACES) or frame.get("error", {}).get("code") in CRASHES:
            self.bad.append(f"tells of the inside: {line[:1000]!r}")
        key: Key = (type(frame["id"]), frame["id"])  # pyright: ignore[reportUnknownVariableType]
        self.results[key] = frame
        self.answers[key] += 1

    def send(self, raw: bytes) -> None:
        assert self.process.stdin
        self.expected.note(raw)
        self.process.stdin.write(raw + b"\n")

    def flush(self) -> None:
        assert self.process.stdin
        self.process.stdin.flush()

    def ask(self, method: str, **params: Any) -> dict[str, Any]:
        """One good request, and its result."""
        self._id += 1
        if self.era == "modern":
            params["_meta"] = ENVELOPE
        request_id = f"good-{self._id}"
        self.send(json.dumps({"jsonrpc": "2.0", "id": request_id, "method": method, "params": params}).encode())
        self.flush()
        wait_until(
            lambda: self.answers[str, request_id] or self.process.poll() is not None, f"{method} is answered", PATIENCE
        )
        return self.results[str, request_id]["result"]

    def begin(self) -> list[dict[str, Any]]:
        """Shake hands where that is done; the tools."""
        if self.era == "handshake":
            self.ask("initialize", protocolVersion="2025-11-25", capabilities={}, clientInfo=CLIENT)
            self.send(b'{"jsonrpc": "2.0", "method": "notifications/initialized"}')
        return self.ask("tools/list")["tools"]

    def settle(self) -> None:
        """Wait until all is answered; those calls that rightly wait for long are given up."""

        def only_waits() -> bool:
            return self.expected.missing(self.answers) <= self.expected.waits.keys() or self.process.poll() is not None

        try:
            wait_until(only_waits, "all is answered", PATIENCE)
        except AssertionError:
            missing = self.expected.missing(self.answers) - self.expected.waits.keys()
            raise AssertionError(f"not answered: {[self.expected.frames[key] for key in missing]}") from None
        for _, request_id in self.expected.missing(self.answers):
            params = {"requestId": request_id}
            self.send(json.dumps({"jsonrpc": "2.0", "method": "notifications/cancelled", "params": params}).encode())
        assert self.ask("tools/list")["tools"]

    def memory(self) -> int:
        """KiB; 0 where it cannot be told."""
        path = Path(f"/proc/{self.process.pid}/statm")
        return int(path.read_text().split()[1]) * (os.sysconf("SC_PAGE_SIZE") >> 10) if path.exists() else 0

    def end(self) -> None:
        """Leave in the middle of a frame."""
        assert self.process.stdin
        try:
            self.process.stdin.write(b'{"jsonrpc": "2.0", "id": 1, "meth')
            self.process.stdin.close()
        except BrokenPipeError:
            pass
        self.process.wait(PATIENCE)
        self._reader.join(PATIENCE)
        assert self.process.stdout
        self.process.stdout.close()


@pytest.fixture
def place() -> Iterator[Place]:
    with short_folder() as folder, Place(folder) as place:
        place.configure(capacity=100_000, grace=0.2, retries=0)
        place.rules(RULES)
        yield place


@pytest.mark.parametrize("era", ERAS)
@pytest.mark.parametrize("number", range(ROUNDS))
def test_no_frame_harms_the_server_or_gets_past_the_rules(place: Place, tmp_path: Path, era: str, number: int) -> None:
    kept = {path: path.read_bytes() for path in (place.home / "config.toml", place.home / "rules.toml")}
    talk = Talk(place, era, tmp_path)
    try:
        fuzz(talk, rng(number, era))
        drained(place)
    except AssertionError as error:
        error.add_note(f"again: RUNQ_FUZZ_SEED={SEED + number} pytest {__file__} -k {era}")
        raise
    assert {path: path.read_bytes() for path in kept} == kept
    assert not [path for path in place.home.parent.rglob("*") if CANARY in path.name]


def fuzz(talk: Talk, chance: random.Random) -> None:
    try:
        grammar = Grammar(chance, talk.era, talk.begin())
        before = 0
        for count in range(FRAMES):
            talk.send(grammar.frame())
            if count % 100 == 99:
                talk.ask("tools/list")
                before = before or talk.memory()
        talk.flush()
        talk.settle()
        after = talk.memory()
    finally:
        talk.end()
    said = talk.errors.read_text(errors="replace")
    assert "Traceback" not in said, "\n".join(sorted({line[:300] for line in said.splitlines() if raised(line)}))
    assert talk.bad == []
    unasked = talk.expected.unasked(talk.answers)
    assert not unasked, [talk.expected.frames.get(key, key) for key in unasked]
    assert talk.process.returncode == 0
    assert after - before < MORE_MEMORY, (before, after)


def raised(line: str) -> bool:
    """Whether a line of a log begins or ends a traceback."""
    return "Error" in line.partition(":")[0] or "raised" in line or "runq-mcp: ERROR" in line


def drained(place: Place) -> None:
    """Run what may run; nothing but `true` ever ran, and the database is whole."""
    place.cli("process-queue")
    with closing(sqlite3.connect(place.home / "runq.db")) as database:
        assert database.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        rows = database.execute("SELECT DISTINCT argv FROM jobs WHERE id IN (SELECT job FROM attempts)").fetchall()
        assert rows == [('["true"]',)]
        held = database.execute("SELECT count(*) FROM jobs WHERE state = 'held'").fetchone()[0]
        assert held > 10  # or the fuzzer asks for nothing worth refusing

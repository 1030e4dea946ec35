"""The shape of the code, asserted: imports run down, the hook path stays light, files and functions stay short."""

from __future__ import annotations

import ast
import os
import subprocess
import sys
from functools import cache
from pathlib import Path

import pytest

from queue_core.worker import boot

ROOT = Path(__file__).parent.parent
PACKAGES = ("queue_core", "mcp_server")

# Lowest first. A module belongs to the longest prefix that fits it, and may import its own layer and those below.
LAYERS: tuple[tuple[str, ...], ...] = (
    ("exceptions", "errors", "value", "shapes", "fastjson", "version", "health", "quotas", "secret_shapes", "visible"),
    (
        *("model", "jobs", "own_files", "toml_places", "backoff", "home", "backups"),
        *("programs", "known_programs", "commandline", "environment"),
    ),
    (
        *(
            "lifecycle",
            "policy",
            "recurrence",
            "settings",
            "setting_table",
            "escalation",
            "callers",
            "template",
            "logs",
        ),
        *("submission", "captures", "alike"),
    ),
    (
        *("rules", "repository", "store", "job_files", "views", "figures", "changes", "liveness", "spool"),
        *("digest", "told"),
    ),
    ("judge", "sqlite", "postgres", "keeper", "pruning", "clients"),
    ("admission", "outcomes", "intake", "ingest", "safekeeping", "checkup", "handlers"),
    ("recovery",),
    ("restoring",),
    ("look", "service", "combining", "problems", "stopping", "schedules"),
    ("api", "waiting", "background", "worker", ""),
    ("cli", "launch"),
)
TOP = len(LAYERS)  # mcp_server


def modules() -> dict[str, Path]:
    """Every module by its dotted name."""
    found: dict[str, Path] = {}
    for package in PACKAGES:
        for path in sorted((ROOT / package).rglob("*.py")):
            parts = path.relative_to(ROOT).with_suffix("").parts
            found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = modules()


@cache
def tree(name: str) -> ast.Module:
    return ast.parse(MODULES[name].read_text(encoding="utf-8"))


def is_for_type_checkers(node: ast.AST) -> bool:
    if not isinstance(node, ast.If):
        return False
    test = node.test
    return (isinstance(test, ast.Name) and test.id == "TYPE_CHECKING") or (
        isinstance(test, ast.Attribute) and test.attr == "TYPE_CHECKING"
    )


def import_nodes(node: ast.AST, *, inside_functions: bool) -> list[ast.Import | ast.ImportFrom]:
    found: list[ast.Import | ast.ImportFrom] = []
    for child in ast.iter_child_nodes(node):
        if isinstance(child, (ast.Import, ast.ImportFrom)):
            found.append(child)
        elif is_for_type_checkers(child):
            for other in child.orelse:  # pyright: ignore[reportAttributeAccessIssue]
                found += import_nodes(other, inside_functions=inside_functions)
        elif inside_functions or not isinstance(child, (ast.FunctionDef, ast.AsyncFunctionDef, ast.Lambda)):
            found += import_nodes(child, inside_functions=inside_functions)
    return found


def imports(name: str, *, inside_functions: bool = True) -> set[str]:
    """The modules of ours that one imports."""
    found: set[str] = set()
    for node in import_nodes(tree(name), inside_functions=inside_functions):
        if isinstance(node, ast.Import):
            found |= {alias.name for alias in node.names}
        else:
            assert node.level == 0, f"{name} imports relatively"
            assert node.module is not None
            whole = {f"{node.module}.{alias.name}" for alias in node.names}
            found |= {one if one in MODULES else node.module for one in whole}
    return {one for one in found if one in MODULES and one != name}


def layer(name: str) -> int:
    package, _, rest = name.partition(".")
    if package == "mcp_server":
        return TOP
    first = rest.partition(".")[0]
    for number, names in enumerate(LAYERS):
        if first in names:
            return number
    raise AssertionError(f"{name} stands in no layer: put it into LAYERS")


@pytest.mark.parametrize("name", MODULES)
class TestEveryModule:
    def test_it_imports_its_own_layer_and_those_below_only(self, name: str) -> None:
        up = {other for other in imports(name) if layer(other) > layer(name)}
        assert up == set(), f"{name} (layer {layer(name)}) imports upwards"

    def test_it_has_a_docstring(self, name: str) -> None:
        if MODULES[name].read_text(encoding="utf-8").strip():
            assert ast.get_docstring(tree(name)), f"{name} does not say what it is for"

    def test_it_is_no_longer_than_400_lines(self, name: str) -> None:
        assert len(MODULES[name].read_text(encoding="utf-8").splitlines()) <= 400

    def test_none_of_its_functions_is_longer_than_60_lines(self, name: str) -> None:
        functions = (node for node in ast.walk(tree(name)) if isinstance(node, (ast.FunctionDef, ast.AsyncFunctionDef)))
        lengths = {node.name: (node.end_lineno or 0) - node.lineno + 1 for node in functions}
        assert {function: length for function, length in lengths.items() if length > 60} == {}


PLAYS_AN_AGENT = {"queue_core.cli.demo"}


def test_the_queue_knows_nothing_of_mcp() -> None:
    for name in MODULES:
        if name.startswith("queue_core"):
            assert not any(other.startswith("mcp_server") for other in imports(name)), name
            assert name in PLAYS_AN_AGENT or "mcp" not in top_names(name), name


def top_names(name: str) -> set[str]:
    """The packages of whatever kind that a module imports."""
    nodes = import_nodes(tree(name), inside_functions=True)
    plain = {alias.name for node in nodes if isinstance(node, ast.Import) for alias in node.names}
    return {
        one.partition(".")[0]
        for one in plain | {node.module or "" for node in nodes if isinstance(node, ast.ImportFrom)}
    }


@pytest.mark.parametrize("engine", ["sqlite", "postgres"])
def test_an_engine_does_not_know_the_service(engine: str) -> None:
    above = ("service", "worker", "cli", "api", "admission")
    for name in MODULES:
        if name.startswith(f"queue_core.{engine}"):
            assert not any(other.split(".")[1:2] and other.split(".")[1] in above for other in imports(name)), name


def test_the_agents_face_holds_no_sql_and_reaches_the_engine_for_its_asynchronous_reads_alone() -> None:
    for name in MODULES:
        if name.startswith("mcp_server"):
            reached = {one for one in imports(name) if one.startswith(("queue_core.sqlite", "queue_core.postgres"))}
            assert reached <= {"queue_core.sqlite.reads", "queue_core.sqlite.engine"}, name
            texts = {
                node.value
                for node in ast.walk(tree(name))
                if isinstance(node, ast.Constant) and isinstance(node.value, str)
            }
            assert not {text for text in texts if text.startswith(("SELECT ", "UPDATE ", "INSERT ", "DELETE "))}, name


def test_no_modules_import_each_other_in_a_circle() -> None:
    graph = {name: imports(name, inside_functions=False) for name in MODULES}
    done: set[str] = set()

    def visit(name: str, way: tuple[str, ...]) -> None:
        assert name not in way, " -> ".join((*way[way.index(name) :], name))
        if name not in done:
            for other in sorted(graph[name]):
                visit(other, (*way, name))
            done.add(name)

    for name in graph:
        visit(name, ())


HEAVY = ("mcp", "pydantic", "anyio", "asyncio", "aiosqlite", "rich")
SLOW = (
    "json",
    "re",
    "argparse",
    "typing",
    "dataclasses",
    "subprocess",
    "socket",
    "logging",
    "sqlite3",
    "pathlib",
    "enum",
)
DUMP = (
    "import sys, os\n"
    "def listed(code, leave=os._exit):\n"
    "    sys.stdout.flush()\n"
    "    os.write(2, ('\\n'.join(sys.modules)).encode())\n"
    "    leave(code)\n"
    "os._exit = listed\n"
    "sys.argv = ['runq', *sys.argv[1:]]\n"
    "from queue_core.launch import main\n"
    "listed(main())\n"
)


def loaded_by(code: str, *arguments: str, home: Path, stdin: str = "") -> set[str]:
    """The modules that a process has loaded when it leaves."""
    kept = ("PATH", "HOME", "VIRTUAL_ENV", "PYTHONPATH", "LANG", "TMPDIR")
    environ = {name: os.environ[name] for name in kept if name in os.environ}
    process = subprocess.run(
        [sys.executable, "-c", code, *arguments],
        input=stdin,
        env={**environ, "RUNQ_HOME": str(home)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
    )
    return set(process.stderr.split("\n"))


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> set[str]:
    """What this interpreter loads for nothing at all (site may drag something in)."""
    code = "import sys, os; os.write(2, '\\n'.join(sys.modules).encode())"
    return loaded_by(code, home=tmp_path_factory.mktemp("bare"))


# What a job that goes in well has no use for: their classes alone would take a tenth of the time.
NOT_FOR_A_JOB = {
    f"queue_core.{name}" for name in ("exceptions", "jobs", "sqlite.wording", "sqlite.store", "sqlite.reads")
}
NOT_WITHOUT_OPTIONS = {f"queue_core.cli.{name}" for name in ("options", "job_options", "rarer", "receipts")}
PLAIN = {
    "add": (["add", "--", "true"], ""),
    "add with options": (["add", "--queue", "q", "--retries", "1", "--delay", "5", "--env", "A=1", "--", "true"], ""),
    "hook": (["hook", "--", "true", "{session_id}"], '{"session_id": "s1", "cwd": "/"}'),
}


@pytest.mark.parametrize("verb", PLAIN)
def test_the_hook_path_loads_nothing_heavy_and_nothing_slow(tmp_path: Path, bare: set[str], verb: str) -> None:
    arguments, stdin = PLAIN[verb]
    home = tmp_path / "home"
    loaded_by(DUMP, *arguments, home=home, stdin=stdin)  # the first one makes the database
    loaded = loaded_by(DUMP, *arguments, home=home, stdin=stdin)
    assert "queue_core.sqlite.admit" in loaded, "this was not the way of a job into the queue"
    tops = {name.partition(".")[0] for name in loaded - bare}
    assert tops & set(HEAVY) == set()
    assert tops & set(SLOW) == set()
    assert loaded & NOT_FOR_A_JOB == set()
    if "options" not in verb:
        assert loaded & NOT_WITHOUT_OPTIONS == set()


@pytest.mark.parametrize("verb", ["digest", "hook"])
def test_what_runs_at_every_prompt_and_tool_loads_nothing_slow_either(
    tmp_path: Path, bare: set[str], verb: str
) -> None:
    """Not even where there is something to tell. A hook that nothing is configured for is among it."""
    home, said = tmp_path / "home", f'{{"session_id": "s1", "cwd": "{ROOT}", "hook_event_name": "SessionStart"}}'
    loaded_by(DUMP, "hook", "--", "true", home=home, stdin=said)
    loaded_by(DUMP, "cancel", "1", home=home)
    loaded_by(DUMP, verb, "--help", home=home)  # the first run after a change of the sources writes their bundle
    loaded = loaded_by(DUMP, verb, home=home, stdin=said)
    assert len(list(home.glob("sessions/*.json"))) == 2 * (verb == "digest")  # it has told, and remembers it
    tops = {name.partition(".")[0] for name in loaded - bare}
    assert tops & {*HEAVY, *SLOW, "tomllib", "hashlib", "functools", "collections"} == set()


def test_not_even_the_first_use_loads_anything_heavy(tmp_path: Path, bare: set[str]) -> None:
    loaded = loaded_by(DUMP, "add", "--", "true", home=tmp_path / "home")
    assert {name.partition(".")[0] for name in loaded - bare} & set(HEAVY) == set()


def test_the_keeper_is_lean(tmp_path: Path, bare: set[str]) -> None:
    """Its memory is paid once a worker, for as long as commands run."""
    code = "import sys, os; import queue_core.keeper.main; os.write(2, '\\n'.join(sys.modules).encode())"
    loaded = loaded_by(code, home=tmp_path)
    assert {name.partition(".")[0] for name in loaded - bare} & {*HEAVY, "sqlite3", "_sqlite3", "subprocess"} == set()


OF_SERVERS = {"mcp", "pydantic", "pydantic_core", "uvicorn", "starlette", "httpx", "rich", "aiosqlite", "jsonschema"}
TLS = {"ssl", "_ssl", "_hashlib"}


def test_a_worker_that_has_run_a_command_has_loaded_nothing_of_servers_and_no_tls(
    tmp_path: Path, bare: set[str]
) -> None:
    """Its memory is paid for as long as there is work: OpenSSL alone would be 4.4 MB of 32."""
    home = tmp_path / "home"
    loaded_by(DUMP, "add", "--", "true", home=home)
    loaded = loaded_by(DUMP, "work", "--until-empty", "--json", home=home)
    assert "queue_core.sqlite.settle" in loaded, "this worker has ended no job"
    needless = {*OF_SERVERS, *TLS, "decimal", "pathlib", "uuid", "tempfile", "random", "ctypes", "email", "http"}
    assert {name.partition(".")[0] for name in loaded - bare} & needless == set()


def test_neither_has_one_that_a_server_boots(tmp_path: Path, bare: set[str]) -> None:
    code = boot._CODE.removesuffix("main()") + "import os; os.write(2, '\\n'.join(sys.modules).encode())"  # pyright: ignore[reportPrivateUsage]
    loaded = loaded_by(code, str(ROOT), home=tmp_path)
    assert "queue_core.worker.loop" in loaded
    assert {name.partition(".")[0] for name in loaded - bare} & {*OF_SERVERS, *TLS} == set()


def test_who_wants_tls_beside_a_worker_of_commands_has_it() -> None:
    code = (
        "from queue_core.worker.no_tls import leave_tls_out; leave_tls_out(); import anyio, ssl;"
        "ssl.create_default_context(); assert anyio.run(anyio.sleep, 0) is None"
    )
    subprocess.run([sys.executable, "-c", code], check=True, cwd=ROOT)

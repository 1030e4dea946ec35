"""The bundle of bytecode that `runq add` loads: only ever a faster way to the same modules."""

import marshal
import os
import shutil
import subprocess
import sys

import pytest

import queue_core

PACKAGE = os.path.dirname(queue_core.__file__)


@pytest.fixture
def copy(tmp_path) -> str:
    """A copy of the package that a test may spoil."""
    shutil.copytree(PACKAGE, tmp_path / "code" / "queue_core", ignore=shutil.ignore_patterns("__pycache__"))
    return str(tmp_path / "code")


def add(copy: str, home: str, *, write: bool = True) -> subprocess.CompletedProcess[str]:
    code = "import sys; sys.argv[0] = 'runq'; from queue_core.launch import main; sys.exit(main())"
    env = {"PATH": os.environ["PATH"], "HOME": home, "RUNQ_HOME": f"{home}/queue", "PYTHONPATH": copy}
    if not write:
        env["PYTHONDONTWRITEBYTECODE"] = "1"
    command = [sys.executable, "-X", "importtime", "-P", "-c", code, "add", "--", "true"]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)


def bundles(copy: str) -> list[str]:
    folder = f"{copy}/queue_core/__pycache__"
    return [f"{folder}/{name}" for name in os.listdir(folder) if name.endswith(".bundle")]


def test_the_second_run_finds_its_modules_in_the_bundle_of_the_first(copy: str, tmp_path) -> None:
    first, second = add(copy, str(tmp_path)), add(copy, str(tmp_path))
    assert (first.stdout, second.stdout) == ("1\n", "2\n")
    assert "queue_core.admission" in first.stderr
    assert "queue_core.admission" not in second.stderr


WHERE_FROM = (
    "import os, sys\n"
    "def shown(code, leave=os._exit):\n"
    "    names = ('queue_core.cli.options', 'queue_core.intake', '_sqlite3')\n"
    "    found = {name: getattr(sys.modules[name].__spec__, 'loader', None) for name in names}\n"
    "    for name, loader in found.items():\n"
    "        print(name, getattr(loader, '__name__', type(loader).__name__), file=sys.stderr)\n"
    "    sys.stderr.flush()\n"
    "    leave(code)\n"
    "os._exit = shown\n"
    "sys.argv[0] = 'runq'\n"
    "from queue_core.launch import main\n"
    "main()\n"
)


def run(copy: str, home: str, code: str, *arguments: str) -> subprocess.CompletedProcess[str]:
    env = {"PATH": os.environ["PATH"], "HOME": home, "RUNQ_HOME": f"{home}/queue", "PYTHONPATH": copy}
    command = [sys.executable, "-P", "-c", code, *arguments]
    return subprocess.run(command, env=env, capture_output=True, text=True, check=False, timeout=60)


def test_what_a_verb_needs_now_and_then_comes_from_the_bundle_too(copy: str, tmp_path) -> None:
    add(copy, str(tmp_path))
    done = run(copy, str(tmp_path), WHERE_FROM, "add", "--queue", "q", "--", "true")
    assert "queue_core.cli.options queue_core.launch\n" in done.stderr, done.stderr


def test_a_changed_source_of_what_is_seldom_needed_counts_as_well(copy: str, tmp_path) -> None:
    add(copy, str(tmp_path))
    with open(f"{copy}/queue_core/cli/options.py", "a", encoding="utf-8") as file:
        file.write("\n\ndef parse(*_):\n    raise errors.UsageError('another parser')\n")
    done = run(copy, str(tmp_path), WHERE_FROM, "add", "--queue", "q", "--", "true")
    assert (done.returncode, "another parser" in done.stderr) == (0, True), done.stderr


def test_an_extension_that_is_no_longer_there_is_looked_for(copy: str, tmp_path) -> None:
    add(copy, str(tmp_path))
    (path,) = bundles(copy)
    with open(path, "rb") as file:
        magic, always, seldom = marshal.loads(file.read())
    extensions = [(name, f"{file}.gone", *rest, None) for name, file, *rest, code in seldom if code is None]
    with open(path, "wb") as file:
        file.write(marshal.dumps((magic, always, extensions)))
    assert add(copy, str(tmp_path)).stdout == "2\n"


def test_a_changed_source_is_what_counts(copy: str, tmp_path) -> None:
    add(copy, str(tmp_path))
    with open(f"{copy}/queue_core/intake.py", "a", encoding="utf-8") as file:
        file.write(
            "\n\ndef admit(*_):\n    from queue_core.model import Receipt\n\n"
            "    return [Receipt(id=4711, state='held')]\n"
        )
    assert add(copy, str(tmp_path)).stdout == "4711\n"


def test_a_tree_that_is_copied_with_its_caches_runs_its_own_code(copy: str, tmp_path) -> None:
    add(copy, str(tmp_path))
    other = shutil.copytree(copy, tmp_path / "other")
    (other / "queue_core" / "cli" / "add.py").unlink()
    assert "No module named" in add(str(other), str(tmp_path)).stderr


@pytest.mark.parametrize("content", [b"", b"garbage", b"\xfb\x00"])
def test_a_spoiled_bundle_is_made_anew(copy: str, tmp_path, content: bytes) -> None:
    add(copy, str(tmp_path))
    (path,) = bundles(copy)
    with open(path, "wb") as file:
        file.write(content)
    assert add(copy, str(tmp_path)).stdout == "2\n"
    assert "queue_core.admission" not in add(copy, str(tmp_path)).stderr


def test_where_python_writes_no_caches_no_bundle_is_written(copy: str, tmp_path) -> None:
    os.mkdir(f"{copy}/queue_core/__pycache__")
    assert add(copy, str(tmp_path), write=False).stdout == "1\n"
    assert bundles(copy) == []


def test_a_job_of_any_kind_can_be_added_from_the_bundle(copy: str, tmp_path) -> None:
    add(copy, str(tmp_path))
    code = "import sys; sys.argv[0] = 'runq'; from queue_core.launch import main; sys.exit(main())"
    env = {"PATH": os.environ["PATH"], "HOME": str(tmp_path), "RUNQ_HOME": f"{tmp_path}/queue", "PYTHONPATH": copy}
    options = ["--at", "2030-01-01T00:00", "--lock", "gpu=2", "--on-dead", '["false"]', "--after", "1", "--json"]
    done = subprocess.run(
        [sys.executable, "-P", "-c", code, "add", *options, "--", "true"],
        env=env,
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )
    assert done.returncode == 0, done.stderr
    assert '"state":"blocked"' in done.stdout


def test_what_was_not_finished_leaves_no_file_behind(copy: str, tmp_path) -> None:
    os.makedirs(f"{copy}/queue_core/__pycache__/runq-add.{sys.implementation.cache_tag}.bundle/in the way")
    assert add(copy, str(tmp_path)).stdout == "1\n"
    assert [name for name in os.listdir(f"{copy}/queue_core/__pycache__") if ".bundle." in name] == []

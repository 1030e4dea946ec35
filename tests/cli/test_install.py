"""`runq install`: shows, asks, writes what it showed, touches nothing else, and takes it out again."""

from __future__ import annotations

import errno
import json
import os
import re
import shutil
import stat
import subprocess
import sys
import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from queue_core.cli.dispatch import run
from queue_core.clients import claude
from queue_core.clients.places import BY_NAME, Programs
from tests.cli.conftest import AGENT, PATIENCE, ROOT, RUNQ, Cli, answered

HERE = Path(sys.executable).parent  # where this installation has its programs
SERVER = {"type": "stdio", "command": str(HERE / "runq-mcp"), "args": [], "env": {}}
Tree = dict[str, str]


Inside = Callable[..., tuple[int, str, str]]


@pytest.fixture
def inside(cli: Cli, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> Inside:
    """The verb in this process, for tables of many cases: its exit code, what it says, what it complains of."""
    for name in os.environ:
        monkeypatch.delenv(name)
    for name, value in cli.env.items():
        monkeypatch.setenv(name, value)
    monkeypatch.chdir(cli.project)
    return lambda *words: (run([*words]), *capsys.readouterr())


def plant(cli: Cli, files: Tree) -> None:
    """Files of the user's, by their paths in the user's folder."""
    for name, text in files.items():
        path = cli.home.parent / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text.encode())


def tree(cli: Cli) -> Tree:
    """All that is in the user's folder, but for runq's own home."""
    folder, found = cli.home.parent, Tree()
    for path in sorted(folder.rglob("*")):
        if cli.home in (path, *path.parents):
            continue
        name = str(path.relative_to(folder))
        found[name] = f"-> {path.readlink()}" if path.is_symlink() else ""
        if path.is_file():
            found[name] += path.read_bytes().decode("utf-8", "replace")
    return found


def read(cli: Cli, name: str) -> Any:
    return json.loads((cli.home.parent / name).read_bytes().removeprefix(b"\xef\xbb\xbf"))


def changed_lines(shown: str) -> list[str]:
    return [line for line in shown.splitlines() if re.match(r"[+-](?![+-]{2} )", line)]


# The user's hooks, some of which look like ours; two-space indentation, no line end at the end.
OWN_HOOKS = """{
  "model": "opus",
  "hooks": {
    "Stop": [
      {"hooks": [{"type": "command", "command": "runq", "args": ["hook", "--", "mine"]}]},
      {"hooks": [{"type": "command", "command": "say done"}]}
    ],
    "Notification": []
  },
  "permissions": {"allow": []}
}"""
OTHERS = '{\n  "numStartups": 3,\n  "mcpServers": {\n    "other": {"command": "x"}\n  },\n  "projects": {}\n}'
COMMENTED = '{\n\t// mine\n\t"servers": {\n\t\t"other": {"command": "x"}, // last\n\t},\n\t"inputs": [],\n}\n'
TABLES = 'model = "x" # best\n\n[mcp_servers.other]\ncommand = "y"\n\n[tui]\na = [\n  [1],\n]\nn = nan\n# the end\n'
TURNS: dict[str, tuple[list[str], Tree]] = {
    "claude, nothing there": (["claude"], {}),
    "claude, others there": (["claude"], {".claude.json": OTHERS, ".claude/settings.json": OWN_HOOKS}),
    "claude, a byte order mark": (["claude"], {".claude.json": "\ufeff{\r\n\t'a': 1\r\n}\r\n".replace("'", '"')}),
    "claude, one line": (["claude"], {".claude.json": "{}", ".claude/settings.json": '{"hooks":{ }}'}),
    "claude, project": (["claude", "--scope", "project"], {"project/.mcp.json": OTHERS}),
    "codex, nothing there": (["codex"], {}),
    "codex, others there": (["codex"], {".codex/config.toml": TABLES}),
    "codex, project": (["codex", "--scope", "project"], {"project/.codex/config.toml": "a = 1"}),
    "vscode, nothing there": (["vscode"], {}),
    "vscode, others there": (["vscode"], {".config/Code/User/mcp.json": COMMENTED}),
    "vscode, project": (["vscode", "--scope", "project"], {"project/.vscode/mcp.json": COMMENTED}),
}


@pytest.mark.parametrize("name", TURNS)
def test_an_undo_restores_each_file_byte_for_byte(cli: Cli, inside: Inside, name: str) -> None:
    words, files = TURNS[name]
    plant(cli, files)
    before = tree(cli)
    code, out, _ = inside("install", *words, "--yes")
    installed = tree(cli)
    assert code == 0 and "Next: " in out
    assert installed != before
    code, out, _ = inside("install", *words, "--yes")
    assert code == 0 and "All is in place" in out
    assert tree(cli) == installed
    assert inside("install", *words, "--undo", "--yes")[0] == 0
    assert tree(cli) == before
    assert list((cli.home / "installs").iterdir()) == []
    code, out, _ = inside("install", *words, "--undo")
    assert code == 0 and "Nothing of runq is in" in out
    assert tree(cli) == before


def test_claude_gets_the_server_as_it_writes_it_itself_and_the_hooks_behind_the_users(cli: Cli) -> None:
    plant(cli, {".claude.json": OTHERS, ".claude/settings.json": OWN_HOOKS})
    cli.ok("install", "claude", "--yes")
    assert read(cli, ".claude.json") == {
        **json.loads(OTHERS),
        "mcpServers": {"other": {"command": "x"}, "runq": SERVER},
    }
    found, own = read(cli, ".claude/settings.json"), json.loads(OWN_HOOKS)
    ours = json.loads(
        json.dumps(claude.configuration(BY_NAME)["hooks"]).replace('"runq"', json.dumps(str(HERE / "runq")))
    )
    assert found["hooks"] == {
        **{event: own["hooks"].get(event, []) + ours.get(event, []) for event in {**own["hooks"], **ours}},
    }
    assert list(found) == list(own)
    assert stat.S_IMODE((cli.home.parent / ".claude.json").stat().st_mode) == 0o644  # as it was


def test_a_projects_files_name_the_programs_as_everybody_has_them(cli: Cli) -> None:
    shown = cli.ok("install", "claude", "--scope", "project", "--yes").out
    assert read(cli, "project/.mcp.json") == {"mcpServers": {"runq": {**SERVER, "command": "runq-mcp"}}}
    assert read(cli, "project/.claude/settings.json") == claude.configuration(BY_NAME)
    assert "trust .mcp.json" in shown
    warned = cli.ok("install", "claude", "--yes")
    assert "each would run twice" in warned.err
    assert "twice" not in cli.ok("install", "claude", "--no-hooks", "--yes").err


def test_the_plugin_and_the_example_have_the_same_hooks() -> None:
    wanted = claude.configuration(BY_NAME)["hooks"]
    for name in ("plugin/hooks/hooks.json", "claude_config.example.json"):
        text = re.sub(r'"[^"]*/runq"', '"runq"', (ROOT / name).read_text())
        assert json.loads(text)["hooks"] == wanted, name


def test_codex_and_vscode_get_the_server(cli: Cli) -> None:
    plant(cli, {"elsewhere/config.toml": TABLES, ".config/Code/User/mcp.json": COMMENTED})
    cli.ok("install", "codex", "--yes", CODEX_HOME=str(cli.home.parent / "elsewhere"))
    found = tomllib.loads((cli.home.parent / "elsewhere/config.toml").read_text())
    assert found["mcp_servers"]["runq"] == {"command": SERVER["command"], "args": [], "tool_timeout_sec": 60}
    assert not (cli.home.parent / ".codex").exists()
    cli.ok("install", "vscode", "--yes")
    text = (cli.home.parent / ".config/Code/User/mcp.json").read_text()
    assert re.sub(r'\n\t\t"runq": \{.*?\n\t\t\},', "", text, flags=re.DOTALL) == COMMENTED


def test_where_claude_has_another_folder_both_files_are_in_it(cli: Cli) -> None:
    place = cli.home.parent / "other"
    cli.ok("install", "claude", "--yes", CLAUDE_CONFIG_DIR=str(place))
    assert sorted(path.name for path in place.iterdir()) == [".claude.json", "settings.json"]
    assert not (cli.home.parent / ".claude.json").exists()
    assert stat.S_IMODE((place / ".claude.json").stat().st_mode) == 0o600


def test_where_runq_has_moved_the_paths_alone_are_brought_up_to_date(cli: Cli) -> None:
    cli.ok("install", "claude", "--yes")
    cli.ok("install", "codex", "--yes")
    installed = tree(cli)
    for name in (".claude.json", ".claude/settings.json", ".codex/config.toml"):
        path = cli.home.parent / name
        path.write_text(path.read_text().replace(str(HERE), "/opt/old/bin"))
    shown = cli.ok("install", "claude", "--yes").out + cli.ok("install", "codex", "--yes").out
    assert len(changed_lines(shown)) == 2 * 7
    assert all("command" in line for line in changed_lines(shown))
    assert tree(cli) == installed
    cli.ok("install", "claude", "--undo", "--yes")
    cli.ok("install", "codex", "--undo", "--yes")
    assert tree(cli) == {"project": ""}


@pytest.mark.parametrize("with_record", [True, False])
def test_an_undo_leaves_what_was_written_since(cli: Cli, with_record: bool) -> None:
    plant(cli, {".claude.json": OTHERS, ".claude/settings.json": OWN_HOOKS, ".codex/config.toml": TABLES})
    before = tree(cli)
    cli.ok("install", "claude", "--yes")
    cli.ok("install", "codex", "--yes")
    for name in (".claude.json", ".claude/settings.json"):
        path = cli.home.parent / name
        path.write_text(path.read_text().replace("{", '{\n  "new": true,', 1))
    path = cli.home.parent / ".codex/config.toml"
    path.write_text(path.read_text() + "# note\n\n[new]\nx = 1\n")
    if not with_record:
        shutil.rmtree(cli.home / "installs")
    cli.ok("install", "claude", "--undo", "--yes")
    cli.ok("install", "codex", "--undo", "--yes")
    wanted = {name: text.replace("{", '{\n  "new": true,', 1) for name, text in before.items()}
    wanted[".codex/config.toml"] = before[".codex/config.toml"] + "# note\n\n[new]\nx = 1\n"
    assert tree(cli) == wanted


def test_a_file_that_install_made_stays_once_it_holds_something_else(cli: Cli) -> None:
    cli.ok("install", "claude", "--yes")
    path = cli.home.parent / ".claude.json"
    path.write_text(path.read_text().replace("{", '{\n  "numStartups": 1,', 1))
    cli.ok("install", "claude", "--undo", "--yes")
    assert tree(cli) == {"project": "", ".claude.json": '{\n  "numStartups": 1\n}\n'}


@pytest.mark.parametrize("with_record", [True, False])
def test_containers_that_were_there_and_empty_stay_where_that_is_known(cli: Cli, with_record: bool) -> None:
    plant(cli, {".claude.json": '{\n  "mcpServers": {}\n}\n'})
    cli.ok("install", "claude", "--no-hooks", "--yes")
    path = cli.home.parent / ".claude.json"
    path.write_text(path.read_text() + "\n")
    if not with_record:
        shutil.rmtree(cli.home / "installs")
    cli.ok("install", "claude", "--undo", "--yes")
    assert json.loads(path.read_text()) == ({"mcpServers": {}} if with_record else {})


def test_links_are_followed_and_the_mode_stays(cli: Cli) -> None:
    plant(cli, {"dotfiles/claude": "{}\n", "dotfiles/settings": "{}\n", ".claude/x": ""})
    folder = cli.home.parent
    (folder / ".claude.json").symlink_to("dotfiles/claude")
    (folder / ".claude/settings.json").symlink_to(folder / "dotfiles/settings")
    (folder / "dotfiles/settings").chmod(0o640)
    if os.geteuid() == 0:
        os.chown(folder / "dotfiles/settings", 12345, 23456)
    known = (folder / "dotfiles/settings").stat()
    cli.ok("install", "claude", "--yes")
    assert (folder / ".claude.json").is_symlink() and (folder / ".claude/settings.json").is_symlink()
    assert "runq" in read(cli, "dotfiles/claude")["mcpServers"]
    found = (folder / "dotfiles/settings").stat()
    assert found.st_size > known.st_size
    assert (found.st_mode, found.st_uid, found.st_gid) == (known.st_mode, known.st_uid, known.st_gid)


FOREIGN = '{"mcpServers": {"runq": {"command": "npx", "args": ["runq"]}}}'
ENABLED = '{"enabledPlugins": {"other@x": true, "runq@market": true}}'
REFUSED: dict[str, tuple[list[str], Tree, str]] = {
    "no client": ([], {}, "needs one client"),
    "two clients": (["claude", "codex"], {}, "needs one client"),
    "an unknown client": (["emacs"], {}, "knows claude, codex, vscode, not `emacs`"),
    "a scope there is none of": (["claude", "--scope", "local"], {}, "one of user, project"),
    "no hooks to leave out": (["codex", "--no-hooks"], {}, "--no-hooks goes with"),
    "a comment": (["claude"], {".claude/settings.json": "{\n  // c\n}"}, "settings.json, line 2, column 3: a comment"),
    "broken JSON": (["claude"], {".claude.json": '{"a": 1'}, ".claude.json, line 1, column 8: a comma or } is missing"),
    "an empty file": (["claude"], {".claude.json": ""}, "line 1, column 1: a value is missing"),
    "no object": (["claude"], {".claude/settings.json": "[]"}, "line 1, column 1: no object at the top"),
    "a key twice": (["claude"], {".claude/settings.json": '{"hooks": {},\n"hooks": {}}'}, "line 2, column 1: the key"),
    "hooks that are none": (["claude"], {".claude/settings.json": '{"hooks": {"Stop": {}}}'}, "hooks.Stop is no array"),
    "another runq": (["claude"], {".claude.json": FOREIGN}, "another server by the name runq already ('npx', not"),
    "another runq behind a token": (
        ["claude"],
        {".claude.json": '{"mcpServers": {"runq": {"url": "http://me:ghp_x@host/mcp?key=ghp_y"}}}'},
        "already ('http://…host/mcp?…', not",
    ),
    "another runq of no kind": (
        ["claude"],
        {".claude.json": '{"mcpServers": {"runq": {"env": {"TOKEN": "ghp_x"}}}}'},
        "already (of another kind, not",
    ),
    "another runq for VS Code": (
        ["vscode", "--scope", "project"],
        {"project/.vscode/mcp.json": FOREIGN.replace("mcpServers", "servers")},
        "another server by the name runq",
    ),
    "the plugin": (["claude"], {".claude/settings.json": ENABLED}, "the plugin runq@market is switched on in"),
    "the plugin in the project": (
        ["claude", "--scope", "project"],
        {"project/.claude/settings.local.json": ENABLED},
        "the plugin runq@market",
    ),
    "a plugin whose name acts on a terminal": (
        ["claude"],
        {".claude/settings.json": ENABLED.replace("market", "m\\u001b[31m; reboot")},
        "the plugin runq@m\\e[31m; reboot is switched on in",
    ),
    "a number that is too long": (
        ["claude"],
        {".claude/settings.json": '{"a": 1,\n"b": ' + "1" * 4301 + "}"},
        "settings.json, line 2, column 6: a number of too many digits",
    ),
    "a number that is too long in TOML": (
        ["codex"],
        {".codex/config.toml": "a = 1\nb = " + "1_1" * 4301 + "\n"},
        "config.toml is not valid TOML: a number of too many digits (at line 2)",
    ),
    "broken TOML": (["codex"], {".codex/config.toml": "a = \n"}, "config.toml is not valid TOML"),
    "another runq in TOML": (
        ["codex"],
        {".codex/config.toml": '[mcp_servers.runq]\nurl = "http://x"\n'},
        "('http://x', not",
    ),
    "a table in one line": (
        ["codex"],
        {".codex/config.toml": "mcp_servers = {}\n"},
        "edit [mcp_servers.runq] in it by hand",
    ),
}


@pytest.mark.parametrize("name", REFUSED)
def test_what_cannot_be_done_is_refused_in_a_sentence_and_changes_nothing(cli: Cli, inside: Inside, name: str) -> None:
    words, files, sentence = REFUSED[name]
    plant(cli, files)
    before = tree(cli)
    code, _, err = inside("install", *words, "--yes")
    assert code in (1, 2)
    assert sentence in err
    assert err.count("\n") == 1
    assert "\x1b" not in err and "disable runq@m\\e" not in err
    assert tree(cli) == before


def make_read_only(path: Path) -> None:
    path.chmod(0o400)


SPOILT: dict[str, tuple[list[str], Callable[[Path], object], str]] = {
    "a read-only file": (["claude"], lambda folder: make_read_only(folder / ".claude/settings.json"), "is read-only"),
    "not UTF-8": (
        ["claude"],
        lambda folder: (folder / ".claude.json").write_bytes(b'{\n"a": "\xff"}'),
        "line 2: not UTF-8",
    ),
    "a folder in its place": (
        ["codex"],
        lambda folder: (folder / ".codex/config.toml").mkdir(parents=True),
        "no regular",
    ),
    "a pipe in its place": (["vscode"], lambda folder: os.mkfifo(folder / ".config/Code/User/mcp.json"), "no regular"),
    "a link out of the project": (
        ["claude", "--scope", "project"],
        lambda folder: (folder / "project/.mcp.json").symlink_to(folder / ".claude.json"),
        "leads out of the project",
    ),
    "a file where a folder has to be": (
        ["codex"],
        lambda folder: (folder / ".codex").write_text("x"),
        "Not a directory",
    ),
}


@pytest.mark.parametrize("name", SPOILT)
def test_what_cannot_be_written_is_left_alone_and_so_is_all_that_belongs_to_it(
    cli: Cli, inside: Inside, name: str
) -> None:
    words, act, sentence = SPOILT[name]
    plant(cli, {".claude.json": OTHERS, ".claude/settings.json": OWN_HOOKS, ".config/Code/User/x": ""})
    act(cli.home.parent)
    before = tree(cli)
    code, _, err = inside("install", *words, "--yes")
    assert code == 1
    assert sentence in err
    assert tree(cli) == before
    assert not (cli.home / "installs").exists() or list((cli.home / "installs").iterdir()) == []


@pytest.mark.parametrize("is_there", [True, False])
def test_where_the_second_file_cannot_be_replaced_the_first_is_as_it_was(cli: Cli, is_there: bool) -> None:
    """A file that is mounted by itself, as containers have it."""
    if not shutil.which("unshare"):
        pytest.skip("no mount of its own is to be had here: there is no unshare")
    plant(cli, {".claude/settings.json": OWN_HOOKS, **({".claude.json": OTHERS} if is_there else {})})
    before = tree(cli)
    script = 'mount --bind "$1" "$1" || exit 77; shift; exec "$@" 2>&1'
    settings = cli.home.parent / ".claude/settings.json"
    done = subprocess.run(
        ["unshare", "-rm", "sh", "-c", script, "sh", settings, *RUNQ, "install", "claude", "--yes"],
        env=cli.env,
        cwd=cli.project,
        capture_output=True,
        text=True,
        timeout=PATIENCE,
        check=False,
    )
    if "runq" not in done.stdout:
        pytest.skip(f"no mount of its own is to be had here: {done.stderr.strip()[-200:]}")
    assert done.returncode == 1
    assert "could not be written (Device or resource busy)" in done.stdout
    assert tree(cli) == before


def test_an_undo_after_an_update_leaves_what_was_written_before_the_update(cli: Cli, inside: Inside) -> None:
    plant(cli, {".claude.json": OTHERS})
    assert inside("install", "claude", "--no-hooks", "--yes")[0] == 0
    path = cli.home.parent / ".claude.json"
    path.write_text(path.read_text().replace(str(HERE), "/opt/old/bin").replace("3", "4"))
    assert inside("install", "claude", "--no-hooks", "--yes")[0] == 0
    assert inside("install", "claude", "--undo", "--yes")[0] == 0
    assert path.read_text() == OTHERS.replace("3", "4")


def test_an_undo_leaves_a_hook_of_our_kind_that_was_there_before(cli: Cli, inside: Inside) -> None:
    own = {"hooks": [{"type": "command", "command": str(HERE / "runq"), "args": ["hook"]}]}
    plant(cli, {".claude/settings.json": json.dumps({"hooks": {"Stop": [own]}})})
    path = cli.home.parent / ".claude/settings.json"
    assert inside("install", "claude", "--yes")[0] == 0
    installed = json.loads(path.read_text())
    assert installed["hooks"]["Stop"] == [own] and "SessionEnd" in installed["hooks"]
    path.write_text(json.dumps({**installed, "model": "opus"}))
    assert inside("install", "claude", "--undo", "--yes")[0] == 0
    assert json.loads(path.read_text()) == {"hooks": {"Stop": [own]}, "model": "opus"}


def test_an_undo_leaves_the_users_hook_that_shares_a_group_with_ours(cli: Cli, inside: Inside) -> None:
    assert inside("install", "claude", "--yes")[0] == 0
    path = cli.home.parent / ".claude/settings.json"
    found = json.loads(path.read_text())
    own = {"type": "command", "command": "say done"}
    found["hooks"]["Stop"][0]["hooks"].append(own)
    path.write_text(json.dumps(found))
    assert inside("install", "claude", "--undo", "--yes")[0] == 0
    assert json.loads(path.read_text()) == {"hooks": {"Stop": [{"hooks": [own]}]}}


def test_only_persons_install(cli: Cli) -> None:
    before = tree(cli)
    for env, who in ((AGENT, "an agent"), (cli.hook_env, "a hook")):
        for words in (["--yes"], ["--undo", "--yes"], ["--dry-run"]):
            ran = cli("install", "claude", *words, **env)
            assert (ran.code, ran.out) == (1, "")
            assert f"{who} may not change what clients run; ask the user" in ran.err
    assert tree(cli) == before


def test_without_a_terminal_it_shows_and_writes_nothing(cli: Cli) -> None:
    before = tree(cli)
    ran = cli("install", "claude", stdin=b"y\n")
    assert ran.code == 1
    assert "+++ " in ran.out and "needs --yes" in ran.err
    assert cli.ok("install", "claude", "--dry-run", "--yes").out == ran.out
    assert tree(cli) == before


def test_the_client_s_lock_is_waited_for_and_a_dead_program_s_is_taken(cli: Cli) -> None:
    plant(cli, {".claude.json": OTHERS})
    lock = cli.home.parent / ".claude.json.lock"
    lock.mkdir()
    before = tree(cli)
    ran = cli("install", "claude", "--yes")
    assert (ran.code, tree(cli)) == (1, before)
    assert "another program is writing" in ran.err
    os.utime(lock, (0, 0))
    cli.ok("install", "claude", "--yes")
    assert not lock.exists()
    assert "runq" in read(cli, ".claude.json")["mcpServers"]


def test_on_a_terminal_it_asks_and_no_is_the_answer_unless_it_is_yes(cli: Cli) -> None:
    before = tree(cli)
    for answer in (b"\n", b"n\n", b"yep\n", b"\x04"):
        code, shown = answered(cli, "install", "claude", answer=answer)
        assert (code, tree(cli)) == (1, before)
        assert "runq: nothing was written" in shown
    code, shown = answered(cli, "install", "claude", answer=b"y\n")
    assert code == 0
    assert "\x1b[32m+" in shown and "Write this? [y/N]" in shown
    assert "Next: start a new session; `/mcp` shows runq." in shown
    installed = tree(cli)
    code, shown = answered(cli, "install", "claude", "--undo", answer=b"n\n")
    assert (code, tree(cli)) == (1, installed)
    assert "\x1b[31m-" in shown
    assert answered(cli, "install", "claude", "--undo", answer=b"yes\n")[0] == 0
    assert tree(cli) == before


def test_a_file_that_changes_while_a_person_reads_is_not_written(cli: Cli) -> None:
    plant(cli, {".claude.json": OTHERS, ".claude/settings.json": "{}\n"})
    changed = '{"hooks": {}}\n'
    code, shown = answered(
        cli,
        "install",
        "claude",
        answer=b"y\n",
        meanwhile=lambda: (cli.home.parent / ".claude/settings.json").write_text(changed),
    )
    assert code == 1
    assert "was changed meanwhile, so nothing was written; run it again" in shown
    assert {**tree(cli), ".claude": ""} == {
        "project": "",
        ".claude": "",
        ".claude.json": OTHERS,
        ".claude/settings.json": changed,
    }


def test_what_a_file_holds_cannot_act_on_the_terminal(cli: Cli) -> None:
    plant(cli, {".codex/config.toml": '[mcp_servers.runq]\ncommand = "/\u202egnp/runq-mcp"\n'})
    shown = cli.ok("install", "codex", "--dry-run").out
    assert "\\u202egnp" in shown and "\u202e" not in shown


TOKEN = "ghp_never-shown"
SECRETS = {
    "claude": {
        ".claude.json": {"mcpServers": {"other": {"command": "x", "env": {"TOKEN": TOKEN}}}, "last": TOKEN},
        ".claude/settings.json": {
            "env": {"TOKEN": TOKEN},
            "hooks": {
                name: [{"hooks": [{"type": "command", "command": f"{name} {TOKEN}"}]}]
                for name in ("Stop", "Notification", "SessionStart", "PreCompact")
            },
            "apiKeyHelper": TOKEN,
        },
    },
    "vscode": {".config/Code/User/mcp.json": {"servers": {"other": {"env": {"TOKEN": TOKEN}}}, "inputs": [TOKEN]}},
}
TOML_SECRET = f'k = "{TOKEN}"\n[mcp_servers.other]\nenv = {{ TOKEN = "{TOKEN}" }} # {TOKEN}\n'


@pytest.mark.parametrize("indent", [None, 2])
@pytest.mark.parametrize("client", ["claude", "vscode", "codex"])
def test_what_is_the_users_is_neither_shown_nor_kept(cli: Cli, inside: Inside, client: str, indent: int | None) -> None:
    """Tokens of other servers would be in a terminal's log, or a build's, and stay in runq's home."""
    end = "" if indent is None else "\n"
    files = {name: json.dumps(value, indent=indent) + end for name, value in SECRETS.get(client, {}).items()}
    plant(cli, files or {".codex/config.toml": TOML_SECRET})
    before, shown = tree(cli), ""
    for words in (["--dry-run"], ["--yes"], ["--undo", "--dry-run"]):
        code, out, err = inside("install", client, *words)
        assert code == 0 and out.count(f"{HERE}/runq-mcp") == 1
        shown += out + err
    assert all(TOKEN not in path.read_text() for path in (cli.home / "installs").iterdir())
    for name in before:
        path = cli.home.parent / name
        if path.is_file():
            path.write_text(path.read_text().replace(str(HERE), "/opt/old"))
    code, out, err = inside("install", client, "--yes")
    assert code == 0 and "-" in out and "/opt/old/runq-mcp" in out and f"{HERE}/runq-mcp" in out
    shown += out + err
    code, out, err = inside("install", client, "--undo", "--yes")
    shown += out + err
    assert TOKEN not in shown
    assert tree(cli) == before


def test_an_undo_whose_record_does_not_fit_takes_out_what_is_ours(cli: Cli, inside: Inside) -> None:
    plant(cli, {".claude.json": OTHERS})
    assert inside("install", "claude", "--no-hooks", "--yes")[0] == 0
    (place,) = (cli.home / "installs").iterdir()
    record = json.loads(place.read_text())
    place.write_text(json.dumps({**record, "splices": [[1, "wrong", "x"]]}))
    assert inside("install", "claude", "--undo", "--yes")[0] == 0
    assert (cli.home.parent / ".claude.json").read_text() == OTHERS


def test_a_projects_settings_do_not_keep_the_user_from_an_install(cli: Cli, inside: Inside) -> None:
    plant(cli, {"project/.claude/settings.json": ENABLED})
    assert inside("install", "claude", "--yes")[0] == 0


@pytest.mark.parametrize(
    ("client", "variable"),
    [("claude", "HOME"), ("claude", "CLAUDE_CONFIG_DIR"), ("codex", "CODEX_HOME"), ("vscode", "XDG_CONFIG_HOME")],
)
@pytest.mark.parametrize("undo", [False, True])
def test_a_folder_that_depends_on_where_one_is_is_refused(
    cli: Cli, inside: Inside, monkeypatch: pytest.MonkeyPatch, client: str, variable: str, undo: bool
) -> None:
    monkeypatch.setenv(variable, "some\x1b/where")
    code, _, err = inside("install", client, "--yes", *(["--undo"] if undo else []))
    assert code == 1
    assert f"{variable} is some\\e/where, which is no absolute path; " in err and err.count("\n") == 1
    assert tree(cli) == {"project": ""}


def test_without_a_home_folder_nothing_is_written_here(
    cli: Cli, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    def nobody(uid: int) -> None:
        raise KeyError(uid)

    monkeypatch.delenv("HOME")
    monkeypatch.setattr("pwd.getpwuid", nobody)
    code, _, err = inside("install", "claude", "--yes")
    assert code == 1
    assert "your home folder is not known; set HOME" in err and err.count("\n") == 1
    assert tree(cli) == {"project": ""}


def test_what_a_killed_install_left_is_removed_by_the_next(cli: Cli) -> None:
    plant(cli, {".claude.json": OTHERS})
    before = tree(cli)
    killed = (
        "import os, sys; rename = os.rename\n"
        "os.rename = lambda a, b: os.kill(os.getpid(), 9) if b.endswith('.claude.json') else rename(a, b)\n"
        "from queue_core.launch import main; sys.exit(main())"
    )
    words = ["install", "claude", "--no-hooks", "--yes"]
    ran = subprocess.run(
        [sys.executable, "-P", "-c", killed, *words],
        env=cli.env,
        cwd=cli.project,
        timeout=PATIENCE,
        check=False,
        capture_output=True,
    )
    left = [cli.home.parent / name for name in tree(cli) if name not in before]
    lock, part = sorted(left, key=lambda path: path.is_file())
    assert ran.returncode == -9 and lock.is_dir() and OTHERS[:20] in part.read_text()
    lock.rmdir()
    refused = cli(*words)
    assert refused.code == 1 and f"another install is writing {part}" in refused.err
    os.utime(part, (0, 0))
    cli.ok(*words)
    assert set(tree(cli)) == set(before)
    assert "runq" in read(cli, ".claude.json")["mcpServers"]


def test_a_record_that_cannot_be_written_leaves_nothing(
    cli: Cli, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_: int) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr(os, "fsync", full)
    code, _, err = inside("install", "claude", "--yes")
    assert code == 1 and "No space left" in err
    assert list((cli.home / "installs").iterdir()) == []
    assert tree(cli) == {"project": ""}


def test_an_undo_leaves_a_file_that_is_read_only_now(cli: Cli, inside: Inside) -> None:
    assert inside("install", "claude", "--yes")[0] == 0
    make_read_only(cli.home.parent / ".claude/settings.json")
    before = tree(cli)
    code, _, err = inside("install", "claude", "--undo", "--yes")
    assert code == 1 and "settings.json is read-only" in err
    assert tree(cli) == before


def test_an_undo_after_an_update_restores_what_was_there_before_the_install(
    cli: Cli, inside: Inside, monkeypatch: pytest.MonkeyPatch
) -> None:
    # In blanks like these an undo that only takes out what is ours would leave a trace.
    plant(cli, {".claude.json": '{"mcpServers": { }, "a": 1}', ".claude/settings.json": "{\n\n}"})
    before = tree(cli)
    old = Programs(runq="/opt/old/runq", server="/opt/old/runq-mcp")
    with monkeypatch.context() as patch:
        patch.setattr("queue_core.cli.install.own_programs", lambda *_: old)
        assert inside("install", "claude", "--yes")[0] == 0
    assert inside("install", "claude", "--yes")[0] == 0
    assert "/opt/old" not in "".join(tree(cli).values())
    assert inside("install", "claude", "--undo", "--yes")[0] == 0
    assert tree(cli) == before


@pytest.mark.parametrize(
    ("client", "name", "text"),
    [
        ("codex", ".codex/config.toml", '[mcp_servers.runq]\ncommand = "/opt/old/runq-mcp"\n'),
        ("vscode", ".config/Code/User/mcp.json", '{"servers": {"runq": {"command": "/opt/old/runq-mcp"}}}'),
    ],
)
def test_an_undo_leaves_a_server_that_was_there_before_any_install(
    cli: Cli, inside: Inside, client: str, name: str, text: str
) -> None:
    plant(cli, {name: text})
    assert inside("install", client, "--yes")[0] == 0
    path = cli.home.parent / name
    changed = path.read_text() + "\n"
    path.write_text(changed)
    assert inside("install", client, "--undo", "--yes")[0] == 0
    assert path.read_text() == changed

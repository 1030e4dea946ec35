"""The rules file: read with care, added to without touching what the user wrote."""

from __future__ import annotations

import fcntl
import os
import subprocess
import sys
from pathlib import Path
from typing import Any, ClassVar

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queue_core import rules
from queue_core.errors import SettingsError, UsageError
from queue_core.policy import Rule

ROOT = Path(__file__).parents[2]

GOOD = """# my rules
[[allow]]
argv = ["git", "status"]

[[deny]]
argv = ["git", "push", "..."]
reason = "never"

[[allow]]
argv = ["make", "<word>"]
program = "/usr/bin/make"
env = ["CI"]
stdin = true
"""


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "config" / "rules.toml"


def write(file: Path, text: str | bytes, mode: int = 0o600) -> str:
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    file.chmod(mode)
    return str(file)


class TestLoading:
    def test_without_a_file_there_are_no_rules(self, file: Path) -> None:
        assert rules.load(str(file)) == ()
        assert rules.load_or_ask(str(file)) == ((), None)

    def test_an_empty_file_holds_no_rules(self, file: Path) -> None:
        assert rules.load(write(file, "")) == ()

    def test_every_key_is_read(self, file: Path) -> None:
        assert set(rules.load(write(file, GOOD))) == {
            Rule(argv=("git", "status")),
            Rule(argv=("git", "push", "..."), deny=True, reason="never"),
            Rule(argv=("make", "<word>"), program="/usr/bin/make", env=("CI",), stdin=True),
        }

    @pytest.mark.parametrize(
        ("text", "words"),
        [
            ("[[allow]]\nargv = [\n\n", "line 4, column 1"),
            ('[[allow]]\nargv = ["a" "b"]', "line 2"),
            ('[[permit]]\nargv = ["a"]', "permit"),
            ("allow = 1", "allow"),
            ("allow = [1]", "number 1"),
            ("[allow]\nargv = ['a']", "allow"),
            ('[[allow]]\nargv = ["a"]\n[[allow]]\nargs = ["a"]', "number 2"),
            ("[[allow]]", "argv"),
            ("[[allow]]\nargv = []", "argv"),
            ('[[allow]]\nargv = "git status"', "argv"),
            ('[[allow]]\nargv = ["git", 1]', "argv"),
            ('[[allow]]\nargv = ["git", "...", "x"]', "..."),
            ('[[allow]]\nargv = ["git", "<path>"]', "<path>"),
            ('[[allow]]\nargv = ["<word>"]', "<word>"),
            ('[[allow]]\nargv = ["..."]', "..."),
            ('[[allow]]\nargv = ["a"]\nenv = "PATH"', "env"),
            ('[[allow]]\nargv = ["a"]\nenv = [1]', "env"),
            ('[[allow]]\nargv = ["a"]\nstdin = "false"', "stdin"),
            ('[[allow]]\nargv = ["a"]\nprogram = 5', "program"),
            ('[[allow]]\nargv = ["a"]\nprogram = "make"', "program"),
            ('[[allow]]\nargv = ["a"]\nreason = 5', "reason"),
            ("[allow]\nargv = ['a']", "line 1, column 1: write [[allow]] with two brackets"),
            ("# x\n[deny]\nargv = ['a']", "line 2, column 1: write [[deny]] with two brackets"),
            ("[[allow]]\nargv = ['./a']", "line 2, column 9: [[allow]] number 1: a program with a slash needs"),
            ("[[deny]]\nargv = ['a/b']", "needs `program` or `cwd`"),
            ('[[allow]]\nargv = ["a" "b"]', "; mend it there, or remove"),
        ],
    )
    def test_a_broken_file_says_where_and_gives_no_rule(self, file: Path, text: str, words: str) -> None:
        path = write(file, text)
        with pytest.raises(SettingsError) as error:
            rules.load(path)
        assert path in str(error.value)
        assert words in str(error.value)
        assert rules.load_or_ask(path) == ((), str(error.value))

    @pytest.mark.parametrize(
        ("text", "where"),
        [
            ('[[allow]]\nargv = ["a" "b"]', "line 2, column 13"),
            ('[[allow]]\nargv = ["a"]\n\n[[alow]]\nargv = ["b"]', "line 4, column 1"),
            ('[[allow]]\nargv = ["a"]\n  argz = ["b"]', "line 3, column 3"),
            ('[[allow]]\nargv = ["a"]\n[[allow]] # x\nreason = "[[allow]]"\nprogram = "x"\nargv = ["a"]',
             "line 5, column 11"),
            ('[[deny]]\nargv = ["a"]\n[[allow]]\nargv = ["git", "<path>"]', "line 4, column 16"),
            ('[[allow]]\nargv = [\n  "git", # ]\n  "...",\n  "x",\n]', "line 4, column 3"),
            ("[[allow]]\nargv = [\'git\', \'...\', 'x']", "line 2, column 16"),
            ("[[allow]]\nargv = []", "line 2, column 1"),
            ("# x\n[[allow]]\nstdin = true", "line 2, column 1"),
            ('[[allow]]\nreason = """\n[[allow]]\n"""\nargv = ["..."]', "line 5, column 9"),
            ('[[allow]]\r\nargv = ["a"]\r\nstdin = 1\r\n', "line 3, column 9"),
            ('[[ allow ]]\n"argv" = ["a"]\nenv = [1]', "line 3, column 8"),
            ('[[allow]]\nargv = ["a"]\n[allow.env]\nx = 1', "line 1, column 1"),
            ('allow = [{argv = ["a"]}, {argv = ["..."]}]', "[[allow]] number 2"),
            (b"[[allow]]\nargv = ['caf\xe9']", "line 2, column 13"),
            ("[[allow]]\nargv = [", "line 2, column 9"),
        ],
    )  # fmt: skip
    def test_it_says_the_line_and_the_column(self, file: Path, text: str | bytes, where: str) -> None:
        path = write(file, text)
        with pytest.raises(SettingsError) as error:
            rules.load(path)
        assert str(error.value).startswith((f"{path}, {where}: ", f"{path}: {where}"))

    def test_rules_are_told_with_their_lines(self, file: Path) -> None:
        found = rules.load_written(write(file, GOOD))
        assert [(one.rule.argv[0], one.line) for one in found] == [("git", 2), ("make", 9), ("git", 5)]

    @given(st.text(st.characters(codec="utf-8"), max_size=200))
    def test_whatever_it_holds_there_are_rules_or_a_sentence(self, tmp_path: Path, text: str) -> None:
        path = tmp_path / "any.toml"
        path.write_text("[[allow]]\n" + text, newline="")
        found, why = rules.load_or_ask(str(path))
        assert found == () or why is None
        assert why is None or str(path) in why

    def test_bytes_that_are_no_utf_8_are_a_broken_file(self, file: Path) -> None:
        with pytest.raises(SettingsError):
            rules.load(write(file, b"# caf\xe9"))

    @pytest.mark.parametrize("mode", [0o620, 0o602, 0o666])
    def test_a_file_that_others_can_write_to_is_not_believed(self, file: Path, mode: int) -> None:
        path = write(file, GOOD, mode)
        with pytest.raises(SettingsError, match=f"chmod 600 {path}"):
            rules.load(path)

    def test_one_that_others_can_only_read_is(self, file: Path) -> None:
        assert len(rules.load(write(file, GOOD, 0o644))) == 3

    @pytest.mark.parametrize("mode", [0o770, 0o777, 0o720])
    def test_one_in_a_folder_where_others_could_replace_it_is_not(self, file: Path, mode: int) -> None:
        path = write(file, GOOD)
        file.parent.chmod(mode)
        with pytest.raises(SettingsError, match=f"chmod go-w {file.parent}"):
            rules.load(path)

    def test_a_link_of_a_dotfile_managers_is_followed_to_what_is_as_safe(self, file: Path, tmp_path: Path) -> None:
        (tmp_path / "dotfiles").mkdir()
        file.parent.mkdir()
        file.symlink_to(tmp_path / "dotfiles/rules.toml")
        write(tmp_path / "dotfiles/rules.toml", GOOD)
        assert len(rules.load(str(file))) == 3
        (tmp_path / "dotfiles").chmod(0o777)
        with pytest.raises(SettingsError, match=f"chmod go-w {tmp_path}/dotfiles"):
            rules.load(str(file))
        (tmp_path / "dotfiles").chmod(0o755)
        (tmp_path / "dotfiles/rules.toml").chmod(0o666)
        with pytest.raises(SettingsError, match="chmod 600"):
            rules.load(str(file))

    @pytest.mark.skipif(os.geteuid() != 0, reason="only root can give files away")
    def test_nor_is_one_of_another_user(self, file: Path) -> None:
        path = write(file, GOOD)
        os.chown(path, 12345, -1)
        with pytest.raises(SettingsError, match=r"belongs to another user.*sudo chown"):
            rules.load(path)

    def test_one_without_an_end_is_not_read_to_it(self, file: Path) -> None:
        path = write(file, "#" * (1024 * 1024) + "\n")
        with pytest.raises(SettingsError, match="more than"):
            rules.load(path)
        os.unlink(path)
        os.mkfifo(path, 0o600)
        with pytest.raises(SettingsError, match="no regular file"):
            rules.load(path)

    def test_whatever_stands_in_the_way_of_reading_means_ask(self, tmp_path: Path) -> None:
        loop = tmp_path / "loop.toml"
        loop.symlink_to(loop)
        (tmp_path / "folder.toml").mkdir(mode=0o700)
        (tmp_path / "plain").write_text("")
        for path in (loop, tmp_path / "folder.toml", tmp_path / "plain" / "rules.toml"):
            found, why = rules.load_or_ask(str(path))
            assert found == ()
            assert str(path) in (why or "")


class TestAppending:
    def test_the_first_rule_makes_the_file_for_its_user_alone(self, file: Path) -> None:
        rules.append(str(file), Rule(argv=("git", "status")))
        assert rules.load(str(file)) == (Rule(argv=("git", "status")),)
        assert file.stat().st_mode & 0o777 == 0o600
        assert file.parent.stat().st_mode & 0o777 == 0o700

    @pytest.mark.parametrize("text", [GOOD, GOOD.rstrip("\n"), "# only a comment", "", "\n\n", "allow = []\ndeny = []"])
    def test_what_the_user_wrote_stays_as_it_is(self, file: Path, text: str) -> None:
        path = write(file, text)
        try:
            rules.append(path, Rule(argv=("ls",)))
        except UsageError:
            assert file.read_text() == text  # TOML does not let it be added to: said, and nothing written
            return
        assert file.read_text().startswith(text)
        assert Rule(argv=("ls",)) in rules.load(path)

    def test_rules_written_in_one_line_are_not_broken_by_adding_to_them(self, file: Path) -> None:
        path = write(file, 'allow = [{argv = ["git", "status"]}]\n')
        with pytest.raises(UsageError, match="by hand"):
            rules.append(path, Rule(argv=("ls",)))
        assert rules.load(path) == (Rule(argv=("git", "status")),)

    def test_a_broken_file_is_mended_by_its_writer_first(self, file: Path) -> None:
        path = write(file, "[[allow]")
        with pytest.raises(SettingsError):
            rules.append(path, Rule(argv=("ls",)))
        assert file.read_text() == "[[allow]"

    def test_a_link_to_nothing_is_refused_and_nothing_is_made(self, file: Path, tmp_path: Path) -> None:
        file.parent.mkdir()
        file.symlink_to(tmp_path / "elsewhere")
        with pytest.raises(UsageError, match="which is not there"):
            rules.append(str(file), Rule(argv=("git",)))
        assert not (tmp_path / "elsewhere").exists()

    def test_a_link_stays_one_and_what_it_leads_to_is_replaced(self, file: Path, tmp_path: Path) -> None:
        (tmp_path / "dotfiles").mkdir()
        file.parent.mkdir()
        file.symlink_to(tmp_path / "dotfiles/rules.toml")
        write(tmp_path / "dotfiles/rules.toml", GOOD)
        rules.append(str(file), Rule(argv=("ls",)))
        assert file.is_symlink()
        assert (tmp_path / "dotfiles/rules.toml").read_text().startswith(GOOD)
        assert len(rules.load(str(file))) == 4

    def test_it_does_not_write_over_what_lies_where_it_writes(self, file: Path, tmp_path: Path) -> None:
        path = write(file, GOOD)
        (tmp_path / "other").write_text("mine")
        Path(path + ".new").symlink_to(tmp_path / "other")
        rules.append(path, Rule(argv=("ls",)))
        assert (tmp_path / "other").read_text() == "mine"
        assert len(rules.load(path)) == 4

    @pytest.mark.parametrize("call", ["write", "fsync", "rename"])
    def test_a_kill_in_the_middle_leaves_the_old_file(self, file: Path, call: str) -> None:
        path = write(file, GOOD)
        code = (
            "import os, sys\nfrom queue_core import rules\nfrom queue_core.policy import Rule\n"
            "def killed(*_): os.kill(os.getpid(), 9)\n"
            f"if {call!r} == 'write':\n"
            "    real = os.fdopen\n"
            "    def fdopen(*a, **k):\n"
            "        file = real(*a, **k); file.write(b'half'); file.flush(); killed()\n"
            "    os.fdopen = fdopen\n"
            f"else:\n    setattr(os, {call!r}, killed)\n"
            "rules.append(sys.argv[1], Rule(argv=('ls',)))\n"
        )
        done = subprocess.run([sys.executable, "-c", code, path], cwd=ROOT, check=False)
        assert done.returncode == -9
        assert file.read_text() == GOOD
        rules.append(path, Rule(argv=("ls",)))
        assert len(rules.load(path)) == 4
        assert sorted(one.name for one in file.parent.iterdir()) == ["rules.toml", "rules.toml.lock"]

    def test_two_that_add_at_once_lose_nothing(self, file: Path) -> None:
        path = write(file, GOOD)
        code = (
            "import sys\nfrom queue_core import rules\nfrom queue_core.policy import Rule\n"
            "for n in range(10): rules.append(sys.argv[1], Rule(argv=('ls', sys.argv[2] + str(n))))\n"
        )
        started = [subprocess.Popen([sys.executable, "-c", code, path, name], cwd=ROOT) for name in ("a", "b", "c")]
        assert [process.wait(60) for process in started] == [0, 0, 0]
        words = {rule.argv[1] for rule in rules.load(path) if rule.argv[0] == "ls"}
        assert words == {name + str(number) for name in ("a", "b", "c") for number in range(10)}

    def test_the_wait_for_another_one_has_an_end(self, file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        path = write(file, GOOD)
        monkeypatch.setattr(rules, "PATIENCE", 0.05)
        with open(path + ".lock", "w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with pytest.raises(UsageError, match="try again"):
                rules.append(path, Rule(argv=("ls",)))
        assert file.read_text() == GOOD

    @given(
        argv=st.lists(st.text(st.characters(codec="utf-8")), max_size=4),
        reason=st.none() | st.text(st.characters(codec="utf-8"), min_size=1),
        env=st.lists(st.text(st.characters(codec="utf-8"))),
        deny=st.booleans(),
        stdin=st.booleans(),
    )
    def test_any_rule_comes_back_as_it_was_written(
        self, tmp_path: Path, argv: list[str], reason: str | None, env: list[str], deny: bool, stdin: bool
    ) -> None:
        path = tmp_path / "round.toml"
        path.unlink(missing_ok=True)
        words = [word for word in argv if word != "..." and not word.startswith("<")]
        rule = Rule(argv=("tool", *words), program="/a b/ü\"'\\", deny=deny, reason=reason, env=tuple(env), stdin=stdin)
        rules.append(str(path), rule)
        rules.append(str(path), rule)
        assert rules.load(str(path)) == (rule, rule)

    @pytest.mark.parametrize("word", ["\udcff", "\ud800"])
    def test_what_toml_cannot_hold_is_refused_and_nothing_written(self, file: Path, word: str) -> None:
        path = write(file, GOOD)
        with pytest.raises(UsageError):
            rules.append(path, Rule(argv=("ls", word)))
        assert file.read_text() == GOOD


class TestExactRules:
    """What "always" writes: this very command, here, with these variables."""

    HERE: ClassVar[dict[str, Any]] = {"program": "/usr/bin/git", "cwd": "/project", "env": {}}

    def test_it_means_this_command_alone(self) -> None:
        found = rules.exact_rule(["git", "x", ""], program="/usr/bin/git", cwd="/project", env={"A": "b=c"}, stdin=True)
        assert found == Rule(argv=("git", "x", ""), program="/usr/bin/git", cwd="/project", env=("A=b=c",), stdin=True)
        assert found is not None
        assert not found.wildcard

    @pytest.mark.parametrize(
        "argv", [[], [""], ["git", "<int>"], ["git", "<x>"], ["git", "..."], ["git", "...", "x"], ["git", "\udcff"],
                 ["<word>"], ["..."], ["git", "a\0b"]]
    )  # fmt: skip
    def test_what_cannot_be_said_exactly_is_not_said(self, argv: list[str]) -> None:
        assert rules.exact_rule(argv, **self.HERE) is None

    @pytest.mark.parametrize("more", [{"program": "git"}, {"cwd": "."}, {"env": {"A": "\udcff"}}, {"cwd": "/\udcff"}])
    def test_nor_is_a_place_that_cannot(self, more: dict[str, Any]) -> None:
        assert rules.exact_rule(["git"], **{**self.HERE, **more}) is None

    @given(argv=st.lists(st.text(), min_size=1), env=st.dictionaries(st.text(min_size=1), st.text(), max_size=2))
    def test_whatever_is_said_comes_back_and_fits_nothing_else(
        self, tmp_path: Path, argv: list[str], env: dict[str, str]
    ) -> None:
        path = tmp_path / "exact.toml"
        path.unlink(missing_ok=True)
        found = rules.exact_rule(argv, program="/usr/bin/git", cwd="/project", env=env)
        if found is None:
            return
        rules.append(str(path), found)
        assert rules.load(str(path)) == (found,)
        assert found.argv == tuple(argv)


class TestPatternsAsTyped:
    @pytest.mark.parametrize(
        ("text", "argv"),
        [
            ("git status", ("git", "status")),
            ("git log ...", ("git", "log", "...")),
            ("echo 'a b' \"c\"", ("echo", "a b", "c")),
            ("  ls  ", ("ls",)),
        ],
    )
    def test_a_pattern_is_split_as_a_shell_would(self, text: str, argv: tuple[str, ...]) -> None:
        assert rules.parse_pattern(text) == argv

    @pytest.mark.parametrize("text", ["", "  ", "echo 'a", "...", "<word> x", "git ... x", "git <path>"])
    def test_one_that_makes_no_sense_is_refused(self, text: str) -> None:
        with pytest.raises(UsageError):
            rules.parse_pattern(text)


class TestResolving:
    def test_a_name_is_looked_up_on_a_path_that_nothing_moves(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setenv("PATH", "/nowhere")
        assert rules.resolve("sh") == os.path.realpath("/bin/sh")

    def test_what_is_not_there_is_nothing(self, tmp_path: Path) -> None:
        assert rules.resolve("no-such-program-here") is None
        assert rules.resolve(str(tmp_path)) is None

    def test_a_path_is_itself_with_its_links_followed(self, tmp_path: Path) -> None:
        program = tmp_path / "tool"
        program.write_text("")
        program.chmod(0o755)
        (tmp_path / "link").symlink_to(program)
        assert rules.resolve(str(tmp_path / "link")) == str(program.resolve())

    def test_a_relative_path_is_never_taken_from_the_current_folder(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        program = tmp_path / "tool"
        program.write_text("")
        program.chmod(0o755)
        monkeypatch.chdir(tmp_path)
        assert rules.resolve("./tool") is None
        assert rules.resolve("tool") is None

"""The rules file: read with care, added to without touching what the user wrote."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import pytest
from hypothesis import given
from hypothesis import strategies as st

from queue_core import rules
from queue_core.errors import SettingsError, UsageError
from queue_core.policy import Rule

if TYPE_CHECKING:
    from pathlib import Path

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
            ("[[allow]]\nargv = [\n\n", "end of document"),
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
        ],
    )
    def test_a_broken_file_says_where_and_gives_no_rule(self, file: Path, text: str, words: str) -> None:
        path = write(file, text)
        with pytest.raises(SettingsError) as error:
            rules.load(path)
        assert path in str(error.value)
        assert words in str(error.value)
        assert rules.load_or_ask(path) == ((), str(error.value))

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

    def test_it_does_not_write_through_a_link(self, tmp_path: Path) -> None:
        (tmp_path / "other").write_text("")
        link = tmp_path / "rules.toml"
        link.symlink_to(tmp_path / "other")
        with pytest.raises((OSError, UsageError)):
            rules.append(str(link), Rule(argv=("ls",)))
        assert (tmp_path / "other").read_text() == ""

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

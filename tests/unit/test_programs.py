"""Finding a program when the job is added, and refusing what could never be executed."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from queue_core.errors import InvalidJob
from queue_core.programs import MAX_ARGUMENT, MAX_ARGV, check_argv, check_folder, find
from tests.unit.programs_for_tests import make_program

if TYPE_CHECKING:
    from pathlib import Path


class TestFind:
    def test_a_bare_name_is_looked_up_on_the_path_in_order(self, tmp_path: Path) -> None:
        second = make_program(tmp_path / "b" / "tool")
        path = f"{tmp_path}/a:{tmp_path}/b"
        assert find("tool", "/", path) == second
        first = make_program(tmp_path / "a" / "tool")
        assert find("tool", "/", path) == first

    def test_what_is_not_executable_or_a_folder_is_passed_over(self, tmp_path: Path) -> None:
        make_program(tmp_path / "a" / "tool", mode=0o644)
        (tmp_path / "b" / "tool").mkdir(parents=True)
        last = make_program(tmp_path / "c" / "tool")
        assert find("tool", "/", f"{tmp_path}/a:{tmp_path}/b:{tmp_path}/c") == last

    def test_empty_and_relative_folders_of_the_path_count_from_the_jobs_folder(self, tmp_path: Path) -> None:
        here, below = make_program(tmp_path / "tool"), make_program(tmp_path / "bin" / "other")
        assert find("tool", str(tmp_path), "") == here
        assert find("other", str(tmp_path), "bin") == below

    @pytest.mark.parametrize("name", ["./tool", "sub/../tool", "../{folder}/tool", "{path}/tool"])
    def test_a_name_with_a_slash_counts_from_the_jobs_folder(self, tmp_path: Path, name: str) -> None:
        tool = make_program(tmp_path / "tool")
        (tmp_path / "sub").mkdir()
        assert find(name.format(folder=tmp_path.name, path=tmp_path), str(tmp_path), "/nowhere") == tool

    def test_dots_behind_a_link_mean_what_they_mean_to_the_system(self, tmp_path: Path) -> None:
        right = make_program(tmp_path / "elsewhere" / "tool")
        make_program(tmp_path / "here" / "tool")
        (tmp_path / "elsewhere" / "sub").mkdir()
        (tmp_path / "here" / "link").symlink_to(tmp_path / "elsewhere" / "sub")
        assert find("link/../tool", str(tmp_path / "here"), "") == right

    def test_a_link_keeps_its_name(self, tmp_path: Path) -> None:
        make_program(tmp_path / "multi")
        (tmp_path / "ls").symlink_to(tmp_path / "multi")
        assert find("ls", "/", str(tmp_path)) == str(tmp_path / "ls")

    def test_what_is_not_there_is_refused_with_a_hint(self, tmp_path: Path) -> None:
        with pytest.raises(InvalidJob, match="no program `tool` on the PATH"):
            find("tool", "/", str(tmp_path))
        with pytest.raises(InvalidJob, match="check the path and --cwd"):
            find("./tool", str(tmp_path), "")

    def test_what_is_there_but_no_program_is_refused_with_another(self, tmp_path: Path) -> None:
        make_program(tmp_path / "tool", mode=0o644)
        for name in ("./tool", str(tmp_path)):
            with pytest.raises(InvalidJob, match="not an executable file"):
                find(name, str(tmp_path), "")


class TestCheckArgv:
    @pytest.mark.parametrize("argv", [(), ("",), ("", "x")])
    def test_without_a_program_there_is_nothing_to_run(self, argv: tuple[str, ...]) -> None:
        with pytest.raises(InvalidJob, match="no command to run"):
            check_argv(argv)

    def test_a_nul_byte_can_be_given_to_no_program(self) -> None:
        with pytest.raises(InvalidJob, match="NUL"):
            check_argv(("echo", "a\0b"))

    def test_an_argument_has_a_greatest_size_in_bytes(self) -> None:
        check_argv(("echo", "x" * MAX_ARGUMENT))
        for argument in ("x" * (MAX_ARGUMENT + 1), "ü" * (MAX_ARGUMENT // 2 + 1)):
            with pytest.raises(InvalidJob, match=f"{MAX_ARGUMENT} is the most"):
                check_argv(("echo", argument))

    def test_so_has_the_command_line(self) -> None:
        argv = ("echo", *["x" * 99] * (MAX_ARGV // 100 + 1))
        with pytest.raises(InvalidJob, match=f"{MAX_ARGV} is the most"):
            check_argv(argv)

    @pytest.mark.parametrize("argument", ["", " ", "-", "\n", "\udcff", "😀"])
    def test_anything_else_may_be_an_argument(self, argument: str) -> None:
        check_argv(("echo", argument))


def test_a_folder_that_is_none_is_refused(tmp_path: Path) -> None:
    check_folder(str(tmp_path))
    for folder in (tmp_path / "none", make_program(tmp_path / "file"), "a\0b"):
        with pytest.raises(InvalidJob, match="does not exist"):
            check_folder(str(folder))

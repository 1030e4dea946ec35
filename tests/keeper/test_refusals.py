"""What can't be started is told in words; what was not started leaves nothing behind."""

import os
import resource
from pathlib import Path
from typing import Any

import pytest

from queue_core.keeper import protocol, verdict

from .conftest import Rig


def script(folder: Path, content: bytes, mode: int = 0o755) -> str:
    path = folder / "program"
    path.write_bytes(content)
    path.chmod(mode)
    return str(path)


def fails(rig: Rig, *argv: str, **more: Any) -> str:
    """The error of a command that can't be spawned, as told and as recorded."""
    rig.send(protocol.spawn([rig.job(1, *argv, **more)]))
    end = rig.end(1)
    assert end.status is None and end.error
    assert rig.record(1).end == end
    assert verdict.look(str(rig.run_dir(1)), rig.dir)[0] == verdict.SETTLE
    rig.sh(2, "echo still here")
    assert rig.end(2).status == 0
    return end.error


def test_a_missing_program_is_named(rig: Rig) -> None:
    assert "/no/such/program does not exist" in fails(rig, "/no/such/program")


def test_a_missing_working_directory_is_not_taken_for_a_missing_program(rig: Rig) -> None:
    assert "working directory /no/such/dir does not exist" in fails(rig, "/bin/true", cwd="/no/such/dir")


def test_a_working_directory_that_is_a_file_is_named(rig: Rig) -> None:
    assert "/etc/passwd is not a directory" in fails(rig, "/bin/true", cwd="/etc/passwd")


def test_a_program_without_the_right_to_execute_is_named(rig: Rig, tmp_path: Path) -> None:
    assert "may not be executed" in fails(rig, script(tmp_path, b"#!/bin/sh\n", 0o644))


def test_a_directory_is_no_program(rig: Rig) -> None:
    assert "/usr is a directory" in fails(rig, "/usr")


def test_a_script_without_a_first_line_is_not_given_to_a_shell(rig: Rig, tmp_path: Path) -> None:
    assert "#! line" in fails(rig, script(tmp_path, b"echo run by a shell\n"))
    assert rig.output(1) == b""


def test_a_script_whose_interpreter_is_missing_says_so(rig: Rig, tmp_path: Path) -> None:
    assert "interpreter" in fails(rig, script(tmp_path, b"#!/no/such/interpreter\n"))


def test_arguments_that_are_too_long_are_named(rig: Rig) -> None:
    assert "too long" in fails(rig, "/bin/true", "x" * 3_000_000)


def test_a_nul_byte_is_an_error_and_no_crash(rig: Rig) -> None:
    assert "null byte" in fails(rig, "/bin/true", "a\0b")


def test_a_code_point_that_is_no_byte_is_an_error_and_no_crash(rig: Rig) -> None:
    assert "can't be passed" in fails(rig, "/bin/true", "\ud800")


def test_an_empty_command_is_an_error(rig: Rig) -> None:
    assert "empty" in fails(rig)


def test_a_relative_program_is_not_looked_for(rig: Rig) -> None:
    assert "not an absolute path" in fails(rig, "true")


def test_a_missing_stdin_file_is_named(rig: Rig) -> None:
    assert "/no/such/file can't be read" in fails(rig, "/bin/true", stdin="/no/such/file")


def test_a_fifo_as_stdin_does_not_block_the_keeper(rig: Rig, tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "fifo")
    assert "not a regular file" in fails(rig, "/bin/cat", stdin=str(tmp_path / "fifo"))


def test_an_error_that_is_longer_than_the_record_is_cut(rig: Rig) -> None:
    assert len(fails(rig, "/" + "é" * 10_000)) > 100


def test_a_claim_that_was_started_is_not_started_once_more(rig: Rig) -> None:
    rig.sh(1, "echo first")
    rig.end(1)
    rig.sh(1, "echo second")
    assert "started before" in rig.next("refused", 1)["error"]
    assert rig.output(1) == b"first\n"


def test_a_claim_whose_directory_is_there_is_not_started_and_the_files_stay(rig: Rig) -> None:
    rig.run_dir(1).mkdir(parents=True)
    (rig.run_dir(1) / "output").write_text("somebody's")
    rig.sh(1, "echo mine")
    end = rig.end(1)
    assert end.status is None and "is in the way" in (end.error or "")
    assert rig.output(1) == b"somebody's"
    assert not (rig.run_dir(1) / "record").exists()


@pytest.mark.parametrize("room", [0, 100])
def test_a_disk_without_room_for_the_record_refuses_the_start(rig: Rig, room: int) -> None:
    before = resource.prlimit(rig.pid, resource.RLIMIT_FSIZE)  # stands for a full disk, and needs no root
    resource.prlimit(rig.pid, resource.RLIMIT_FSIZE, (room, before[1]))
    rig.sh(1, "echo never")
    assert rig.next("refused", 1)["error"]
    assert not rig.run_dir(1).exists()
    assert verdict.look(str(rig.run_dir(1)), rig.dir)[0] == verdict.ASK_KEEPER
    resource.prlimit(rig.pid, resource.RLIMIT_FSIZE, before)
    rig.sh(1, "echo now")
    assert rig.end(1).status == 0


def test_running_out_of_descriptors_refuses_and_passes(rig: Rig) -> None:
    before = resource.prlimit(rig.pid, resource.RLIMIT_NOFILE)
    resource.prlimit(rig.pid, resource.RLIMIT_NOFILE, (5, before[1]))
    rig.sh(1, "true")
    assert rig.next("refused", 1)["error"]
    assert not rig.run_dir(1).exists()
    resource.prlimit(rig.pid, resource.RLIMIT_NOFILE, before)
    rig.sh(1, "true")
    assert rig.end(1).status == 0


@pytest.mark.parametrize(
    "change",
    [{"timeout": "soon"}, {"cap": -1}, {"grace": None}, {"dir": "relative"}, {"argv": "true"}, {"env": []}],
)
def test_a_request_that_makes_no_sense_is_refused_and_the_others_run(rig: Rig, change: dict[str, Any]) -> None:
    rig.send(protocol.spawn([rig.job(1, "/bin/true") | change, {"job": "x"}, rig.job(2, "/bin/true")]))
    assert "request" in rig.next("refused", 1)["error"]
    assert rig.next("error")["error"]
    assert rig.end(2).status == 0
    assert not rig.run_dir(1).exists()

"""Where the files lie, and whether that folder is safe."""

from __future__ import annotations

import os
import sys
from typing import TYPE_CHECKING

import pytest

from queue_core import home as home_module
from queue_core.errors import HomeError
from queue_core.home import Home, locate, make_folder, prepare

if TYPE_CHECKING:
    from pathlib import Path


def home_at(path: Path) -> Home:
    return Home(data=str(path), config=str(path))


class TestLocate:
    def test_runq_home_moves_everything(self) -> None:
        assert locate({"RUNQ_HOME": "/q", "HOME": "/h"}) == Home(data="/q", config="/q")

    def test_a_relative_one_and_a_tilde_become_full_paths(
        self, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
    ) -> None:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("HOME", "/h/me")
        assert locate({"RUNQ_HOME": "q"}).data == str(tmp_path / "q")
        assert locate({"RUNQ_HOME": "~/q"}).data == "/h/me/q"

    @pytest.mark.skipif(sys.platform == "darwin", reason="macOS has one folder for both")
    def test_without_it_the_users_data_and_config_folders_are_used(self) -> None:
        assert locate({"HOME": "/h"}) == Home(data="/h/.local/share/runq", config="/h/.config/runq")
        both = {"HOME": "/h", "XDG_DATA_HOME": "/d", "XDG_CONFIG_HOME": "/c"}
        assert locate(both) == Home(data="/d/runq", config="/c/runq")

    @pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no XDG folders")
    def test_a_path_that_means_another_place_in_each_folder_is_none(self) -> None:
        relative = {"HOME": "/h", "XDG_DATA_HOME": "d", "XDG_CONFIG_HOME": "./c"}
        assert locate(relative) == locate({"HOME": "/h"})
        with pytest.raises(HomeError, match="set HOME, or RUNQ_HOME, to a full path"):
            locate({"HOME": "."})
        with pytest.raises(HomeError, match="where your home folder is"):
            locate({"HOME": "~", "XDG_DATA_HOME": "/d"})
        with pytest.raises(HomeError, match="where your home folder is"):
            locate({"HOME": ""})
        assert locate({"HOME": ".", "RUNQ_HOME": "/q"}).data == "/q"

    @pytest.mark.skipif(sys.platform == "darwin", reason="macOS has no XDG folders")
    def test_a_home_may_be_the_root_or_end_in_a_slash(self) -> None:
        assert locate({"HOME": "/"}).data == "/.local/share/runq"
        usual = locate({"HOME": "/h"})
        assert locate({"HOME": "/h/", "RUNQ_HOME": usual.data}) == usual

    def test_nothing_is_made_by_looking(self, tmp_path: Path) -> None:
        locate({"RUNQ_HOME": str(tmp_path / "q")})
        assert not (tmp_path / "q").exists()

    def test_every_path_lies_inside(self) -> None:
        home = Home(data="/d", config="/c")
        inside = [home.database, home.write_lock, home.bells, home.spool, home.run(1, 2), home.keeper("k")]
        assert all(path.startswith("/d/") for path in [*inside, home.worker_lock("w"), home.path("a", "b")])
        assert (home.settings_file, home.rules_file) == ("/c/config.toml", "/c/rules.toml")
        assert home.run(1, 2) == "/d/runs/1/2"


class TestPrepare:
    def test_a_missing_folder_is_made_for_its_user_alone(self, tmp_path: Path) -> None:
        prepare(home_at(tmp_path / "a" / "b"))
        assert (tmp_path / "a" / "b").stat().st_mode & 0o777 == 0o700

    @pytest.mark.parametrize("mode", [0o701, 0o710, 0o750, 0o777])
    def test_one_that_others_can_enter_is_refused(self, tmp_path: Path, mode: int) -> None:
        folder = tmp_path / "home"
        folder.mkdir()
        folder.chmod(mode)
        with pytest.raises(HomeError, match=f"chmod 700 {folder}"):
            prepare(home_at(folder))

    def test_a_link_to_a_safe_folder_is_fine_and_to_an_open_one_is_not(self, tmp_path: Path) -> None:
        (tmp_path / "safe").mkdir(mode=0o700)
        (tmp_path / "open").mkdir()
        (tmp_path / "open").chmod(0o755)
        for name in ("safe", "open"):
            (tmp_path / f"to-{name}").symlink_to(tmp_path / name)
        prepare(home_at(tmp_path / "to-safe"))
        with pytest.raises(HomeError, match="open to other users"):
            prepare(home_at(tmp_path / "to-open"))

    def test_what_is_no_folder_is_told(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        (tmp_path / "nowhere").symlink_to(tmp_path / "missing")
        (tmp_path / "loop").symlink_to(tmp_path / "loop")
        for name in ("file", "file/below", "nowhere", "loop"):
            with pytest.raises(HomeError):
                prepare(home_at(tmp_path / name))

    def test_a_folder_inside_is_made_once(self, tmp_path: Path) -> None:
        for _ in range(2):
            assert make_folder(str(tmp_path / "x")) == str(tmp_path / "x")
        with pytest.raises(HomeError):
            make_folder(str(tmp_path / "no" / "parent"))

    def test_one_is_made_where_its_user_may_write_but_not_look(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refused(path: str) -> None:
            raise PermissionError(13, "Permission denied", path)

        monkeypatch.setattr(home_module, "sync", refused)
        prepare(home_at(tmp_path / "a" / "b"))
        assert (tmp_path / "a" / "b").is_dir()


class TestFileSystems:
    def test_network_file_systems_are_refused(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for kind in ("nfs", "nfs4", "cifs", "9p", "fuse.sshfs"):
            monkeypatch.setattr(home_module, "file_system", lambda path, kind=kind: kind)
            with pytest.raises(HomeError, match=rf"network file system \({kind}\)"):
                home_module.refuse_network_file_system(str(tmp_path))

    def test_local_and_unknown_ones_are_not(self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        for kind in ("ext4", "xfs", "btrfs", "tmpfs", "overlay", None):
            monkeypatch.setattr(home_module, "file_system", lambda path, kind=kind: kind)
            home_module.refuse_network_file_system(str(tmp_path))

    @pytest.mark.skipif(not os.path.exists("/proc/self/mountinfo"), reason="told by Linux only")
    def test_the_innermost_mount_counts(self) -> None:
        assert home_module.file_system("/proc/self") == "proc"
        assert home_module.file_system("/") not in (None, "proc")

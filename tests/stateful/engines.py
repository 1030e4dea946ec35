"""The engines that the model is held against: a real queue with several connections, and ways to lose them."""

from __future__ import annotations

import os
import shutil
from contextlib import ExitStack
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

from queue_core.home import Home
from queue_core.sqlite.store import SqliteStore
from tests.helpers import short_folder

if TYPE_CHECKING:
    from collections.abc import Callable

    from queue_core.store import Store

FILES = ("runq.db", "runq.db-wal")


class Sqlite:
    """One file, and two stores on it at once: one that commits at once, one that commits for several."""

    def __init__(self) -> None:
        self._folders = ExitStack()
        self._frozen: Path | None = None
        self._folder = self._new_folder()
        (self._folder / "runq.db").write_bytes(_empty_queue())
        self.stores: list[Store] = self._open()

    def freeze(self) -> None:
        """Keep what there would be if every process were killed now, in the middle of whatever it does."""
        self._frozen = self._new_folder()
        for name in FILES:
            if os.path.exists(self._folder / name):
                shutil.copyfile(self._folder / name, self._frozen / name)

    def crash(self) -> None:
        """Every process is killed (when it was frozen, else now), and others open what they have left."""
        if self._frozen is None:
            self.freeze()
        assert self._frozen is not None
        self._close_stores()
        self._folder, self._frozen = self._frozen, None
        self.stores = self._open()

    def reopen(self, which: int) -> None:
        """One process leaves in good order, and another comes."""
        self.stores[which].close()
        self.stores[which] = self._store(group_commit=which == 1)

    def close(self) -> None:
        self._close_stores()
        self._folders.close()

    def _close_stores(self) -> None:
        for store in self.stores:
            store.close()

    def _open(self) -> list[Store]:
        return [self._store(group_commit=False), self._store(group_commit=True)]

    def _store(self, *, group_commit: bool) -> Store:
        folder = str(self._folder)
        return SqliteStore(Home(data=folder, config=folder), group_commit=group_commit)

    def _new_folder(self) -> Path:
        return self._folders.enter_context(short_folder())


@cache
def _empty_queue() -> bytes:
    """The file of a new queue: making it takes as long as thirty steps of the model."""
    with short_folder() as folder:
        SqliteStore(Home(data=str(folder), config=str(folder))).close()
        return (folder / "runq.db").read_bytes()


ENGINES: dict[str, Callable[[], Sqlite]] = {"sqlite": Sqlite}

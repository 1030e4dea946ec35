"""The user's own TOML files: read only if nobody else can have written them, with errors that say where."""

from __future__ import annotations

import os
import stat
import tomllib
from typing import Any

from queue_core.errors import SettingsError


def read(path: str, *, trust_own_group: bool = False) -> dict[str, Any]:
    """The tables of a file, none if there is no file; SettingsError names what is wrong, with line and column.

    With `trust_own_group` the user's own group may write it: where every user has a group of their own,
    that is how files are made.
    """
    try:
        found = os.stat(path)
        others = 0o002 if trust_own_group and found.st_gid == os.getegid() else 0o022
        if found.st_uid != os.geteuid() or stat.S_IMODE(found.st_mode) & others:
            raise SettingsError(f"{path} can be changed by other users, so it is not read; run `chmod 600 {path}`")
        with open(path, "rb") as file:
            return tomllib.load(file)
    except FileNotFoundError:
        return {}
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise SettingsError(f"{path} is not valid TOML: {error}") from None
    except OSError as error:
        raise SettingsError(f"{path} could not be read ({error.strerror})") from None

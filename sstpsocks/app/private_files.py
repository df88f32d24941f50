"""Files that hold secrets belong to their owner: whoever else can read or change them is a mistake worth stopping for.

What users outside of owner and group may do is always one, and so is what the group may do to a file that is our own.
A file of root's that our group may read is how an administrator hands a secret to a service. Pipes, such as those of a
shell's ``<(command)``, and Windows have no such modes.
"""

from __future__ import annotations

import os
import stat
import sys
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from .layers import Layers, Setting

OVERRIDE = "allow_loose_files"
"""The key of the option that takes such files all the same."""


def looseness(path: str | os.PathLike[str]) -> str:
    """Return what is wrong with the mode of a file with a secret, empty when nothing is, or when it cannot be told."""
    if os.name != "posix":
        return ""
    try:
        found = os.stat(path)
    except OSError:
        return ""  # whoever reads it says so
    mode = stat.S_IMODE(found.st_mode)
    ours = False
    if sys.platform != "win32":
        ours = found.st_uid == os.geteuid()
    if not stat.S_ISREG(found.st_mode) or not mode & (0o067 if ours else 0o027):
        return ""
    return f"{os.fspath(path)} can be read or written by other users of this machine (its mode is {mode:04o})"


def loose_file_hint(path: str | os.PathLike[str]) -> str:
    """Return what to do about it."""
    return f"Keep it to yourself: chmod 600 {os.fspath(path)}, or say --allow-loose-files"


def check_private(layers: Layers, setting: Setting) -> None:
    """Raise ConfigError when others can get at the file that a setting names, unless the user allowed that."""
    path = str(setting.value)
    text = "" if layers.switch(OVERRIDE) else looseness(path)
    if text:
        raise setting.error(text, hint=loose_file_hint(path))

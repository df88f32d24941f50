"""Whether network namespaces may be made here, and a place to look whether one was left over."""

from __future__ import annotations

import os
from pathlib import Path

import pytest

from sstpsocks.app.netns import check_permission
from sstpsocks.errors import ConfigError


def skip_unless_namespaces_may_be_made() -> None:
    if not Path("/proc/self/ns/net").exists():
        pytest.skip("network namespaces are Linux's")
    try:
        check_permission()
    except ConfigError as error:
        pytest.skip(str(error))


def namespaces_in_use() -> set[str]:
    """Return the network namespaces of all processes that we may look at."""
    found = set()
    for process in Path("/proc").glob("[0-9]*"):
        try:
            found.add(os.readlink(process / "ns/net"))
        except OSError:
            continue  # it has just ended, or is somebody else's
    return found

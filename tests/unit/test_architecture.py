"""The rooms and floors of docs/architecture.md: imports go down only, and the lower floors do no IO."""

from __future__ import annotations

import ast
from collections.abc import Iterator
from pathlib import Path

import pytest

import sstpsocks

PACKAGE = Path(sstpsocks.__file__).resolve().parent

# A room may import itself and the rooms listed here.
MAY_IMPORT: dict[str, set[str]] = {
    "errors": set(),
    "_version": set(),
    "_sources": set(),
    "base": {"errors"},
    "sstp": {"errors", "base"},
    "ppp": {"errors", "base"},
    "net": {"errors", "base"},
    "link": {"errors", "base", "sstp", "ppp"},
    "tunnel": {"errors", "_version", "base", "sstp", "ppp", "net", "link"},
    "dns": {"errors", "base", "net", "tunnel"},
    "proxy": {"errors", "base", "net", "tunnel", "dns"},
    "library": {"errors", "base", "net", "tunnel", "dns", "proxy"},
    "bridge": {"errors", "tunnel", "library"},
    "demo": {"errors", "base", "sstp", "ppp", "net", "link", "tunnel", "dns", "proxy", "library"},
    "netns": {"errors", "base", "net", "tunnel", "dns", "proxy"},
    "app": {
        "errors",
        "_version",
        "base",
        "sstp",
        "ppp",
        "net",
        "link",
        "tunnel",
        "dns",
        "proxy",
        "library",
        "netns",
        "demo",
    },
    "__main__": {"errors", "app", "_version"},
    "__init__": {"errors", "library", "_sources", "_version"},
}
SANS_IO = {"errors", "base", "sstp", "ppp", "net", "link"}
FORBIDDEN_BELOW_TUNNEL = {
    "trio", "socket", "ssl", "OpenSSL", "time", "random", "os", "logging", "select", "selectors", "asyncio",
    "threading", "subprocess", "secrets", "datetime", "service_identity", "dns", "sys",
}  # fmt: skip

MODULES = sorted(PACKAGE.rglob("*.py"))


def room_of(path: Path) -> str:
    return path.relative_to(PACKAGE).parts[0].removesuffix(".py")


def imported_names(path: Path) -> Iterator[tuple[int, str]]:
    """Yield (line, absolute dotted name) of every import, also those inside functions and TYPE_CHECKING."""
    package = ("sstpsocks", *path.relative_to(PACKAGE).parts[:-1])
    for node in ast.walk(ast.parse(path.read_text(encoding="utf-8"))):
        if isinstance(node, ast.Import):
            for alias in node.names:
                yield node.lineno, alias.name
        elif isinstance(node, ast.ImportFrom):
            if node.level:
                base = package[: len(package) - node.level + 1]
                prefix = ".".join(base + ((node.module,) if node.module else ()))
            else:
                prefix = node.module or ""
            if prefix == "sstpsocks":
                for alias in node.names:
                    yield node.lineno, f"sstpsocks.{alias.name}"
            else:
                yield node.lineno, prefix


@pytest.mark.parametrize("path", MODULES, ids=lambda path: str(path.relative_to(PACKAGE)))
def test_imports_go_down(path: Path) -> None:
    room = room_of(path)
    allowed = MAY_IMPORT[room] | {room}
    for line, name in imported_names(path):
        parts = name.split(".")
        if parts[0] == "sstpsocks" and len(parts) > 1 and parts[1] in MAY_IMPORT:
            assert parts[1] in allowed, f"{path.name}:{line}: room {room} may not import {name}"


@pytest.mark.parametrize(
    "path",
    [path for path in MODULES if room_of(path) in SANS_IO],
    ids=lambda path: str(path.relative_to(PACKAGE)),
)
def test_lower_floors_do_no_io(path: Path) -> None:
    for line, name in imported_names(path):
        root = name.split(".")[0]
        assert root not in FORBIDDEN_BELOW_TUNNEL, f"{path.name}:{line}: {name} belongs to tunnel/ and above"


def test_only_adapters_import_dpkt() -> None:
    users = {
        str(path.relative_to(PACKAGE))
        for path in MODULES
        if any(n.split(".")[0] == "dpkt" for _, n in imported_names(path))
    }
    assert users <= {"tunnel/taps.py", "net/dpkt_adapter.py"}, users

from __future__ import annotations

from pathlib import Path

import pytest

from tests.helpers.certificates import Issued, authority, issue


@pytest.fixture(scope="session")
def root() -> Issued:
    return authority()


@pytest.fixture(scope="session")
def good(root: Issued) -> Issued:
    return issue(["vpn.example.com", "192.0.2.1", "2001:db8::1"], root)


@pytest.fixture
def ca_file(root: Issued, tmp_path: Path) -> str:
    path = tmp_path / "ca.pem"
    path.write_bytes(root.pem)
    return str(path)

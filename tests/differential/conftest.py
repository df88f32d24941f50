"""What the suite needs: a network namespace, and a seed that a failure tells."""

from __future__ import annotations

import os
from collections.abc import Iterator

import pytest

from tests.differential.kernel import KernelHost, namespace_command
from tests.differential.rig import SEEDS, Rig


def unavailable(reason: str) -> None:
    """Skip the test, but not where the suite must run."""
    if os.environ.get("CI"):
        pytest.fail(reason)
    pytest.skip(reason)


@pytest.fixture
def kernel() -> Iterator[KernelHost]:
    """A kernel in a namespace of its own, so that its counters are this test's."""
    command, reason = namespace_command()
    if not command:
        unavailable(reason)
    host = KernelHost()
    yield host
    host.close()


@pytest.fixture(params=SEEDS, ids=lambda seed: f"seed{seed}")
def rig(kernel: KernelHost, request: pytest.FixtureRequest) -> Rig:
    """Our stack and a kernel, on a clean path as yet."""
    return Rig(kernel, request.param)

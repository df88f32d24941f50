"""What holds for all tests."""

from __future__ import annotations

import signal


def pytest_configure() -> None:
    """Have SIGHUP mean what it means to programs that were not started by nohup: it is inherited, and tests send it."""
    if hasattr(signal, "SIGHUP"):
        signal.signal(signal.SIGHUP, signal.SIG_DFL)

"""sstpsocks: a rootless SSTP client whose tunnel ends in a userspace TCP/IP stack."""

from __future__ import annotations

from ._version import __version__

__all__ = ["__version__"]

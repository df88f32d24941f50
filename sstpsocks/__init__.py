"""sstpsocks: a rootless SSTP client whose tunnel ends in a userspace TCP/IP stack.

The tunnel's names are loaded on first use, so that ``sstpsocks --help`` imports neither trio nor OpenSSL.
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from ._version import __version__
from .errors import SstpsocksError

if os.environ.get("SSTPSOCKS_PURE", "0") not in ("", "0"):
    from ._sources import prefer_sources

    prefer_sources()

if TYPE_CHECKING:
    from .library import CredentialRequest, Credentials, Timeouts, Tunnel, open_tunnel

__all__ = ["CredentialRequest", "Credentials", "SstpsocksError", "Timeouts", "Tunnel", "__version__", "open_tunnel"]


def __getattr__(name: str) -> Any:
    if name in __all__:
        from . import library

        return getattr(library, name)
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")

"""The gateway: the namespace behind every tunnel, its servers and the target services."""

from __future__ import annotations


class Gateway:
    """sstpd, ocserv and sshd side by side, and the services that the peers' programs talk to."""

    namespace: str
    """The name of its network namespace."""

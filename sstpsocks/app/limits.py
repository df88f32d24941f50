"""What the operating system lets the program have."""

from __future__ import annotations

import sys

if sys.platform == "win32":

    def allow_open_files(count: int) -> int:
        """Return ``count``: Windows has no such limit on sockets."""
        return count

else:

    def allow_open_files(count: int) -> int:
        """Raise the soft limit on open files to ``count``, as far as the hard limit lets us; return how many it is.

        Linux starts programs with 1024, which the connections of one busy browser can come near.
        """
        try:
            import resource

            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        except (ImportError, OSError):
            return count  # the proxy copes with running out of files, it only serves fewer connections
        if soft == resource.RLIM_INFINITY or soft >= count:
            return count
        wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
        try:
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (OSError, ValueError):
            return soft
        return wanted

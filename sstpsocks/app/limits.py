"""What the operating system lets the program have."""

from __future__ import annotations

import sys

if sys.platform == "win32":

    def allow_open_files(_count: int) -> None:
        """Do nothing: Windows has no such limit on sockets."""

else:

    def allow_open_files(count: int) -> None:
        """Raise the soft limit on open files to ``count``, as far as the hard limit lets us.

        Linux starts programs with 1024, which the connections of one busy browser can come near.
        """
        try:
            import resource

            soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
            if soft == resource.RLIM_INFINITY or soft >= count:
                return
            wanted = count if hard == resource.RLIM_INFINITY else min(count, hard)
            resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))
        except (ImportError, OSError, ValueError):
            pass  # the proxy copes with running out of files, it only serves fewer connections

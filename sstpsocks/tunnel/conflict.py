"""Two tasks in the same method of a stream: an error instead of mixed-up data, as in trio's own streams."""

from __future__ import annotations

import trio


class OneAtATime:
    """A context manager that raises trio.BusyResourceError while another task is inside."""

    __slots__ = ("_busy", "_message")

    def __init__(self, what: str) -> None:
        """``what`` completes the sentence "another task is already …"."""
        self._message = f"another task is already {what}"
        self._busy = False

    def __enter__(self) -> None:
        if self._busy:
            raise trio.BusyResourceError(self._message)
        self._busy = True

    def __exit__(self, *_exception: object) -> None:
        self._busy = False

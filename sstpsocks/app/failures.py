"""How an exception ends the program: one line and an exit code, never a traceback for what a user can meet."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass

from ..errors import EXIT_PROTOCOL, ConfigError, SstpsocksError, TunnelError
from .text import message_and_hint, one_line

EXIT_OK = 0


@dataclass(frozen=True, slots=True)
class Failure:
    """The end of the program."""

    text: str
    """What to say on one line; empty: nothing, the end was asked for."""
    exit_code: int
    bug: bool = False
    """Whether this is a mistake of the program itself."""


def leaves(error: BaseException) -> Iterator[BaseException]:
    """Yield the exceptions inside groups of groups."""
    if isinstance(error, BaseExceptionGroup):
        for inner in error.exceptions:
            yield from leaves(inner)
    else:
        yield error


def describe(error: BaseException) -> Failure:
    """Return what to say about the exception that reached the top."""
    found = list(leaves(error))
    # A bug must not hide behind an error that it caused, nor a cause behind the many that follow it.
    for leaf in found:
        if not isinstance(leaf, SstpsocksError | KeyboardInterrupt | BrokenPipeError):
            text = f"unexpected error: {type(leaf).__name__}: {one_line(str(leaf))}"
            return Failure(message_and_hint(text, "This is a bug, run with -vv for details"), EXIT_PROTOCOL, bug=True)
    for kind in (ConfigError, TunnelError, SstpsocksError):
        for leaf in found:
            if isinstance(leaf, kind):
                return Failure(message_and_hint(str(leaf), leaf.hint), leaf.exit_code)
    return Failure("", EXIT_OK)

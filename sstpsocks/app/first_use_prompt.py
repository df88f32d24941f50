"""Asking a person at the terminal whether a server's fingerprint is the right one."""

from __future__ import annotations

import sys
from collections.abc import Callable
from typing import TextIO

import trio

from ..tunnel.tls_settings import UnknownCertificate
from .text import one_line


def _nothing() -> None:
    """Interrupt nothing."""


class FirstUsePrompt:
    """Shows what is known of a certificate and waits for a "yes"; anything else is a no."""

    def __init__(self, *, output: TextIO | None = None, source: TextIO | None = None) -> None:
        """By default the terminal: standard error and standard input."""
        self.before_prompt: Callable[[], None] = _nothing
        """Called before the question appears, so that a display can finish its line."""
        self._output = output
        self._source = source

    async def __call__(self, question: UnknownCertificate) -> bool:
        """Return whether the person has confirmed the fingerprint."""
        output = self._output if self._output is not None else sys.stderr
        self.before_prompt()
        output.write(
            f"The certificate of {question.server} is not trusted: {one_line(question.reason)}\n"
            f"  SHA-256 of the certificate: {_in_pairs(question.sha256)}\n"
            f"  SHA-256 of its public key:  {question.pin}\n"
            "Compare one of them with what the server's administrator says. Trust this key from now on? (yes/no) "
        )
        output.flush()
        answer = await trio.to_thread.run_sync(self._read, abandon_on_cancel=True)
        return answer.strip().lower() == "yes"

    def _read(self) -> str:
        source = self._source if self._source is not None else sys.stdin
        try:
            return source.readline()
        except (OSError, ValueError):
            return ""


def _in_pairs(digits: str) -> str:
    """Return hexadecimal digits as ``openssl x509 -fingerprint`` shows them."""
    return ":".join(digits[index : index + 2] for index in range(0, len(digits), 2)).upper()

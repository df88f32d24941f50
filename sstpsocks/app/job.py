"""One command as a job, the way a shell runs it: its terminal, its signals, its end.

Theory of operation. The command gets a process group of its own. Where we have a terminal and are in its foreground,
the command's group takes our place there before the program begins: the terminal's keys for SIGINT, SIGQUIT and SIGTSTP
then reach the command, once, and not us. What is sent to us alone (by kill, by a CI runner, by a supervisor) is passed
on to the command's group. When the command stops, we take the terminal back and stop as well, so that the shell that
started us gets its prompt; when we are continued, so is the command.
"""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from collections.abc import Callable, Mapping, Sequence
from typing import Protocol

import trio

EXIT_CANNOT_RUN = 126
EXIT_NOT_FOUND = 127
"""What shells answer for a command that is there and cannot be run, or is not there (POSIX.1 section 2.8.2)."""
EXIT_SIGNALLED = 128
"""A command that a signal ended: 128 and the signal's number."""
GRACE = 5.0
"""Seconds that a command has after SIGTERM when it must be ended."""
_LOOK = 0.02
"""Seconds between looks whether it has ended."""


class CannotRunError(Exception):
    """The command could not be started."""

    def __init__(self, text: str, exit_code: int) -> None:
        super().__init__(text)
        self.exit_code = exit_code


class Surroundings(Protocol):
    """Something special that the command is to live in."""

    def enter(self) -> None:
        """Go into it, in the command's process before its program begins; what it raises ends that process."""
        ...

    def begun(self) -> None:
        """The program has begun; here, not in its process."""
        ...

    def failure(self) -> Exception:
        """Return why enter() failed."""
        ...


def exit_code_of(returncode: int) -> int:
    """Return a shell's exit code for one of subprocess, which is negative for a signal."""
    return returncode if returncode >= 0 else EXIT_SIGNALLED - returncode


def start(
    command: Sequence[str],
    environment: Mapping[str, str],
    before: Callable[[], None] | None = None,
    surroundings: Surroundings | None = None,
) -> subprocess.Popen[bytes]:
    """Start it with our standard input, output and error. Raises CannotRunError, or why there are no surroundings."""

    def prepare() -> None:
        if before is not None:
            before()
        if surroundings is not None:
            surroundings.enter()

    preparation = None if before is None and surroundings is None else prepare
    try:
        # The user's own command; only system calls are made between fork and exec.
        return subprocess.Popen(list(command), env=dict(environment), preexec_fn=preparation)  # noqa: S603
    except subprocess.SubprocessError:
        if surroundings is None:
            raise
        raise surroundings.failure() from None
    except FileNotFoundError:
        raise CannotRunError(f"{command[0]}: command not found", EXIT_NOT_FOUND) from None
    except OSError as error:
        raise CannotRunError(f"{command[0]}: {error.strerror or error}", EXIT_CANNOT_RUN) from None


if sys.platform == "win32":

    async def run_job(
        command: Sequence[str], environment: Mapping[str, str], surroundings: Surroundings | None = None
    ) -> int:
        """Run the command and return its exit code; Ctrl-C reaches it by the console that we share."""
        process = start(command, environment, surroundings=surroundings)
        try:
            with trio.open_signal_receiver(signal.SIGINT, signal.SIGBREAK):
                return await trio.to_thread.run_sync(process.wait, abandon_on_cancel=True)
        finally:
            if process.poll() is None:
                process.terminate()

else:
    _PASSED_ON = ("SIGINT", "SIGTERM", "SIGHUP", "SIGQUIT", "SIGUSR1", "SIGUSR2", "SIGWINCH", "SIGTSTP")

    async def run_job(
        command: Sequence[str], environment: Mapping[str, str], surroundings: Surroundings | None = None
    ) -> int:
        """Run the command and return its exit code as a shell would. Raises CannotRunError, or why it has no
        surroundings.

        When it is cancelled, the command's process group gets SIGTERM, and SIGKILL if it is there GRACE later.
        """
        # What is ignored stays ignored, by us and by the command: nohup's SIGHUP for instance.
        passed_on = [number for name in _PASSED_ON if not _ignored(number := signal.Signals[name])]
        terminal = _Terminal()
        try:
            with trio.open_signal_receiver(*passed_on, signal.SIGCONT, signal.SIGCHLD) as signals:
                process = start(command, environment, terminal.before_exec, surroundings)
                try:
                    if surroundings is not None:
                        surroundings.begun()
                    stopped = _has_stopped(process)
                    while process.returncode is None:
                        if stopped:
                            terminal.take_back()
                            os.kill(os.getpid(), signal.SIGSTOP)
                        received = await signals.__anext__()
                        stopped = received == signal.SIGCHLD and _has_stopped(process)
                        if received == signal.SIGCONT:
                            terminal.give(process.pid)
                            _signal_group(process.pid, signal.SIGCONT)
                        elif received != signal.SIGCHLD:
                            _signal_group(process.pid, received)
                    return exit_code_of(process.returncode)
                finally:
                    with trio.CancelScope(shield=True):
                        await _end(process)
        finally:
            terminal.close()

    def _ignored(number: signal.Signals) -> bool:
        return signal.getsignal(number) is signal.SIG_IGN

    def _has_stopped(process: subprocess.Popen[bytes]) -> bool:
        """Look what became of it: whether it has stopped; when it has ended, its return code is set."""
        if process.returncode is not None:
            return False
        pid, status = os.waitpid(process.pid, os.WNOHANG | os.WUNTRACED)
        if pid and os.WIFSTOPPED(status):
            return True
        if pid:
            process.returncode = os.waitstatus_to_exitcode(status)
        return False

    def _signal_group(group: int, number: int) -> None:
        try:
            os.killpg(group, number)
        except (ProcessLookupError, PermissionError):
            pass  # it has just ended, or became another user's

    async def _end(process: subprocess.Popen[bytes]) -> None:
        if process.returncode is not None:
            return
        _signal_group(process.pid, signal.SIGTERM)
        _signal_group(process.pid, signal.SIGCONT)
        for _ in range(round(GRACE / _LOOK)):
            if process.poll() is not None:
                return
            await trio.sleep(_LOOK)
        _signal_group(process.pid, signal.SIGKILL)
        process.wait()

    class _Terminal:
        """The terminal that we were started from, if any, and who is in its foreground."""

        def __init__(self) -> None:
            self._descriptor: int | None = None
            self._own_group = os.getpgrp()
            self._in_foreground = False
            try:
                self._descriptor = os.open("/dev/tty", os.O_RDWR | os.O_CLOEXEC)
                self._in_foreground = os.tcgetpgrp(self._descriptor) == self._own_group
            except OSError:
                pass  # started without a terminal
            # Who is not in the foreground would be stopped for giving it away, and for a line about the tunnel.
            self._handler = signal.signal(signal.SIGTTOU, signal.SIG_IGN)

        def before_exec(self) -> None:
            """In the command's process, before its program begins."""
            os.setpgid(0, 0)
            if self._in_foreground and self._descriptor is not None:
                os.tcsetpgrp(self._descriptor, os.getpid())
            signal.signal(signal.SIGTTOU, signal.SIG_DFL)

        def give(self, group: int) -> None:
            """Put the command into the foreground, if that is where the shell has put us."""
            if self._descriptor is None:
                return
            try:
                self._in_foreground = os.tcgetpgrp(self._descriptor) == self._own_group
                if self._in_foreground:
                    os.tcsetpgrp(self._descriptor, group)
            except OSError:
                pass  # the terminal went away

        def take_back(self) -> None:
            """Put ourselves into the foreground again."""
            if self._descriptor is not None and self._in_foreground:
                try:
                    os.tcsetpgrp(self._descriptor, self._own_group)
                except OSError:
                    pass  # the terminal went away

        def close(self) -> None:
            """Take the terminal back for whoever started us."""
            self.take_back()
            signal.signal(signal.SIGTTOU, self._handler)
            if self._descriptor is not None:
                os.close(self._descriptor)

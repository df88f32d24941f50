"""Where the password comes from: a prompt, a file, a command, the environment or the configuration file.

A source is asked at each log-in. When a server refuses a password and allows another try (R=1), only a source that
can give something new is asked again; the same password is never sent twice, since every refusal counts towards
locking the account.
"""

from __future__ import annotations

import getpass
import shlex
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import trio

from ..errors import AuthenticationFailed, ConfigError
from ..ppp.auth import Credentials
from ..tunnel.settings import CredentialReason, CredentialRequest
from .configfile import world_permissions
from .text import message_and_hint, one_line

COMMAND_TIMEOUT = 60.0  # seconds; long enough to touch a hardware key, as long as the authentication itself may take
MAX_PASSWORD_FILE = 64 * 1024  # octets read of a password file; a first line beyond that is no password


def _nothing() -> None:
    """Interrupt nothing."""


def first_line(content: bytes, origin: str) -> str:
    """Return the first line without its end. Raises ConfigError when it is empty or not UTF-8."""
    # The byte order mark is what Windows' editor puts before UTF-8.
    line = content.removeprefix(b"\xef\xbb\xbf").partition(b"\n")[0].removesuffix(b"\r")
    try:
        text = line.decode("utf-8")
    except UnicodeDecodeError:
        # Without the cause: its text would quote the password.
        raise ConfigError(f"{origin}: the password is not UTF-8") from None
    if not text:
        raise ConfigError(f"{origin}: the first line is empty", hint="The password is expected there")
    return text


def first_line_of(path: str, origin: str) -> str:
    """Return the first line of a file. Raises ConfigError."""
    try:
        with open(path, "rb") as file:
            content = file.read(MAX_PASSWORD_FILE)
    except OSError as error:
        raise ConfigError(f"{origin}: cannot read {path}: {error.strerror}") from None
    return first_line(content, origin)


class PasswordSource(ABC):
    """A credential source (tunnel.settings.CredentialSource) that knows one user name and gets one password."""

    can_change = False
    """Whether asking again right after a refusal can bring another password."""
    asks_before_dialling = False
    """Whether prepare() takes as long as a person."""

    def __init__(self) -> None:
        self._given: set[str] = set()
        """The passwords given out for the log-in at hand; when a retry is asked for they have all been refused."""

    async def __call__(self, request: CredentialRequest) -> Credentials:
        """Return the credentials for one log-in.

        Raises ConfigError when there is no password to be had, AuthenticationFailed when the server refused the
        last one and there is no other.
        """
        if request.reason is CredentialReason.RETRY:
            if not self.can_change:
                raise _refused(request)
            password = await self._obtain(request)
            if password in self._given:
                raise _refused(request)
        else:
            self._given.clear()
            password = await self._obtain(request)
        self._given.add(password)
        return Credentials(request.username, password)

    async def prepare(self, request: CredentialRequest) -> None:
        """Get now what would otherwise hold up the log-in, with the server's clock running."""
        await trio.lowlevel.checkpoint()

    def warnings(self) -> list[str]:
        """Return what the user should know about the source."""
        return []

    @abstractmethod
    async def _obtain(self, request: CredentialRequest) -> str:
        """Return the password."""


def _refused(request: CredentialRequest) -> AuthenticationFailed:
    text = one_line(request.message)
    return AuthenticationFailed(
        f'{request.server} refused the password of user "{request.username}"' + (f" ({text})" if text else ""),
        retry_allowed=True,
        hint="Check user name and password; the same password is not sent twice",
    )


class FixedPassword(PasswordSource):
    """A password from the environment or the configuration file."""

    def __init__(self, password: str, origin: str) -> None:
        super().__init__()
        self._password = password
        self._origin = origin

    def __repr__(self) -> str:
        return f"FixedPassword(origin={self._origin!r})"

    async def _obtain(self, request: CredentialRequest) -> str:
        return self._password


class FilePassword(PasswordSource):
    """The first line of a file, read afresh at each log-in."""

    def __init__(self, path: str) -> None:
        super().__init__()
        self.path = path

    def __repr__(self) -> str:
        return f"FilePassword({self.path!r})"

    def warnings(self) -> list[str]:
        """Warn of a file that everybody can read."""
        if world_permissions(self.path):
            return [f"every user of this machine can read {self.path}; run: chmod 600 {self.path}"]
        return []

    async def _obtain(self, request: CredentialRequest) -> str:
        return await trio.to_thread.run_sync(first_line_of, self.path, "--password-file", abandon_on_cancel=True)


class CommandPassword(PasswordSource):
    """The first line that a command prints, run afresh at each log-in: a password manager, a one-time code."""

    can_change = True

    def __init__(self, command: str) -> None:
        super().__init__()
        # Windows' programs split their own command line; elsewhere it is split as a shell does, but no shell runs.
        try:
            self._command: str | list[str] = command if sys.platform == "win32" else shlex.split(command)
        except ValueError as error:
            raise ConfigError(f"--password-command: {error}") from None
        self._name = Path(shlex.split(command, posix=sys.platform != "win32")[0]).name

    def __repr__(self) -> str:
        return f"CommandPassword({self._name!r})"

    def _error(self, message: str, hint: str = "") -> ConfigError:
        # Only the program's name: its arguments may hold secrets of their own.
        return ConfigError(f"the password command {self._name} {message}", hint=hint)

    async def _obtain(self, request: CredentialRequest) -> str:
        try:
            with trio.fail_after(COMMAND_TIMEOUT):
                result = await trio.run_process(
                    self._command, stdin=subprocess.DEVNULL, capture_stdout=True, capture_stderr=True, check=False
                )
        except trio.TooSlowError:
            raise self._error(f"gave no password within {COMMAND_TIMEOUT:g} seconds") from None
        except OSError as error:
            raise self._error(f"could not be run: {error.strerror}") from None
        if result.returncode:
            said = one_line(result.stderr.decode("utf-8", "replace").strip().partition("\n")[0])
            raise self._error(f"failed with exit code {result.returncode}" + (f": {said}" if said else ""))
        return first_line(result.stdout, f"the password command {self._name}")


class PromptPassword(PasswordSource):
    """A person at the terminal.

    What was typed is kept for reconnects, which would otherwise wait for somebody to come back; a refusal asks again.
    """

    can_change = True
    asks_before_dialling = True

    def __init__(self) -> None:
        super().__init__()
        self.before_prompt: Callable[[], None] = _nothing
        """Called before the prompt appears, so that a display can finish its line."""
        self._typed: str | None = None

    def __repr__(self) -> str:
        return "PromptPassword()"

    async def prepare(self, request: CredentialRequest) -> None:
        """Ask before dialling: servers give only seconds for the log-in itself."""
        self._typed = await self._ask(request)

    async def _obtain(self, request: CredentialRequest) -> str:
        if request.reason is CredentialReason.RETRY or self._typed is None:
            self._typed = await self._ask(request)
        return self._typed

    async def _ask(self, request: CredentialRequest) -> str:
        self.before_prompt()
        prompt = f"Password of {request.username} at {request.server}: "
        if request.reason is CredentialReason.RETRY:
            prompt = message_and_hint(f"Refused: {request.message}", f"Another {prompt[0].lower()}{prompt[1:]}") + " "
        with _echo_restored():
            try:
                password = await trio.to_thread.run_sync(getpass.getpass, prompt, abandon_on_cancel=True)
            except (EOFError, OSError):
                password = ""
        if not password:
            raise ConfigError("no password was typed")
        return password


if sys.platform == "win32":

    @contextmanager
    def _echo_restored() -> Iterator[None]:
        """Do nothing: the console is read key by key without echo, there is nothing to restore."""
        yield

else:
    import termios

    @contextmanager
    def _echo_restored() -> Iterator[None]:
        """Turn the terminal's echo on again when Ctrl-C leaves a prompt: its thread is abandoned in getpass()."""
        try:
            terminal = open("/dev/tty", "rb", buffering=0)  # noqa: SIM115 - closed below
        except OSError:
            yield  # getpass() then reads standard input
            return
        with terminal:
            try:
                saved = termios.tcgetattr(terminal)
            except termios.error:
                yield
                return
            try:
                yield
            finally:
                termios.tcsetattr(terminal, termios.TCSADRAIN, saved)

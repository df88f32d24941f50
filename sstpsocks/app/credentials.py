"""Where the password comes from: a prompt, a file, a command, the environment or the configuration file.

A source is asked at each log-in. When a server refuses a password and allows another try (R=1), only a source that
can give something new is asked again; the same password is never sent twice, since every refusal counts towards
locking the account. When the password has expired, a new one comes from elsewhere (new_password.py) and the source is
told, so that it gives that from then on. A one-time code is given out once and never again.
"""

from __future__ import annotations

import shlex
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable
from pathlib import Path

import trio

from ..errors import AuthenticationFailed, ConfigError
from ..ppp.auth import Credentials
from ..tunnel.settings import CredentialReason, CredentialRequest
from .new_password import NewPassword, NoNewPassword
from .private_files import looseness
from .terminal import ask_secretly
from .text import message_and_hint, one_line

COMMAND_TIMEOUT = 60.0  # seconds; long enough to touch a hardware key, as long as the authentication itself may take
NEXT_CODE_INTERVAL = 2.0  # seconds between looks for the next one-time code
NEXT_CODE_TIMEOUT = 70.0  # seconds; RFC 6238 section 5.2: a time step of 30 seconds is usual, and some take 60
MAX_PASSWORD_FILE = 64 * 1024  # octets read of a password file; a first line beyond that is no password


def _nothing() -> None:
    """Interrupt nothing."""


def _tell_nobody(_text: str) -> None:
    """Have nobody to tell."""


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
        self._last = ""
        """The latest of them."""
        self._codes: set[str] = set()
        """The one-time codes given out."""
        self._changed_to: str | None = None
        self.one_time = False
        """Whether it gives one-time codes: each log-in takes another one."""
        self.new_password: NewPassword = NoNewPassword()
        """Who is asked when the password has expired."""
        self.tell: Callable[[str], None] = _tell_nobody
        """Called with what the user should know about a password that was changed."""

    async def __call__(self, request: CredentialRequest) -> Credentials:
        """Return the credentials for one log-in.

        Raises ConfigError when there is no password to be had, AuthenticationFailed when the server refused the
        last one and there is no other.
        """
        if request.reason is CredentialReason.EXPIRED:
            return Credentials(request.username, self._last, await self.new_password.asked(request))
        if request.reason is CredentialReason.RETRY:
            if not self.can_change:
                raise _refused(request)
            password = await self._obtain_fresh(request)
            if password in self._given:
                raise _refused(request)
        else:
            self._given.clear()
            password = self._changed_to if self._changed_to is not None else await self._obtain_fresh(request)
        self._given.add(password)
        self._last = password
        return Credentials(request.username, password, await self.new_password.at_hand())

    async def _obtain_fresh(self, request: CredentialRequest) -> str:
        if not self.one_time:
            return await self._obtain(request)
        with trio.move_on_after(NEXT_CODE_TIMEOUT):
            while (code := await self._obtain(request)) in self._codes:
                if not self.can_change:
                    break
                await trio.sleep(NEXT_CODE_INTERVAL)
            else:
                self._codes.add(code)
                return code
        raise AuthenticationFailed(
            f'{request.server}: the one-time code of user "{request.username}" was used before, and there is no other',
            hint="It was not sent again; connect with a new one",
        )

    async def changed(self, credentials: Credentials) -> None:
        """Learn that the server has taken a new password, which is the one in ``credentials``."""
        self._changed_to = credentials.password
        remark = await self._store(credentials.password)
        self.tell(f'the password of user "{credentials.username}" was changed' + (f"; {remark}" if remark else ""))

    async def _store(self, password: str) -> str:
        """Keep a changed password for the next run of the program; return what is to be said about that."""
        await trio.lowlevel.checkpoint()
        return "put the new one where the old one is configured, and take --new-password-file away"

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

    def __init__(self, path: str, flag: str = "--password-file") -> None:
        super().__init__()
        self.path = path
        self._flag = flag

    def __repr__(self) -> str:
        return f"FilePassword({self.path!r})"

    def warnings(self) -> list[str]:
        """Warn of a file that others can get at, which was allowed."""
        text = looseness(self.path)
        return [text] if text else []

    async def _obtain(self, request: CredentialRequest) -> str:
        return await trio.to_thread.run_sync(first_line_of, self.path, self._flag, abandon_on_cancel=True)


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
        typed = self._typed
        if self.one_time:
            self._typed = None
        return typed

    async def _ask(self, request: CredentialRequest) -> str:
        self.before_prompt()
        prompt = f"Password of {request.username} at {request.server}: "
        if request.reason is CredentialReason.RETRY:
            prompt = message_and_hint(f"Refused: {request.message}", f"Another {prompt[0].lower()}{prompt[1:]}") + " "
        return await ask_secretly(prompt)

    async def _store(self, password: str) -> str:
        self._typed = password
        return ""

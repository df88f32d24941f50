from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing

from sstpsocks.app import credentials as module
from sstpsocks.app.credentials import CommandPassword, FilePassword, FixedPassword, PasswordSource, PromptPassword
from sstpsocks.app.keyring_password import KeyringPassword
from sstpsocks.app.new_password import NewPasswordFile, NewPasswordPrompt
from sstpsocks.errors import AuthenticationFailed, ConfigError
from sstpsocks.tunnel.settings import CredentialReason, CredentialRequest, Credentials

LOGIN = CredentialRequest(CredentialReason.LOGIN, "alice", "vpn.example.org:443")
EXPIRED = CredentialRequest(
    CredentialReason.EXPIRED, "alice", "vpn.example.org:443", "the password has expired (error 648)"
)
RETRY = CredentialRequest(CredentialReason.RETRY, "alice", "vpn.example.org:443", "E=691 try again\x1b[2J")


def command(script: str) -> CommandPassword:
    # Quotes as both a POSIX shell and Windows understand them.
    return CommandPassword(f'"{sys.executable}" -c "{script}"')


async def test_a_fixed_password_is_given_once_and_never_again_after_a_refusal() -> None:
    source = FixedPassword("hunter2", "SSTPSOCKS_PASSWORD")
    given = await source(LOGIN)
    assert (given.username, given.password) == ("alice", "hunter2")
    with pytest.raises(AuthenticationFailed) as caught:
        await source(RETRY)
    assert caught.value.exit_code == 5
    assert "E=691 try again" in str(caught.value)
    assert "\x1b" not in str(caught.value)
    assert "hunter2" not in repr(source) + str(caught.value)
    assert (await source(LOGIN)).password == "hunter2"


async def test_a_file_is_read_at_each_login(tmp_path: Path) -> None:
    path = tmp_path / "password"
    path.write_bytes(b"\xef\xbb\xbffirst \r\nsecond\n")
    source = FilePassword(str(path))
    assert (await source(LOGIN)).password == "first "
    path.write_text("other")
    assert (await source(LOGIN)).password == "other"
    path.unlink()
    with pytest.raises(ConfigError, match="cannot read"):
        await source(LOGIN)


@pytest.mark.parametrize("content", [b"", b"\n", b"\r\nsecond", b"p\xff\xfe\n"])
async def test_a_file_without_a_password_is_an_error_that_does_not_quote_it(tmp_path: Path, content: bytes) -> None:
    path = tmp_path / "password"
    path.write_bytes(content)
    with pytest.raises(ConfigError) as caught:
        await FilePassword(str(path))(LOGIN)
    assert "xff" not in str(caught.value)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__ or caught.value.__context__ is None


async def test_a_command_is_run_afresh_at_each_login(tmp_path: Path) -> None:
    counter = tmp_path / "count"
    script = f"import pathlib; p = pathlib.Path(r'{counter}'); p.open('a').write('x'); print(len(p.read_text()))"
    source = command(script)
    assert (await source(LOGIN)).password == "1"
    assert (await source(LOGIN)).password == "2"
    assert (await source(RETRY)).password == "3"


async def test_a_command_that_gives_the_refused_password_again_ends_it() -> None:
    source = command("print('same')")
    await source(LOGIN)
    with pytest.raises(AuthenticationFailed):
        await source(RETRY)


@pytest.mark.parametrize(
    ("script", "said"),
    [
        (
            "import sys; print('secret'); sys.stderr.write('locked\\n2nd'); sys.exit(3)",
            "failed with exit code 3: locked",
        ),
        ("import sys; sys.exit(1)", "failed with exit code 1"),
        ("pass", "first line is empty"),
    ],
)
async def test_a_command_that_fails_is_told_with_the_first_line_of_its_complaint(script: str, said: str) -> None:
    with pytest.raises(ConfigError) as caught:
        await command(script)(LOGIN)
    assert said in str(caught.value)
    assert "secret" not in str(caught.value)
    assert "2nd" not in str(caught.value)


async def test_a_command_that_does_not_exist_is_told() -> None:
    with pytest.raises(ConfigError, match=r"nonexistent-program could not be run: ."):
        await CommandPassword("/nonexistent-program --token abc")(LOGIN)
    assert "abc" not in repr(CommandPassword("/nonexistent-program --token abc"))


async def test_a_command_that_hangs_is_ended(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "COMMAND_TIMEOUT", 0.2)
    with pytest.raises(ConfigError, match=r"gave no password within 0.2 seconds"):
        await command("import time; time.sleep(60)")(LOGIN)


@pytest.fixture
def typed(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """What the person will type; the prompts are checked to be one line."""
    answers: list[str] = []

    def fake_getpass(prompt: str) -> str:
        assert prompt.isprintable()
        assert "alice" in prompt
        return answers.pop(0)

    monkeypatch.setattr("getpass.getpass", fake_getpass)
    yield answers
    assert answers == [], "every answer was asked for"


async def test_a_prompt_is_kept_for_reconnects_and_asked_again_after_a_refusal(typed: list[str]) -> None:
    typed[:] = ["first", "second", "first"]
    source = PromptPassword()
    interrupted: list[bool] = []
    source.before_prompt = lambda: interrupted.append(True)
    await source.prepare(LOGIN)
    assert (await source(LOGIN)).password == "first"
    assert (await source(RETRY)).password == "second"
    with pytest.raises(AuthenticationFailed):
        await source(RETRY)
    assert len(interrupted) == 3


async def test_a_prompt_answered_with_nothing_gives_up(typed: list[str]) -> None:
    typed[:] = [""]
    with pytest.raises(ConfigError, match="no password was typed"):
        await PromptPassword()(LOGIN)


async def test_a_prompt_can_be_cancelled(monkeypatch: pytest.MonkeyPatch) -> None:
    answer = trio.Event()

    def waits(_prompt: str) -> str:
        trio.from_thread.run(answer.wait)
        return "late"

    monkeypatch.setattr("getpass.getpass", waits)
    source = PromptPassword()
    with trio.move_on_after(0.05) as scope:
        await source(LOGIN)
    assert scope.cancelled_caught
    answer.set()


@pytest.mark.parametrize("source", [FixedPassword("x", "y"), FilePassword("x"), PromptPassword()])
def test_sources_show_no_password(source: PasswordSource) -> None:
    assert "'x'" not in repr(source) or isinstance(source, FilePassword)


# Passwords that have expired.


async def test_without_a_new_password_the_refusal_stands() -> None:
    source = FixedPassword("old", "SSTPSOCKS_PASSWORD")
    assert (await source(LOGIN)).new_password is None
    with pytest.raises(ConfigError, match="no new password"):
        await source(EXPIRED)


async def test_a_new_password_from_a_file_is_at_hand_from_the_start() -> None:
    """So that the change takes no question; only a server that asks for it gets it."""
    source = FixedPassword("old", "SSTPSOCKS_PASSWORD")
    source.new_password = NewPasswordFile(lambda: "new")
    assert await source(LOGIN) == Credentials("alice", "old", "new")


async def test_a_person_types_the_new_password_twice_alike(typed: list[str]) -> None:
    typed[:] = ["new", "nwe", "new", "new"]
    interrupted: list[bool] = []
    source = FixedPassword("old", "SSTPSOCKS_PASSWORD")
    source.new_password = prompt = NewPasswordPrompt()
    prompt.before_prompt = lambda: interrupted.append(True)
    assert (await source(LOGIN)).new_password is None
    assert await source(EXPIRED) == Credentials("alice", "old", "new")
    assert len(interrupted) == 2


async def test_a_changed_password_is_the_one_of_every_later_login_and_the_user_is_told() -> None:
    source = FixedPassword("old", "SSTPSOCKS_PASSWORD")
    told: list[str] = []
    source.tell = told.append
    source.new_password = NewPasswordFile(lambda: "new")
    await source(LOGIN)
    await source.changed(Credentials("alice", "new"))
    assert (await source(LOGIN)).password == "new"
    (text,) = told
    assert 'the password of user "alice" was changed' in text
    assert "take --new-password-file away" in text
    assert "new" not in text.replace("the new one", "").replace("--new-password-file", "")


async def test_a_prompt_needs_no_advice_about_a_changed_password(typed: list[str]) -> None:
    typed[:] = ["old"]
    told: list[str] = []
    source = PromptPassword()
    source.tell = told.append
    await source(LOGIN)
    await source.changed(Credentials("alice", "new"))
    assert told == ['the password of user "alice" was changed']
    assert (await source(LOGIN)).password == "new"


# One-time codes.


async def test_a_one_time_code_is_asked_for_at_each_login(typed: list[str]) -> None:
    typed[:] = ["111111", "222222"]
    source = PromptPassword()
    source.one_time = True
    await source.prepare(LOGIN)
    assert [(await source(LOGIN)).password for _ in range(2)] == ["111111", "222222"]


async def test_a_command_is_asked_until_it_has_another_code(autojump_clock: trio.testing.MockClock) -> None:
    """A code stands for 30 s, and a tunnel may be lost sooner."""
    codes = ["111111", "111111", "111111", "222222"]

    class Codes(CommandPassword):
        async def _obtain(self, request: CredentialRequest) -> str:
            return codes.pop(0)

    source = Codes("oathtool")
    source.one_time = True
    assert (await source(LOGIN)).password == "111111"
    before = trio.current_time()
    assert (await source(LOGIN)).password == "222222"
    assert trio.current_time() - before == 2 * module.NEXT_CODE_INTERVAL


async def test_a_command_that_knows_one_code_only_gives_up(autojump_clock: trio.testing.MockClock) -> None:
    class Codes(CommandPassword):
        async def _obtain(self, request: CredentialRequest) -> str:
            await trio.lowlevel.checkpoint()
            return "111111"

    source = Codes("oathtool")
    source.one_time = True
    await source(LOGIN)
    with pytest.raises(AuthenticationFailed, match="was used before") as caught:
        await source(LOGIN)
    assert "111111" not in str(caught.value) + caught.value.hint


async def test_a_code_that_is_written_down_serves_one_login() -> None:
    source = FixedPassword("111111", "SSTPSOCKS_PASSWORD")
    source.one_time = True
    await source(LOGIN)
    with pytest.raises(AuthenticationFailed, match="was used before"):
        await source(LOGIN)


# The keyring.


class FakeKeyring:
    """In place of the package."""

    def __init__(self, **entries: str) -> None:
        self.entries = {("sstpsocks", f"{user}@vpn.example.org:443"): secret for user, secret in entries.items()}
        self.locked = False

    def get_password(self, service_name: str, username: str) -> str | None:
        if self.locked:
            raise RuntimeError("it is locked\x1b[2J")
        return self.entries.get((service_name, username))

    def set_password(self, service_name: str, username: str, password: str) -> None:
        if self.locked:
            raise RuntimeError("it is locked")
        self.entries[service_name, username] = password


async def test_the_keyring_is_read_at_each_login_and_takes_a_changed_password() -> None:
    keyring = FakeKeyring(alice="old")
    source = KeyringPassword(keyring)
    told: list[str] = []
    source.tell = told.append
    assert (await source(LOGIN)).password == "old"
    await source.changed(Credentials("alice", "new"))
    assert (await KeyringPassword(keyring)(LOGIN)).password == "new"
    assert told == ['the password of user "alice" was changed; the keyring holds it now']
    keyring.locked = True
    await source.changed(Credentials("alice", "newer"))
    assert told[-1].endswith("the keyring still holds the old one: the keyring says no: it is locked")


async def test_a_keyring_without_the_password_or_locked_says_so() -> None:
    keyring = FakeKeyring()
    with pytest.raises(ConfigError, match=r"holds no password of alice@vpn.example.org:443") as caught:
        await KeyringPassword(keyring)(LOGIN)
    assert 'keyring set sstpsocks "alice@vpn.example.org:443"' in caught.value.hint
    keyring.locked = True
    with pytest.raises(ConfigError, match="it is locked") as caught:
        await KeyringPassword(keyring)(LOGIN)
    assert "\x1b" not in str(caught.value)


def test_the_keyrings_package_is_optional(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "keyring", None)  # as if it were not installed
    with pytest.raises(ConfigError) as caught:
        KeyringPassword()
    assert "sstpsocks[keyring]" in caught.value.hint

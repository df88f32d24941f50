from __future__ import annotations

import sys
from collections.abc import Iterator
from pathlib import Path

import pytest
import trio

from sstpsocks.app import credentials as module
from sstpsocks.app.credentials import CommandPassword, FilePassword, FixedPassword, PasswordSource, PromptPassword
from sstpsocks.errors import AuthenticationFailed, ConfigError
from sstpsocks.tunnel.settings import CredentialReason, CredentialRequest

LOGIN = CredentialRequest(CredentialReason.LOGIN, "alice", "vpn.example.org:443")
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

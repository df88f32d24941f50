"""A password that has expired: changed on the way in, and the new one from then on."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import trio
import trio.testing

from sstpsocks.base.entropy import Entropy
from sstpsocks.errors import AuthenticationFailed, ConfigError
from sstpsocks.ppp import login as login_module
from sstpsocks.ppp.auth import AuthMethod, Credentials
from sstpsocks.ppp.chap_machine import Lookup
from sstpsocks.ppp.chap_mschapv2 import MsChapV2Server
from sstpsocks.tunnel import lifecycle as lifecycle_module
from sstpsocks.tunnel.session import Session
from sstpsocks.tunnel.settings import CredentialReason, CredentialRequest
from sstpsocks.tunnel.states import TunnelState, TunnelStatus
from tests.helpers.demo_site import PASSWORD, DemoSite, demo_site

NEW = "much better"


class Directory:
    """The server's passwords, which expire and may be changed."""

    def __init__(self) -> None:
        self.passwords = {"alice": PASSWORD}
        self.expired = {"alice"}
        self.takes_changes = True
        self.log_ins = 0

    def make_server(
        self, _method: AuthMethod, _lookup: Lookup, entropy: Entropy, name: str, **_more: object
    ) -> MsChapV2Server:
        self.log_ins += 1
        return MsChapV2Server(
            self.passwords.get, entropy, name=name, expired=frozenset(self.expired), change_password=self.change
        )

    def change(self, username: str, password: str) -> bool:
        if self.takes_changes:
            self.passwords[username] = password
            self.expired.discard(username)
        return self.takes_changes


@pytest.fixture
def directory(monkeypatch: pytest.MonkeyPatch) -> Directory:
    directory = Directory()
    monkeypatch.setattr(login_module, "make_server", directory.make_server)
    monkeypatch.setattr(lifecycle_module, "EAGER_DELAY", 0.02)
    return directory


@pytest.fixture
async def site(tmp_path: Path) -> AsyncIterator[DemoSite]:
    async with demo_site(tmp_path) as site:
        yield site


class Person:
    """Who knows the old password and thinks of a new one when asked."""

    def __init__(self, *, new: str | None = NEW, at_hand: bool = False) -> None:
        self.password = PASSWORD
        self.new = new
        self.at_hand = at_hand
        self.asked: list[CredentialReason] = []
        self.told: list[Credentials] = []

    async def credentials(self, request: CredentialRequest) -> Credentials:
        self.asked.append(request.reason)
        if request.reason is CredentialReason.EXPIRED and self.new is None:
            raise ConfigError("there is no new password")
        wanted = self.at_hand or request.reason is CredentialReason.EXPIRED
        return Credentials(request.username, self.password, self.new if wanted else None)

    async def changed(self, credentials: Credentials) -> None:
        self.told.append(credentials)
        self.password = credentials.password


@pytest.mark.parametrize("at_hand", [False, True])
async def test_the_password_is_changed_and_the_tunnel_comes_up(
    site: DemoSite, directory: Directory, at_hand: bool
) -> None:
    """One connection, one log-in; with the new password at hand nobody is asked in the middle of it."""
    person = Person(at_hand=at_hand)
    async with Session(site.settings(credentials=person.credentials, password_changed=person.changed)) as session:
        assert session.up
        await trio.testing.wait_all_tasks_blocked()
        assert person.told == [Credentials("alice", NEW)]
    assert directory.passwords == {"alice": NEW}
    assert directory.log_ins == 1
    expected = [CredentialReason.LOGIN] if at_hand else [CredentialReason.LOGIN, CredentialReason.EXPIRED]
    assert person.asked == expected


async def test_a_reconnect_logs_in_with_the_new_password(site: DemoSite, directory: Directory) -> None:
    person = Person()
    back = trio.Event()
    ups = 0

    def note(state: TunnelState) -> None:
        nonlocal ups
        ups += state.status is TunnelStatus.UP
        if ups == 2:
            back.set()

    settings = site.settings(credentials=person.credentials, password_changed=person.changed)
    async with trio.open_nursery() as nursery, Session(settings, on_state=note) as session:
        await site.stop()
        await site.start(nursery)
        with trio.fail_after(10):
            await back.wait()
        assert session.up
        nursery.cancel_scope.cancel()
    assert directory.log_ins == 2
    assert len(person.told) == 1


async def test_without_a_new_password_the_reason_is_told(site: DemoSite, directory: Directory) -> None:
    person = Person(new=None)
    with pytest.raises(AuthenticationFailed) as caught:
        async with Session(site.settings(credentials=person.credentials)):
            pass
    assert caught.value.code == 648
    assert "the password has expired" in str(caught.value)
    assert "--new-password-file" in caught.value.hint
    assert directory.passwords == {"alice": PASSWORD}


async def test_a_new_password_that_the_server_does_not_take_is_an_error_of_its_own(
    site: DemoSite, directory: Directory
) -> None:
    directory.takes_changes = False
    person = Person()
    with pytest.raises(AuthenticationFailed) as caught:
        async with Session(site.settings(credentials=person.credentials, password_changed=person.changed)):
            pass
    assert caught.value.code == 709
    assert "could not be changed" in str(caught.value)
    assert person.told == []

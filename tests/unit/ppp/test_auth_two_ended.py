"""Every method, client against server: through loss and duplication of any packet, in virtual time."""

from __future__ import annotations

import itertools

import pytest

from sstpsocks.base.entropy import SeededEntropy
from sstpsocks.ppp.auth import ZERO_HLAK, AuthMethod, AuthRefused, AuthSucceeded, Credentials
from sstpsocks.ppp.chap_mschapv2 import MsChapV2Server
from sstpsocks.ppp.packet import PROTOCOL_CHAP, PROTOCOL_EAP, PROTOCOL_PAP
from tests.helpers.auth import ALICE, PASSWORDS, WRONG, Pair, make_pair

METHODS = list(AuthMethod)


def assert_logged_in(pair: Pair, method: AuthMethod, username: str = "alice") -> None:
    (ours,) = pair.client_events
    (theirs,) = pair.server_events
    assert isinstance(ours, AuthSucceeded)
    assert isinstance(theirs, AuthSucceeded)
    assert (ours.method, ours.username) == (theirs.method, theirs.username) == (method, username)
    assert ours.hlak == theirs.hlak
    assert len(ours.hlak) == 32
    assert (ours.hlak != ZERO_HLAK) == method.gives_keys
    assert pair.client.poll_at() is pair.server.poll_at() is None


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("username", list(PASSWORDS))
def test_log_in(method: AuthMethod, username: str) -> None:
    pair = make_pair(method, Credentials(username, PASSWORDS[username]))
    pair.start()
    pair.run()
    assert_logged_in(pair, method, username)
    if not method.is_eap:
        assert len(pair.wire) == (2 if method is AuthMethod.PAP else 3)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("credentials", [WRONG, Credentials("nobody", "open sesame"), Credentials("", "")])
def test_refusal(method: AuthMethod, credentials: Credentials) -> None:
    pair = make_pair(method, credentials)
    pair.start()
    pair.run()
    (ours,) = pair.client_events
    (theirs,) = pair.server_events
    assert isinstance(ours, AuthRefused)
    assert isinstance(theirs, AuthRefused)
    assert ours.message
    assert ours.hint


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("copies", [0, 2, 3])
@pytest.mark.parametrize("victim", range(6))
def test_loss_or_duplication_of_any_one_packet(method: AuthMethod, copies: int, victim: int) -> None:
    pair = make_pair(method)
    pair.fate = lambda number: copies if number == victim else 1
    pair.start()
    pair.run()
    assert_logged_in(pair, method)


@pytest.mark.parametrize("method", METHODS)
@pytest.mark.parametrize("pattern", list(itertools.product((0, 1, 2), repeat=5)))
def test_every_mixture_of_loss_and_duplication_at_the_start(method: AuthMethod, pattern: tuple[int, ...]) -> None:
    pair = make_pair(method)
    pair.fate = lambda number: pattern[number] if number < len(pattern) else 1
    pair.start()
    pair.run()
    assert_logged_in(pair, method)


@pytest.mark.parametrize("copies", [0, 2])
@pytest.mark.parametrize("victim", range(8))
def test_loss_or_duplication_around_another_try(copies: int, victim: int) -> None:
    server = MsChapV2Server(PASSWORDS.get, SeededEntropy("server"), retries=1)
    pair = make_pair(AuthMethod.MSCHAPV2, WRONG, server=server)
    pair.fate = lambda number: copies if number == victim else 1
    pair.start()
    pair.run()
    (event,) = pair.client_events
    assert isinstance(event, AuthRefused)
    assert event.retry_allowed
    pair.client_events.clear()
    pair.client.retry(ALICE, pair.now)
    pair.run()
    assert_logged_in(pair, AuthMethod.MSCHAPV2)


def test_protocol_numbers() -> None:
    for method in METHODS:
        expected = PROTOCOL_EAP if method.is_eap else PROTOCOL_PAP if method is AuthMethod.PAP else PROTOCOL_CHAP
        pair = make_pair(method)
        assert pair.client.protocol == pair.server.protocol == expected


@pytest.mark.parametrize("method", METHODS)
def test_repr_shows_the_state_and_no_password(method: AuthMethod) -> None:
    pair = make_pair(method)
    pair.start()
    pair.run()
    assert "SUCCEEDED" in repr(pair.client)
    assert "SUCCEEDED" in repr(pair.server)
    assert "sesame" not in repr(pair.client) + repr(pair.server) + repr(pair.client_events)

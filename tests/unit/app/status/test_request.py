"""Who is answered at the status port."""

from __future__ import annotations

import base64
from http import HTTPStatus

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.app.status.request import PATHS, Policy, Refusal, judge
from sstpsocks.proxy.users import Users

OPEN = Policy()
LOCKED = Policy(Users([("alice", "open: sesame")]))
Headers = list[tuple[bytes, bytes]]


def ask(
    *headers: tuple[bytes, bytes],
    target: bytes = b"/status.json",
    method: bytes = b"GET",
    host: bytes | None = b"127.0.0.1:8020",
    policy: Policy = OPEN,
    unix: bool = False,
) -> str | HTTPStatus:
    """The path that is answered, or the status of the refusal."""
    hosts: Headers = [] if host is None else [(b"host", host)]
    decision = judge(method, target, [*hosts, *headers], policy, unix=unix)
    return decision.status if isinstance(decision, Refusal) else decision


def basic(user: str, password: str) -> tuple[bytes, bytes]:
    return b"authorization", b"Basic " + base64.b64encode(f"{user}:{password}".encode())


@pytest.mark.parametrize("path", sorted(PATHS))
def test_each_page_is_found(path: str) -> None:
    assert ask(target=path.encode()) == path
    assert ask(target=f"{path}?a=b".encode()) == path
    assert ask(target=path.encode(), method=b"HEAD") == path


@pytest.mark.parametrize("path", [b"/x", b"/status.json/", b"//", b"/../etc/passwd", b"*", b"", b"ftp://127.0.0.1/"])
def test_nothing_else_is(path: bytes) -> None:
    assert ask(target=path) == HTTPStatus.NOT_FOUND


@pytest.mark.parametrize("method", [b"POST", b"PUT", b"DELETE", b"OPTIONS", b"CONNECT", b"TRACE", b"get"])
def test_nothing_can_be_changed(method: bytes) -> None:
    assert ask(method=method) == HTTPStatus.METHOD_NOT_ALLOWED


def test_a_body_is_refused() -> None:
    assert ask((b"content-length", b"5")) == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    assert ask((b"transfer-encoding", b"chunked")) == HTTPStatus.REQUEST_ENTITY_TOO_LARGE
    assert ask((b"content-length", b"0")) == "/status.json"


@pytest.mark.parametrize("host", [b"127.0.0.1", b"127.0.0.1:8020", b"[::1]:8020", b"localhost", b"LocalHost:1",
                                  b"a.localhost", b"localhost.", b"10.0.0.9:80"])  # fmt: skip
def test_addresses_and_localhost_are_our_names(host: bytes) -> None:
    assert ask(host=host) == "/status.json"


@pytest.mark.parametrize(
    "host",
    [b"evil.example", b"evil.example:8020", b"127.0.0.1.evil.example", b"localhost.evil.example", b"", b"127.1",
     b"0x7f000001", b"user@127.0.0.1", b"127.0.0.1/x", b"127.0.0.1:port", b"[::1", b"\xff", b"127.0.0.1, evil.example"],
)  # fmt: skip
def test_a_name_that_turns_into_our_address_is_refused(host: bytes) -> None:
    assert ask(host=host) == HTTPStatus.MISDIRECTED_REQUEST


def test_names_that_the_user_gave_are_ours() -> None:
    policy = Policy(names=frozenset({"vpn.lan"}))
    assert ask(host=b"VPN.lan:8020", policy=policy) == "/status.json"
    assert ask(host=b"vpn.lan.:8020", policy=policy) == "/status.json"
    assert ask(host=b"x.vpn.lan", policy=policy) == HTTPStatus.MISDIRECTED_REQUEST


def test_there_is_one_host() -> None:
    assert ask((b"host", b"evil.example")) == HTTPStatus.MISDIRECTED_REQUEST
    assert ask(host=None) == HTTPStatus.MISDIRECTED_REQUEST


def test_the_target_says_more_than_the_host() -> None:
    assert ask(target=b"http://127.0.0.1:8020/metrics") == "/metrics"
    assert ask(target=b"http://evil.example/metrics") == HTTPStatus.MISDIRECTED_REQUEST
    assert ask(target=b"http://localhost") == "/"


def test_no_browser_reaches_a_unix_socket() -> None:
    assert ask(host=b"anything", unix=True) == "/status.json"


@pytest.mark.parametrize("site", [b"cross-site", b"same-site"])
def test_what_another_site_asks_is_refused(site: bytes) -> None:
    fetch = (b"sec-fetch-site", site)
    assert ask(fetch) == HTTPStatus.FORBIDDEN
    assert ask(fetch, target=b"/events") == HTTPStatus.FORBIDDEN
    assert ask(fetch, target=b"/") == HTTPStatus.FORBIDDEN
    frame = [(b"sec-fetch-mode", b"navigate"), (b"sec-fetch-dest", b"iframe")]
    assert ask(fetch, *frame, target=b"/") == HTTPStatus.FORBIDDEN


def test_a_person_may_follow_a_link_to_the_page_alone() -> None:
    link = [(b"sec-fetch-site", b"cross-site"), (b"sec-fetch-mode", b"navigate"), (b"sec-fetch-dest", b"document")]
    assert ask(*link, target=b"/") == "/"
    assert ask(*link, target=b"/status.json") == HTTPStatus.FORBIDDEN


def test_the_page_itself_and_an_address_that_was_typed_are_no_other_site() -> None:
    assert ask((b"sec-fetch-site", b"same-origin")) == "/status.json"
    assert ask((b"sec-fetch-site", b"none")) == "/status.json"


def test_a_password_that_is_set_is_needed() -> None:
    assert ask(basic("alice", "open: sesame"), policy=LOCKED) == "/status.json"
    assert ask((b"authorization", basic("alice", "open: sesame")[1].replace(b"Basic", b"bAsIc")), policy=LOCKED)
    for wrong in (
        basic("alice", "guess"),
        basic("bob", "open: sesame"),
        (b"authorization", b"Basic !!!"),
        (b"authorization", b"Basic " + base64.b64encode(b"alice")),
        (b"authorization", b"Bearer x"),
        (b"x", b"y"),
    ):
        assert ask(wrong, policy=LOCKED) == HTTPStatus.UNAUTHORIZED
    twice = [basic("alice", "open: sesame")] * 2
    assert ask(*twice, policy=LOCKED) == HTTPStatus.UNAUTHORIZED


@pytest.mark.parametrize("path", [b"/healthz", b"/readyz"])
def test_health_checks_need_none(path: bytes) -> None:
    assert ask(target=path, policy=LOCKED) == path.decode()


def test_a_refusal_for_want_of_a_password_says_how_to_give_one() -> None:
    refusal = judge(b"GET", b"/", [(b"host", b"localhost")], LOCKED)
    assert isinstance(refusal, Refusal)
    assert dict(refusal.headers)["WWW-Authenticate"].startswith("Basic ")


NAMES = st.sampled_from([b"host", b"authorization", b"sec-fetch-site", b"sec-fetch-mode", b"content-length", b"x"])


@settings(deadline=None, max_examples=300)
@given(st.binary(max_size=9), st.binary(max_size=40), st.lists(st.tuples(NAMES, st.binary(max_size=40)), max_size=6))
def test_whatever_comes_is_a_path_or_a_refusal(method: bytes, target: bytes, headers: Headers) -> None:
    for policy in (OPEN, LOCKED):
        decision = judge(method, target, headers, policy)
        assert isinstance(decision, Refusal) or decision in PATHS
        if policy is LOCKED and not isinstance(decision, Refusal):
            assert decision in ("/healthz", "/readyz"), "nobody guesses the password"

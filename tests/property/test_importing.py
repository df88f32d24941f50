"""Whatever a file holds, an import ends with profiles that our own reader takes, or with ConfigError."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from sstpsocks.app.configfile import load
from sstpsocks.app.importing.detect import read_profiles
from sstpsocks.app.importing.link import read_link
from sstpsocks.app.importing.profile import ImportedProfile
from sstpsocks.app.importing.toml import render
from sstpsocks.errors import ConfigError
from tests.unit.app.test_importing import AZURE, KEYFILE, PHONE_BOOK, PROFILE_XML, ROUTEROS, archive

SAMPLES = [*(text.encode() for text in (PHONE_BOOK, PROFILE_XML, AZURE, KEYFILE, ROUTEROS)), archive(AZURE.encode())]


def check_that_they_load(profiles: list[ImportedProfile]) -> None:
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "config.toml"
        path.touch(0o600)
        path.write_text(render(profiles, with_secrets=True), encoding="utf-8")
        assert load(path).defaults == {}


def import_anything(data: bytes) -> None:
    try:
        found = read_profiles(data)
    except ConfigError:
        return
    check_that_they_load(found.profiles)


@settings(deadline=None, max_examples=150)
@given(
    sample=st.sampled_from(SAMPLES),
    place=st.floats(0, 1),
    removed=st.integers(0, 40),
    added=st.one_of(st.binary(max_size=20), st.text(max_size=20).map(lambda text: text.encode("utf-8", "replace"))),
)
def test_a_damaged_sample(sample: bytes, place: float, removed: int, added: bytes) -> None:
    at = int(place * len(sample))
    import_anything(sample[:at] + added + sample[at + removed :])


@settings(deadline=None, max_examples=100)
@given(
    start=st.sampled_from(
        [b"", b"<", b"[a]\n", b"sstp://", b"PK\x03\x04", b"\xff\xfe", b"/interface sstp-client add "]
    ),
    rest=st.binary(max_size=200),
)
def test_any_bytes(start: bytes, rest: bytes) -> None:
    import_anything(start + rest)


@settings(deadline=None, max_examples=100)
@given(text=st.text(max_size=60))
def test_any_link(text: str) -> None:
    try:
        profile = read_link(f"sstp://{text}")
    except ConfigError:
        return
    check_that_they_load([profile])


@settings(deadline=None, max_examples=100)
@given(name=st.text(max_size=40), user=st.text(max_size=40), password=st.text(max_size=40))
def test_every_value_of_a_line_survives_or_is_listed(name: str, user: str, password: str) -> None:
    quoted = {
        key: value.replace("\\", "\\\\").replace('"', '\\"')
        for key, value in {"name": name, "user": user, "password": password}.items()
    }
    if any(mark in "".join(quoted.values()) for mark in "\n\r\x0b\x0c\x1c\x1d\x1e\x85\u2028\u2029"):
        return  # lines end there
    line = "/interface sstp-client add connect-to=h.example " + " ".join(
        f'{key}="{value}"' for key, value in quoted.items()
    )
    try:
        (profile,) = read_profiles(line.encode()).profiles
    except UnicodeEncodeError:
        pytest.fail("text strategy gives no surrogates")
    except ConfigError:
        assert "\0" in line
        return
    assert profile.settings.get("user", user) == user
    assert profile.secrets.get("password", password) == password
    check_that_they_load([profile])

"""The trust stores of Windows and macOS, by fakes of the interfaces that they are read through."""

from __future__ import annotations

import ctypes
from collections.abc import Callable
from typing import Any

import pytest

from sstpsocks.tunnel import macos_store, windows_store
from sstpsocks.tunnel.macos_store import SSL_POLICY, Domain, Result, SecurityFramework, TrustSetting
from sstpsocks.tunnel.windows_store import SERVER_AUTHENTICATION, StoreEntry

EMAIL = "1.3.6.1.5.5.7.3.4"
EMAIL_POLICY = "1.2.840.113635.100.1.8"


# Windows


def windows(**stores: list[StoreEntry]) -> list[bytes]:
    return windows_store.trusted_certificates(lambda name: stores.get(name, []))


def test_windows_trusts_what_is_good_for_servers() -> None:
    found = windows(
        ROOT=[
            (b"all", "x509_asn", True),
            (b"servers", "x509_asn", {SERVER_AUTHENTICATION, EMAIL}),
            (b"mail", "x509_asn", {EMAIL}),
            (b"nothing", "x509_asn", False),
            (b"bundle", "pkcs_7_asn", True),
        ],
        CA=[(b"between", "x509_asn", True), (b"all", "x509_asn", True)],
    )
    assert found == [b"all", b"servers", b"between"]


def test_windows_never_trusts_what_is_disallowed() -> None:
    entry: list[StoreEntry] = [(b"bad", "x509_asn", True), (b"good", "x509_asn", True)]
    assert windows(ROOT=entry, CA=entry, DISALLOWED=[(b"bad", "x509_asn", False)]) == [b"good"]


def test_a_store_that_may_not_be_opened_is_empty() -> None:
    def enumerate_store(name: str) -> list[StoreEntry]:
        if name != "ROOT":
            raise PermissionError(name)
        return [(b"root", "x509_asn", True)]

    assert windows_store.trusted_certificates(enumerate_store) == [b"root"]


# macOS: what settings mean


class Trust:
    """A Mac's settings."""

    def __init__(
        self, anchors: list[bytes], user: dict[bytes, list[TrustSetting]], admin: dict[bytes, list[TrustSetting]]
    ) -> None:
        self._anchors = anchors
        self._domains = {Domain.USER: user, Domain.ADMIN: admin}

    def anchors(self) -> list[bytes]:
        return self._anchors

    def settings(self, domain: Domain) -> dict[bytes, list[TrustSetting]]:
        return self._domains[domain]


@pytest.mark.parametrize(
    ("settings", "trusted"),
    [
        ([], True),
        ([TrustSetting()], True),
        ([TrustSetting(Result.TRUST_AS_ROOT, SSL_POLICY)], True),
        ([TrustSetting(Result.DENY)], False),
        ([TrustSetting(Result.DENY, SSL_POLICY), TrustSetting()], False),
        ([TrustSetting(Result.TRUST_ROOT, EMAIL_POLICY)], False),
        ([TrustSetting(Result.TRUST_ROOT, SSL_POLICY, limited=True)], False),
        ([TrustSetting(Result.UNSPECIFIED)], False),
        ([TrustSetting(Result.UNSPECIFIED), TrustSetting(Result.TRUST_ROOT, SSL_POLICY)], True),
    ],
)
def test_macos_trusts_what_its_settings_trust_for_tls(settings: list[TrustSetting], trusted: bool) -> None:
    assert macos_store.trusted_certificates(Trust([], {}, {b"company": settings})) == [b"company"] * trusted


def test_the_users_word_counts_more_than_the_administrators_and_apples() -> None:
    deny, allow = [TrustSetting(Result.DENY)], [TrustSetting()]
    assert macos_store.trusted_certificates(Trust([b"apple"], {}, {})) == [b"apple"]
    assert macos_store.trusted_certificates(Trust([b"apple"], {b"apple": deny}, {})) == []
    assert macos_store.trusted_certificates(Trust([], {b"x": deny}, {b"x": allow})) == []
    assert macos_store.trusted_certificates(Trust([], {b"x": allow}, {b"x": deny})) == [b"x"]
    mail_only = [TrustSetting(Result.DENY, EMAIL_POLICY)]
    assert macos_store.trusted_certificates(Trust([b"apple"], {b"apple": mail_only}, {})) == [b"apple"]


# macOS: the framework


class Function:
    """A function of a library, whose prototype can be set."""

    restype: object = None
    argtypes: object = None

    def __init__(self, call: Callable[..., Any]) -> None:
        self._call = call

    def __call__(self, *arguments: Any) -> Any:
        assert self.argtypes is not None
        assert len(arguments) == len(self.argtypes)  # type: ignore[arg-type]  # a list by now
        return self._call(*arguments)


class FakeMac:
    """Security and CoreFoundation with objects as numbers, which counts what is owed to CFRelease."""

    NOT_FOUND = -25263  # errSecNoTrustSettings

    def __init__(self, anchors: list[bytes], domains: dict[int, dict[bytes, list[dict[str, Any]]]]) -> None:
        self.objects: dict[int, Any] = {}
        self.owed = 0
        self._buffers: list[Any] = []
        self._anchors, self._domains = anchors, domains
        for name in dir(type(self)):
            if name.startswith(("CF", "Sec")):
                setattr(self, name, Function(getattr(self, name)))

    def load(self, path: str) -> FakeMac:
        assert path.startswith("/System/Library/Frameworks/")
        return self

    def new(self, value: Any) -> int:
        number = 1000 + len(self.objects)
        self.objects[number] = value
        return number

    def give(self, reference: Any, value: Any) -> int:
        self.owed += 1
        reference._obj.value = self.new(value)
        return 0

    def CFArrayGetCount(self, array: int) -> int:
        return len(self.objects[array])

    def CFArrayGetValueAtIndex(self, array: int, index: int) -> int:
        return self.new(self.objects[array][index])

    def CFDataGetLength(self, data: int) -> int:
        return len(self.objects[data])

    def CFDataGetBytePtr(self, data: int) -> int:
        self._buffers.append(ctypes.create_string_buffer(self.objects[data]))
        return ctypes.addressof(self._buffers[-1])

    def CFDictionaryGetValue(self, dictionary: int, key: int) -> int | None:
        value = self.objects[dictionary].get(self.objects[key])
        return None if value is None else self.new(value)

    def CFNumberGetValue(self, number: int, kind: int, reference: Any) -> bool:
        assert kind == 3
        reference._obj.value = self.objects[number]
        return True

    def CFStringCreateWithCString(self, allocator: None, text: bytes, encoding: int) -> int:
        assert encoding == 0x08000100
        self.owed += 1
        return self.new(text.decode())

    def CFStringGetCString(self, string: int, buffer: Any, size: int, encoding: int) -> bool:
        assert encoding == 0x08000100
        assert size == len(buffer)
        buffer.value = self.objects[string].encode()
        return True

    def CFRelease(self, reference: Any) -> None:
        assert (reference if isinstance(reference, int) else reference.value) in self.objects
        self.owed -= 1

    def SecCertificateCopyData(self, certificate: int) -> int:
        self.owed += 1
        return self.new(self.objects[certificate])

    def SecPolicyCopyProperties(self, policy: int) -> int:
        self.owed += 1
        return self.new({"SecPolicyOid": self.objects[policy]})

    def SecTrustCopyAnchorCertificates(self, reference: Any) -> int:
        return self.give(reference, self._anchors)

    def SecTrustSettingsCopyCertificates(self, domain: int, reference: Any) -> int:
        if domain not in self._domains:
            return self.NOT_FOUND
        return self.give(reference, list(self._domains[domain]))

    def SecTrustSettingsCopyTrustSettings(self, certificate: int, domain: int, reference: Any) -> int:
        return self.give(reference, self._domains[domain][self.objects[certificate]])


def test_the_framework_is_read_and_everything_is_released() -> None:
    result, policy = "kSecTrustSettingsResult", "kSecTrustSettingsPolicy"
    mac = FakeMac(
        [b"apple one", b"apple two"],
        {
            1: {
                b"company": [],
                b"mail": [{policy: EMAIL_POLICY}],
                b"host": [{policy: SSL_POLICY, "kSecTrustSettingsPolicyString": "one.example"}],
                b"tls": [{policy: SSL_POLICY, result: 2}],
                b"apple two": [{result: 3}],
            }
        },
    )
    framework = SecurityFramework(mac.load)
    assert framework.anchors() == [b"apple one", b"apple two"]
    assert framework.settings(Domain.USER) == {}
    assert framework.settings(Domain.ADMIN) == {
        b"company": [],
        b"mail": [TrustSetting(policy=EMAIL_POLICY)],
        b"host": [TrustSetting(policy=SSL_POLICY, limited=True)],
        b"tls": [TrustSetting(Result.TRUST_AS_ROOT, SSL_POLICY)],
        b"apple two": [TrustSetting(Result.DENY)],
    }
    assert mac.owed == 0
    assert macos_store.trusted_certificates(framework) == [b"company", b"tls", b"apple one"]
    assert mac.owed == 0


def test_off_macos_there_is_nothing_to_ask() -> None:
    def no_library(path: str) -> object:
        raise OSError(path)

    with pytest.raises(OSError, match="Security"):
        SecurityFramework(no_library)

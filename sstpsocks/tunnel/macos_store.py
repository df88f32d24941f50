"""What macOS trusts, by its Security framework through ctypes.

``SecTrustCopyAnchorCertificates`` returns Apple's own roots. On top of that come trust settings of three domains (user,
administrator, system): a certificate may be marked as a root, trusted as if it were one, or denied, for everything or
for one policy such as TLS. The user's word counts more than the administrator's. A certificate that merely lies in a
keychain is not trusted, which is why exporting keychains will not do.

:class:`SecurityFramework` is the thin part that speaks ctypes; what the settings mean is decided in plain Python.
"""

from __future__ import annotations

import ctypes
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from enum import IntEnum
from typing import Any, Protocol

_FRAMEWORKS = "/System/Library/Frameworks"
_SECURITY = f"{_FRAMEWORKS}/Security.framework/Security"
_CORE_FOUNDATION = f"{_FRAMEWORKS}/CoreFoundation.framework/CoreFoundation"
_UTF8 = 0x08000100  # kCFStringEncodingUTF8
_INT32 = 3  # kCFNumberSInt32Type
SSL_POLICY = "1.2.840.113635.100.1.3"
"""The object identifier of the policy for TLS (kSecPolicyAppleSSL)."""


class Domain(IntEnum):
    """Whose settings, strongest first (SecTrustSettingsDomain)."""

    USER = 0
    ADMIN = 1


class Result(IntEnum):
    """What a setting says (SecTrustSettingsResult)."""

    INVALID = 0
    TRUST_ROOT = 1
    TRUST_AS_ROOT = 2
    DENY = 3
    UNSPECIFIED = 4


@dataclass(frozen=True, slots=True)
class TrustSetting:
    """One entry of a certificate's settings."""

    result: int = Result.TRUST_ROOT
    """TRUST_ROOT where a setting does not say."""
    policy: str | None = None
    """The policy it is about, as an object identifier; None: all."""
    limited: bool = False
    """Whether it is about one host name, or one error to overlook, and so makes nobody an authority."""


class KeychainTrust(Protocol):
    """What is asked of the system."""

    def anchors(self) -> list[bytes]:
        """Return Apple's roots in DER."""
        ...

    def settings(self, domain: Domain) -> Mapping[bytes, list[TrustSetting]]:
        """Return the certificates (DER) that have settings in a domain, with them; an empty list: always trusted."""
        ...


def trusted_certificates(system: KeychainTrust) -> list[bytes]:
    """Return the certificates in DER that may vouch for TLS servers."""
    verdicts: dict[bytes, bool] = {}
    for domain in Domain:
        for certificate, settings in system.settings(domain).items():
            verdict = _verdict(settings)
            if verdict is not None:
                verdicts.setdefault(certificate, verdict)
    for anchor in system.anchors():
        verdicts.setdefault(anchor, True)
    return [certificate for certificate, trusted in verdicts.items() if trusted]


def _verdict(settings: list[TrustSetting]) -> bool | None:
    """Whether settings trust a certificate for TLS; None when they leave it open."""
    if not settings:
        # "An empty trust settings array ... means "always trust this certificate" with an overall trust setting of
        # kSecTrustSettingsResultTrustRoot."
        return True
    for setting in settings:
        if setting.policy not in (None, SSL_POLICY):
            continue
        if setting.result == Result.DENY:
            return False
        if setting.result in (Result.TRUST_ROOT, Result.TRUST_AS_ROOT) and not setting.limited:
            return True
    return None


Loader = Callable[[str], Any]


class SecurityFramework:
    """The system's answers through Security and CoreFoundation. What is copied or created is released again."""

    def __init__(self, load: Loader = ctypes.CDLL) -> None:
        """``load`` opens a library. Raises OSError where there is none, that is, off macOS."""
        self._security = load(_SECURITY)
        self._core = load(_CORE_FOUNDATION)
        pointer, index, status = ctypes.c_void_p, ctypes.c_long, ctypes.c_int32
        for library, name, result, arguments in (
            (self._core, "CFArrayGetCount", index, [pointer]),
            (self._core, "CFArrayGetValueAtIndex", pointer, [pointer, index]),
            (self._core, "CFDataGetLength", index, [pointer]),
            (self._core, "CFDataGetBytePtr", pointer, [pointer]),
            (self._core, "CFDictionaryGetValue", pointer, [pointer, pointer]),
            (self._core, "CFNumberGetValue", ctypes.c_bool, [pointer, index, pointer]),
            (self._core, "CFStringCreateWithCString", pointer, [pointer, ctypes.c_char_p, ctypes.c_uint32]),
            (self._core, "CFStringGetCString", ctypes.c_bool, [pointer, pointer, index, ctypes.c_uint32]),
            (self._core, "CFRelease", None, [pointer]),
            (self._security, "SecCertificateCopyData", pointer, [pointer]),
            (self._security, "SecPolicyCopyProperties", pointer, [pointer]),
            (self._security, "SecTrustCopyAnchorCertificates", status, [pointer]),
            (self._security, "SecTrustSettingsCopyCertificates", status, [ctypes.c_uint32, pointer]),
            (self._security, "SecTrustSettingsCopyTrustSettings", status, [pointer, ctypes.c_uint32, pointer]),
        ):
            function = getattr(library, name)
            function.restype, function.argtypes = result, arguments

    def anchors(self) -> list[bytes]:
        """Return Apple's roots in DER."""
        with self._copied(self._security.SecTrustCopyAnchorCertificates) as array:
            return [self._der(certificate) for certificate in self._items(array)]

    def settings(self, domain: Domain) -> dict[bytes, list[TrustSetting]]:
        """Return the certificates with settings in a domain; none where the domain has none."""
        found: dict[bytes, list[TrustSetting]] = {}
        with self._copied(self._security.SecTrustSettingsCopyCertificates, int(domain)) as certificates:
            for certificate in self._items(certificates):
                copy = self._security.SecTrustSettingsCopyTrustSettings
                with self._copied(copy, certificate, int(domain)) as settings:
                    if settings is not None:
                        found[self._der(certificate)] = [self._setting(each) for each in self._items(settings)]
        return found

    def _setting(self, dictionary: int) -> TrustSetting:
        result, policy = int(Result.TRUST_ROOT), None
        number = self._value(dictionary, b"kSecTrustSettingsResult")
        if number:
            value = ctypes.c_int32()
            self._core.CFNumberGetValue(number, _INT32, ctypes.byref(value))
            result = value.value
        reference = self._value(dictionary, b"kSecTrustSettingsPolicy")
        if reference:
            policy = self._policy(reference)
        limits = (b"kSecTrustSettingsPolicyString", b"kSecTrustSettingsAllowedError")
        return TrustSetting(result, policy, any(self._value(dictionary, limit) for limit in limits))

    def _policy(self, reference: int) -> str:
        """Return a policy's identifier; empty, and so none of ours, when it has none."""
        properties = self._security.SecPolicyCopyProperties(reference)
        if not properties:
            return ""
        try:
            identifier = self._value(properties, b"SecPolicyOid")  # the value of kSecPolicyOid
            text = ctypes.create_string_buffer(128)
            if not identifier or not self._core.CFStringGetCString(identifier, text, len(text), _UTF8):
                return ""
            return text.value.decode("ascii", "replace")
        finally:
            self._core.CFRelease(properties)

    def _value(self, dictionary: int, key: bytes) -> int | None:
        name = self._core.CFStringCreateWithCString(None, key, _UTF8)
        try:
            value: int | None = self._core.CFDictionaryGetValue(dictionary, name)
            return value
        finally:
            self._core.CFRelease(name)

    def _der(self, certificate: int) -> bytes:
        data = self._security.SecCertificateCopyData(certificate)
        try:
            return ctypes.string_at(self._core.CFDataGetBytePtr(data), self._core.CFDataGetLength(data))
        finally:
            self._core.CFRelease(data)

    def _items(self, array: int | None) -> list[int]:
        if array is None:
            return []
        return [self._core.CFArrayGetValueAtIndex(array, index) for index in range(self._core.CFArrayGetCount(array))]

    @contextmanager
    def _copied(self, function: Callable[..., int], *arguments: int) -> Iterator[int | None]:
        """Call a function that returns a status and, by its last argument, an object; None when it failed."""
        reference = ctypes.c_void_p()
        status = function(*arguments, ctypes.byref(reference))
        try:
            yield reference.value if status == 0 else None
        finally:
            if reference.value:
                self._core.CFRelease(reference)


def system_certificates() -> list[bytes]:
    """Return what this machine trusts, nothing when the framework cannot be asked."""
    try:
        return trusted_certificates(SecurityFramework())
    except (OSError, AttributeError):
        return []

"""Whom to trust inside EAP, and how SSTP is bound to bare EAP-MSCHAPv2."""

from __future__ import annotations

from pathlib import Path

import pytest

from sstpsocks.errors import CallRejected, ConfigError, NegotiationFailed
from sstpsocks.ppp.auth import AuthMethod, Credentials
from sstpsocks.ppp.eap.tls_engine import TlsUse
from sstpsocks.tunnel.eap_login import EapLogin, eap_trust
from sstpsocks.tunnel.eap_tls import EapTrust
from sstpsocks.tunnel.settings import CredentialRequest, EapSettings, TrustSettings, TunnelSettings

ABORTED = CallRejected("server aborted the call")


async def nobody(_request: CredentialRequest) -> Credentials:
    raise AssertionError("nobody is to be asked")


def settings(eap: EapSettings, *, ca_file: str | None = None) -> TunnelSettings:
    trust = TrustSettings(server_name="vpn.example.com", ca_file=ca_file)
    return TunnelSettings(host="vpn.example.com", trust=trust, credentials=nobody, eap=eap)


def test_with_public_authorities_the_name_must_be_the_servers() -> None:
    assert eap_trust(settings(EapSettings())) == EapTrust(names=("vpn.example.com",))
    assert eap_trust(settings(EapSettings(server_names=("nps",)))) == EapTrust(names=("nps",))


def test_a_private_authority_vouches_for_any_name() -> None:
    assert eap_trust(settings(EapSettings(), ca_file="corp.pem")) == EapTrust(ca_file="corp.pem")
    assert eap_trust(settings(EapSettings(ca_file="own.pem"), ca_file="corp.pem")) == EapTrust(ca_file="own.pem")


def test_tls_is_begun_when_it_is_wanted_and_trusts_as_the_settings_say(tmp_path: Path) -> None:
    login = EapLogin(settings(EapSettings(ca_file=str(tmp_path / "missing.pem"))))
    assert (login.tls.has_certificate, login.tls.certificate_name) == (False, "")
    with pytest.raises(ConfigError, match=r"missing\.pem"):
        login.tls.connect(TlsUse.PEAP)


def test_auto_tries_zeroes_once_when_the_call_ends_over_the_keys() -> None:
    login = EapLogin(settings(EapSettings()))
    bound_with_zeroes = [login.zero_hlak]
    for once in (True, False):
        assert login.try_otherwise(AuthMethod.EAP_MSCHAPV2, ABORTED) is once
        bound_with_zeroes.append(login.zero_hlak)
    assert bound_with_zeroes == [False, True, True]


@pytest.mark.parametrize(
    ("method", "error"),
    [
        (AuthMethod.MSCHAPV2, ABORTED),
        (AuthMethod.PEAP, ABORTED),
        (None, ABORTED),
        (AuthMethod.EAP_MSCHAPV2, NegotiationFailed("no address", protocol="ipcp")),
    ],
)
def test_auto_changes_nothing_for_other_reasons(
    method: AuthMethod | None, error: CallRejected | NegotiationFailed
) -> None:
    login = EapLogin(settings(EapSettings()))
    assert not login.try_otherwise(method, error)
    assert not login.zero_hlak


def test_what_has_worked_stays() -> None:
    login = EapLogin(settings(EapSettings()))
    login.worked()
    assert not login.try_otherwise(AuthMethod.EAP_MSCHAPV2, ABORTED)


def test_the_user_decides() -> None:
    assert EapLogin(settings(EapSettings(hlak="zero"))).zero_hlak
    keys = EapLogin(settings(EapSettings(hlak="keys")))
    assert not keys.try_otherwise(AuthMethod.EAP_MSCHAPV2, ABORTED)

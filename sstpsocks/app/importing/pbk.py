"""Phone books of Windows (rasphone.pbk): one section for each connection.

The numbers are those of the RAS interface (ras.h: VS_ for VpnStrategy) and of its library (AuthRestrictions).
Of the hundred keys of an entry most say what every entry says; only what differs from that is listed as not carried.
"""

from __future__ import annotations

from ...errors import ConfigError
from .ini import Section, parse_sections
from .profile import CERTIFICATE_WANTED, NO_COUNTERPART, NO_ROUTES, Draft, ImportedProfile

# VpnStrategy that never comes to SSTP. 0 tries everything, 2, 4, 6 and 8 begin with one and try the others.
_WITHOUT_SSTP = {"1": "PPTP", "3": "L2TP", "7": "IKEv2", "9": "GRE"}

_PAP, _CHAP, _MSCHAP, _EAP, _MSCHAPV2 = 0x08, 0x20, 0x40, 0x80, 0x200

_EAP_TYPES = {"13": "eap-tls", "25": "peap", "26": "eap-mschapv2"}

# Key, values that mean nothing, reason.
_OTHERS: tuple[tuple[str, tuple[str, ...], str], ...] = (
    ("AutoLogon", ("0",), "the password of the Windows log-in is not known here"),
    ("UseRasCredentials", ("0", "1"), NO_COUNTERPART),
    ("CustomAuthData", (), "settings of EAP in Windows's own form; see eap_ca_file, eap_server_name and eap_cert"),
    ("IpDnsAddress", ("0.0.0.0",), "the name servers that the VPN tells are used"),  # noqa: S104 - means none
    ("IpDns2Address", ("0.0.0.0",), "the name servers that the VPN tells are used"),  # noqa: S104
    ("IpWinsAddress", ("0.0.0.0",), NO_COUNTERPART),  # noqa: S104
    ("Ipv6Address", ("::",), "the address comes from the VPN"),
    ("NumRoutes", ("0",), NO_ROUTES),
    ("NumNrptRules", ("0",), "all names of the tunnel's users are resolved in the tunnel"),
    ("NumServers", ("0", "1"), "the further servers are in Windows's own form; add them to server"),
    ("IdleDisconnectSeconds", ("0", "-1"), "the tunnel stays until it is ended"),
    ("PrerequisiteEntry", (), "connect that one yourself before"),
    ("CustomDialDll", (), "it is a program for Windows"),
)


def read_phone_book(text: str) -> tuple[list[ImportedProfile], list[str]]:
    """Return the profiles, and lines about the entries that are none. Raises ConfigError when there is none at all."""
    profiles, skipped = [], []
    for section in parse_sections(text):
        # In capitals only: "Device" names the port's driver.
        kind = next((value for key, value in section.items if key == "DEVICE"), "vpn")
        strategy = section.get("VpnStrategy")
        if kind.lower() != "vpn":
            skipped.append(f"{section.name}: it dials a {kind}, not a VPN")
        elif strategy in _WITHOUT_SSTP:
            skipped.append(f"{section.name}: it is for {_WITHOUT_SSTP[strategy]} only")
        elif not section.get("PhoneNumber"):
            skipped.append(f"{section.name}: it has no PhoneNumber, which is the server")
        else:
            try:
                profiles.append(_profile(section))
            except ConfigError as error:
                skipped.append(str(error))
    if not profiles:
        raise ConfigError(f"the phone book has no entry for SSTP: {'; '.join(skipped[:5]) or 'it is empty'}")
    return profiles, skipped


def _profile(section: Section) -> ImportedProfile:
    draft = Draft(section.name)
    draft.server(tuple(dict.fromkeys(section.all("PhoneNumber"))))
    _methods(draft, section)
    identity = section.get("CustomAuthIdentity")
    draft.user(identity, None, "CustomAuthIdentity")
    if not identity:
        draft.drop("user and password", "Windows keeps them elsewhere; add user")
    suffix = section.get("IpDnsSuffix")
    draft.set("search_domain", tuple(part.strip() for part in suffix.split(",") if part.strip()), "IpDnsSuffix")
    if section.get("IpAssign") == "2":
        draft.set("address", section.get("IpAddress"), "IpAddress")
    if section.get("IpPrioritizeRemote") == "0":
        draft.drop("IpPrioritizeRemote", NO_ROUTES)
    for key, meaningless, reason in _OTHERS:
        value = section.get(key)
        if value and value not in meaningless:
            draft.drop(key, reason)
    return draft.finish()


def _methods(draft: Draft, section: Section) -> None:
    try:
        bits = int(section.get("AuthRestrictions") or "0")
    except ValueError:
        draft.drop("AuthRestrictions", "it is no number")
        return
    good, weak = [], []
    if bits & _EAP:
        number = section.get("CustomAuthKey")
        if method := _EAP_TYPES.get(number):
            good.append(method)
            if method == "eap-tls":
                draft.drop("client certificate", CERTIFICATE_WANTED)
        else:
            draft.drop(f"EAP method {number or 'without a number'}", "it is not supported")
    if bits & _MSCHAPV2:
        good.append("mschapv2")
    if bits & _MSCHAP:
        draft.drop("MS-CHAP", "it is broken and not supported")
    if bits & _CHAP:
        weak.append("chap")
    if bits & _PAP:
        weak.append("pap")
    draft.methods(good, weak)

"""Which format it is: by what the text says, since files are renamed and pasted."""

from __future__ import annotations

from dataclasses import dataclass

from ...errors import ConfigError
from . import azure, networkmanager, profile_xml
from .decoding import decode
from .link import SCHEME, read_link
from .pbk import read_phone_book
from .profile import ImportedProfile
from .routeros import is_routeros, read_routeros
from .xml_tree import parse_xml

HINT = (
    "There are: rasphone.pbk, ProfileXML, Azure's archive or VpnSettings.xml, keyfiles of NetworkManager, RouterOS's "
    "/interface sstp-client lines, sstp:// links"
)

MAX_PROFILES = 500


@dataclass(frozen=True, slots=True)
class Imported:
    """What was found."""

    profiles: list[ImportedProfile]
    skipped: tuple[str, ...] = ()
    """Lines about what is no profile for SSTP."""


def read_profiles(data: bytes) -> Imported:
    """Return the profiles in a file. Raises ConfigError and nothing else, whatever the file holds."""
    found = _read(data)
    if len(found.profiles) > MAX_PROFILES:
        raise ConfigError(f"the file has more than {MAX_PROFILES} profiles")
    return found


def _read(data: bytes) -> Imported:
    if data.startswith(b"PK\x03\x04"):
        data = azure.settings_of_archive(data)
    text = decode(data)
    start = text.lstrip()
    if start.startswith("<"):
        return Imported([_xml(start)])
    if start.lower().startswith(SCHEME):
        return Imported([read_link(line) for line in start.splitlines() if line.lower().startswith(SCHEME)])
    if is_routeros(text):
        return Imported(read_routeros(text))
    if start.startswith(("[", "#", ";")):
        if "service-type" in text or "\n[vpn]" in f"\n{start}":
            return Imported([networkmanager.read_keyfile(start)])
        profiles, skipped = read_phone_book(start)
        return Imported(profiles, tuple(skipped))
    raise ConfigError("this is no profile of a kind that is known", hint=HINT)


def _xml(text: str) -> ImportedProfile:
    root = parse_xml(text)
    name = root.name.lower()
    if name == azure.OPENVPN_ROOT:
        raise ConfigError("the profile is for the Azure VPN Client, which speaks OpenVPN, not SSTP")
    if name == azure.ROOT and root.child("vpnserver") is not None:
        return azure.read_azure(root)
    if name == profile_xml.ROOT:
        return profile_xml.read_profile_xml(root)
    raise ConfigError(f"the XML holds <{root.name[:50]}>, not a VPN profile", hint=HINT)

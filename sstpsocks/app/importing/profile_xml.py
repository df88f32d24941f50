"""ProfileXML of Windows's VPNv2 configuration service provider (Intune, MDM, Always On VPN)."""

from __future__ import annotations

from ...errors import ConfigError
from .eap_xml import read_eap
from .profile import NO_COUNTERPART, NO_ROUTES, Draft, ImportedProfile
from .xml_tree import Element

ROOT = "vpnprofile"

_WITH_SSTP = ("sstp", "automatic")
_AUTHENTICATION = ("authentication", "servers", "nativeprotocoltype", "protocollist")

_REASONS = {
    "route": NO_ROUTES,
    "routingpolicytype": NO_ROUTES,
    "disableclassbaseddefaultroute": NO_ROUTES,
    "trafficfilter": NO_ROUTES,
    "apptrigger": "the tunnel is there while sstpsocks runs",
    "alwayson": "the tunnel is there while sstpsocks runs",
    "trustednetworkdetection": "the tunnel is there while sstpsocks runs",
    "domainnameinformation": "names are resolved by the name servers that the VPN tells",
    "domainnameinformationlist": "names are resolved by the name servers that the VPN tells",
    "proxy": "it is for programs inside the tunnel, not for the way to the server",
    "remembercredentials": "see password_file, password_command and keyring",
}


def read_profile_xml(root: Element) -> ImportedProfile:
    """Return the profile. Raises ConfigError, also for a profile that is not for SSTP."""
    native = root.child("nativeprofile")
    if native is None:
        raise ConfigError("the ProfileXML has no NativeProfile: it is for an app of a VPN's maker")
    protocols = [native.value("nativeprotocoltype")]
    for element in native.all("nativeprotocollist"):
        protocols += [kind.text.strip() for kind in element.all("type")]
    named = [protocol for protocol in protocols if protocol and protocol.lower() != "protocollist"]
    if named and not any(protocol.lower() in _WITH_SSTP for protocol in named):
        raise ConfigError(
            f"the profile is for {', '.join(named)[:100]}, not for SSTP",
            hint="If the server has SSTP, too: sstpsocks SERVER",
        )
    draft = Draft(root.value("profilename") or "windows")
    # "server.example.com;friendly name", several of them with commas between.
    servers = (entry.partition(";")[0].strip() for entry in native.value("servers").split(","))
    draft.server(tuple(dict.fromkeys(filter(None, servers))))
    _authentication(draft, native)
    suffixes = (part.strip().lstrip(".") for part in root.value("dnssuffix").split(","))
    draft.set("search_domain", tuple(filter(None, suffixes)), "DnsSuffix")
    for element in (*native.children, *root.children):
        name = element.name.lower()
        if name in (*_AUTHENTICATION, "nativeprofile", "profilename", "dnssuffix"):
            continue
        if element.text.strip().lower() != "false":
            draft.drop(element.name, _REASONS.get(name, NO_COUNTERPART))
    draft.drop("user and password", "the profile has none; add user")
    return draft.finish()


def _authentication(draft: Draft, native: Element) -> None:
    authentication = native.child("authentication")
    if authentication is None:
        return
    user_method = authentication.value("usermethod").lower()
    if authentication.value("machinemethod"):
        draft.drop("MachineMethod", "only a user logs in here")
    if user_method == "mschapv2":
        draft.methods(["mschapv2"], [])
    elif user_method == "eap":
        configuration = authentication.child("eap", "configuration")
        method = read_eap(draft, configuration) if configuration is not None else None
        if method is not None:
            draft.methods([method], [])
    elif user_method:
        draft.drop(f"UserMethod {user_method}", "it is not supported")

"""EapHostConfig: how Windows writes an EAP method and its settings, inside ProfileXML.

The numbers are those of IANA's registry of EAP method types.
"""

from __future__ import annotations

from .profile import CERTIFICATE_WANTED, Draft
from .xml_tree import Element

_PEAP, _TLS, _MSCHAPV2 = "25", "13", "26"
_OUTER = {_TLS: "eap-tls", _PEAP: "peap", _MSCHAPV2: "eap-mschapv2"}


def read_eap(draft: Draft, configuration: Element) -> str | None:
    """Take over what can be, and return the method, None when there is none that we have."""
    types = [element.text.strip() for element in configuration.all("type") if element.text.strip()]
    if not types or types[0] not in _OUTER:
        draft.drop(f"EAP method {types[0] if types else 'without a number'}", "it is not supported")
        return None
    method = _OUTER[types[0]]
    if _TLS in types:
        draft.drop("client certificate", CERTIFICATE_WANTED)
    if types[0] == _MSCHAPV2:
        return method
    names = [name.strip() for element in configuration.all("servernames") for name in element.text.split(";")]
    for name in dict.fromkeys(filter(None, names)):
        # Windows takes regular expressions there.
        if any(mark in name for mark in "*^$()|[]?+\\"):
            draft.drop(f"ServerNames {name}", "it is a pattern; name the servers in eap_server_name")
            names = []
    draft.set("eap_server_name", tuple(dict.fromkeys(filter(None, names))), "ServerNames")
    if any(element.text.strip() for element in configuration.all("trustedrootca")):
        draft.drop(
            "TrustedRootCA", "it is the fingerprint of a certificate in Windows's store; name a file in eap_ca_file"
        )
    if any(element.text.strip().lower() == "true" for element in configuration.all("enableidentityprivacy")):
        identity = next((element.text.strip() for element in configuration.all("anonymoususername")), "")
        draft.set("outer_identity", identity or "anonymous", "AnonymousUserName")
    return method

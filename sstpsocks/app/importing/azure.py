"""The profile that Azure's portal offers for a point-to-site gateway: VpnSettings.xml, alone or in its archive."""

from __future__ import annotations

import io
import zipfile
import zlib

from ...errors import ConfigError
from .decoding import MAX_PROFILE
from .profile import CERTIFICATE_WANTED, NO_COUNTERPART, NO_ROUTES, Draft, ImportedProfile
from .xml_tree import Element

ROOT = "vpnprofile"
OPENVPN_ROOT = "azvpnprofile"
SETTINGS_FILE = "vpnsettings.xml"
MAX_MEMBERS = 1000

_METHODS = {"eaptls": "eap-tls", "eapmschapv2": "eap-mschapv2", "peap": "peap"}

_REASONS = {
    "routes": NO_ROUTES,
    "splittunnel": NO_ROUTES,
    "customdnsservers": "the name servers that the VPN tells are used",
    "cacert": "it is the authority of the users' certificates; the gateway's own is checked against the system's roots",
    "servercertrootcn": "any of the system's roots is accepted; ca_file narrows that",
    "servercertissuercn": "any of the system's roots is accepted; ca_file narrows that",
    "radiusserverrootcertificate": "save it as PEM and name it in eap_ca_file",
    "radiusserverrootcertificates": "save them as PEM and name them in eap_ca_file",
}


def settings_of_archive(data: bytes) -> bytes:
    """Return VpnSettings.xml of the downloaded archive, unpacked within bounds. Raises ConfigError."""
    try:
        with zipfile.ZipFile(io.BytesIO(data)) as archive:
            members = archive.infolist()
            if len(members) > MAX_MEMBERS:
                raise ConfigError(f"the archive has more than {MAX_MEMBERS} files")
            # Windows's own archivers also write backslashes.
            found = [item for item in members if item.filename.replace("\\", "/").lower().endswith(SETTINGS_FILE)]
            if not found:
                raise ConfigError("the archive has no VpnSettings.xml, which Azure puts into the folder Generic")
            member = found[0]
            if member.compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                raise ConfigError("the archive is packed in a way that is not supported")
            # The size in the directory may be a lie: what counts is what comes out.
            with archive.open(member) as stream:
                content = stream.read(MAX_PROFILE + 1)
    except (zipfile.BadZipFile, zlib.error, EOFError, OSError, ValueError, RuntimeError, NotImplementedError):
        raise ConfigError("the archive is damaged or encrypted") from None
    if len(content) > MAX_PROFILE:
        raise ConfigError("VpnSettings.xml in the archive is too large")
    return content


def read_azure(root: Element) -> ImportedProfile:
    """Return the profile of VpnSettings.xml. Raises ConfigError, also for a gateway without SSTP."""
    protocols = root.value("vpntype")
    if protocols and "sstp" not in protocols.lower():
        raise ConfigError(
            f"the gateway is set up for {protocols[:100]}, not for SSTP",
            hint="Its administrator chooses the tunnel type in the point-to-site configuration",
        )
    draft = Draft("azure")
    draft.server(root.value("vpnserver"))
    kind = root.value("auth").lower()
    if method := _METHODS.get(kind):
        draft.methods([method], [])
        if method == "eap-tls":
            draft.drop("client certificate", CERTIFICATE_WANTED)
        else:
            draft.drop("user and password", "the profile has none; add user")
    elif kind:
        draft.drop(f"Auth {kind}", "it is not supported")
    for element in root.children:
        name = element.name.lower()
        if name not in ("vpnserver", "vpntype", "auth") and (element.text.strip() or element.children):
            draft.drop(element.name, _REASONS.get(name, NO_COUNTERPART))
    return draft.finish()

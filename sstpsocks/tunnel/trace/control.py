"""An SSTP packet in one line: control messages and what they negotiate by name, with the reasons they give.

What logs in is named and never shown: of PAP, CHAP and EAP there is the kind of the packet, its size, and the error
number of a refusal; of the crypto binding the hash. So no line holds a password, a name of a user, a challenge or a
key. Texts that the server means for people (the reason of a Terminate-Request) are shown, cut and on one line.
"""

from __future__ import annotations

import re
from enum import IntEnum
from ipaddress import IPv4Address

from ...errors import RemoteProtocolError
from ...ppp.auth_packet import ChapCode, PapCode
from ...ppp.eap.packet import EapCode, EapPacket, EapType, describe_type
from ...ppp.ipcp import IpcpOption
from ...ppp.ipv6cp import Ipv6cpOption
from ...ppp.lcp import LcpOption
from ...ppp.packet import (
    PROTOCOL_CCP,
    PROTOCOL_CHAP,
    PROTOCOL_EAP,
    PROTOCOL_ECP,
    PROTOCOL_IP,
    PROTOCOL_IPCP,
    PROTOCOL_IPV6,
    PROTOCOL_IPV6CP,
    PROTOCOL_LCP,
    PROTOCOL_PAP,
    Code,
    ControlPacket,
    Option,
    parse_frame,
    parse_options,
)
from ...ppp.texts import terminate_text
from ...sstp import packet as sstp
from ...sstp.explain import describe_status
from ...sstp.packet import AttributeId, HashProtocol, MessageType
from .packets import describe_packet, name_of

_PROTOCOLS = {
    PROTOCOL_LCP: "LCP",
    PROTOCOL_IPCP: "IPCP",
    PROTOCOL_IPV6CP: "IPV6CP",
    PROTOCOL_CCP: "CCP",
    PROTOCOL_ECP: "ECP",
    PROTOCOL_PAP: "PAP",
    PROTOCOL_CHAP: "CHAP",
    PROTOCOL_EAP: "EAP",
}
_CHAP_ALGORITHMS = {5: "CHAP-MD5", 0x80: "MS-CHAPv1", 0x81: "MS-CHAPv2"}
_OPTIONS: dict[int, type[IntEnum]] = {
    PROTOCOL_LCP: LcpOption,
    PROTOCOL_IPCP: IpcpOption,
    PROTOCOL_IPV6CP: Ipv6cpOption,
}
_CONFIGURE = frozenset({Code.CONFIGURE_REQUEST, Code.CONFIGURE_ACK, Code.CONFIGURE_NAK, Code.CONFIGURE_REJECT})
_LONGEST_TEXT = 120
# RFC 2759 section 6: what a Failure of MS-CHAPv2 begins with.
_CHAP_ERROR = re.compile(rb"E=(\d{1,10})\b")


def describe_control(packet: bytes) -> str:
    """Return the line for one SSTP packet, for whatever octets; raises nothing."""
    try:
        if len(packet) >= sstp.HEADER_SIZE and not sstp.is_control(packet):
            return _ppp(packet[sstp.HEADER_SIZE :])
        return _sstp(packet)
    except RemoteProtocolError as error:
        return f"malformed, {len(packet)} octets: {error}"


# SSTP


def _sstp(packet: bytes) -> str:
    control = sstp.ControlPacket.parse(packet)
    kind = control.message_type
    name = name_of(MessageType, kind) or f"message type {kind}"
    words = [f"SSTP {name}"]
    if kind in (MessageType.CALL_ABORT, MessageType.CALL_DISCONNECT):
        words.append(describe_status(*sstp.end_status(packet)))
    else:
        words += [_attribute(attribute) for attribute in control.attributes]
    return " ".join(word for word in words if word)


def _attribute(attribute: sstp.Attribute) -> str:
    value = attribute.value
    match attribute.attribute_id:
        case AttributeId.ENCAPSULATED_PROTOCOL_ID:
            protocol = sstp.EncapsulatedProtocolId.parse(value).protocol
            return "protocol PPP" if protocol == sstp.PROTOCOL_PPP else f"protocol {protocol}"
        case AttributeId.STATUS_INFO:
            info = sstp.StatusInfo.parse(value)
            return describe_status(info.attribute_id, info.status)
        case AttributeId.CRYPTO_BINDING:
            return f"crypto binding {_hashes(sstp.CryptoBinding.parse(value).hash_protocol)}"
        case AttributeId.CRYPTO_BINDING_REQ:
            return f"crypto binding wanted {_hashes(sstp.CryptoBindingRequest.parse(value).hashes)}"
        case number:
            return f"attribute {number} ({len(value)} octets)"


def _hashes(hashes: int) -> str:
    names = [name for bit, name in ((HashProtocol.SHA1, "SHA-1"), (HashProtocol.SHA256, "SHA-256")) if hashes & bit]
    return "or ".join(f"{name} " for name in names).strip() or f"hash {hashes}"


# PPP


def _ppp(frame: bytes) -> str:
    protocol, offset = parse_frame(frame)
    information = frame[offset:]
    if protocol in (PROTOCOL_IP, PROTOCOL_IPV6):
        return f"{describe_packet(information)} (before the link was open)"
    name = f"PPP {_PROTOCOLS.get(protocol, f'protocol 0x{protocol:04x}')}"
    match protocol:
        case _ if protocol == PROTOCOL_PAP:
            detail = _named(ControlPacket.parse(information), PapCode)
        case _ if protocol == PROTOCOL_CHAP:
            detail = _chap(ControlPacket.parse(information))
        case _ if protocol == PROTOCOL_EAP:
            detail = _eap(EapPacket.parse(information))
        case _ if protocol in _PROTOCOLS:
            detail = _control(protocol, ControlPacket.parse(information))
        case _:
            detail = f"{len(information)} octets"
    return f"{name} {detail}"


def _named(packet: ControlPacket, codes: type[IntEnum]) -> str:
    """Name a packet whose data must not be shown."""
    name = _title(codes, packet.code)
    return f"{name} id {packet.identifier} ({len(packet.data)} octets, not shown)"


def _chap(packet: ControlPacket) -> str:
    text = _named(packet, ChapCode)
    if packet.code == ChapCode.FAILURE and (found := _CHAP_ERROR.match(packet.data)):
        text += f" error {found[1].decode()}"
    return text


def _eap(packet: EapPacket) -> str:
    name = _title(EapCode, packet.code)
    if packet.kind is None:
        return f"{name} id {packet.identifier}"
    number = packet.kind.number
    plain = not packet.kind.vendor and number in (EapType.IDENTITY, EapType.NOTIFICATION, EapType.NAK)
    kind = _title(EapType, number) if plain else describe_type(packet.kind)
    return f"{name} id {packet.identifier} {kind} ({len(packet.data)} octets, not shown)"


def _control(protocol: int, packet: ControlPacket) -> str:
    name = _title(Code, packet.code)
    words = [f"{name} id {packet.identifier}"]
    if packet.code in _CONFIGURE:
        words += [_option(protocol, option) for option in parse_options(packet.data)]
    elif packet.code == Code.TERMINATE_REQUEST:
        words.append(terminate_text(packet.data).strip()[:_LONGEST_TEXT])
    elif packet.code == Code.PROTOCOL_REJECT and len(packet.data) >= 2:
        rejected = int.from_bytes(packet.data[:2], "big")
        words.append(_PROTOCOLS.get(rejected, f"protocol 0x{rejected:04x}"))
    elif packet.code == Code.CODE_REJECT and packet.data:
        words.append(f"code {packet.data[0]}")
    return " ".join(word for word in words if word)


def _option(protocol: int, option: Option) -> str:
    names = _OPTIONS.get(protocol)
    known = name_of(names, option.type) if names is not None else None
    if known is None:
        return f"option {option.type} ({len(option.value)} octets)"
    name = known.lower().replace("_", "-")
    value = option.value
    if protocol == PROTOCOL_LCP and option.type == LcpOption.AUTHENTICATION:
        return f"{name} {_authentication(value)}"
    if protocol == PROTOCOL_LCP and option.type == LcpOption.MRU and len(value) == 2:
        return f"{name} {int.from_bytes(value, 'big')}"
    if protocol == PROTOCOL_IPCP and len(value) == 4:
        return f"{name} {IPv4Address(value)}"
    if protocol == PROTOCOL_IPV6CP:
        return f"{name} {value.hex(':', 2)}"
    return name


def _authentication(value: bytes) -> str:
    protocol = int.from_bytes(value[:2], "big")
    if protocol == PROTOCOL_CHAP and len(value) == 3:
        return _CHAP_ALGORITHMS.get(value[2], f"CHAP algorithm {value[2]}")
    return _PROTOCOLS.get(protocol, f"protocol 0x{protocol:04x}")


def _title(codes: type[IntEnum], code: int) -> str:
    """Return the name of a code as the RFC writes it: "Configure-Request"."""
    name = name_of(codes, code)
    return f"code {code}" if name is None else "-".join(word.capitalize() for word in name.split("_"))

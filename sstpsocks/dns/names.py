"""Host names as the DNS wants them: ASCII, lower case, without the final dot."""

from __future__ import annotations

import re

import dns.exception
import dns.name

from ..errors import NameNotFound

MAX_NAME = 253  # RFC 1035 2.3.4: 255 octets on the wire, less the first length and the root
MAX_LABEL = 63  # RFC 1035 2.3.4
_MAX_TEXT = 1024  # longer than any host name in any script; keeps the Unicode mapping cheap

# Letters, digits and hyphen (RFC 952, RFC 1123 2.1) and the underscore that Windows networks use.
_LABEL = re.compile(r"[a-z0-9_-]{1,63}", re.ASCII)
# RFC 3490 3.1: "the following characters MUST be recognized as dots".
_DOTS = re.compile("[.\u3002\uff0e\uff61]")


def normalise_name(text: str) -> str:
    """Return a host name in the form that is asked and compared: ASCII (RFC 5891, UTS 46), lower case, no final dot.

    Raises NameNotFound for what cannot be a host name, so that it is never asked.
    """
    if len(text) > _MAX_TEXT:
        raise NameNotFound("that is no host name: it is too long")
    labels = _DOTS.split(text)
    if len(labels) > 1 and not labels[-1]:
        labels.pop()
    name = ".".join(_normalise_label(label, text) for label in labels)
    if len(name) > MAX_NAME:
        raise NameNotFound(f"{text!r} is no host name: it is longer than {MAX_NAME} characters")
    return name


def _normalise_label(label: str, text: str) -> str:
    encoded = label.lower()
    if not label.isascii():
        try:
            encoded = dns.name.IDNA_2008_UTS_46.encode(label).decode("ascii").lower()
        except (dns.exception.DNSException, UnicodeError) as error:
            raise NameNotFound(f"{text!r} is no host name: {error}") from None
    # Checked after the mapping, which can produce dots, digits and ASCII letters from other characters.
    if _LABEL.fullmatch(encoded) is None:
        raise NameNotFound(f"{text!r} is no host name")
    return encoded


def is_localhost(name: str) -> bool:
    """Whether a normalised name is ``localhost`` or below it (RFC 6761 6.3), which never leaves this machine."""
    return name == "localhost" or name.endswith(".localhost")

"""From bytes to text: bounded, in the encodings that Windows and Linux write."""

from __future__ import annotations

import codecs

from ...errors import ConfigError

MAX_PROFILE = 1 << 20
"""Bytes of one profile; a phone book with a hundred entries has about 300 kB."""
MAX_ARCHIVE = 64 << 20
"""Bytes of a downloaded archive: Azure packs its installers into it."""

# The order matters: UTF-32 begins as UTF-16 does.
_MARKS = (
    (codecs.BOM_UTF8, "utf-8"),
    (codecs.BOM_UTF32_LE, "utf-32-le"),
    (codecs.BOM_UTF16_LE, "utf-16-le"),
    (codecs.BOM_UTF16_BE, "utf-16-be"),
)


def decode(data: bytes) -> str:
    """Return the text of UTF-8 or UTF-16, with or without a byte order mark. Raises ConfigError."""
    if len(data) > MAX_PROFILE:
        raise ConfigError(f"the profile is larger than {MAX_PROFILE} bytes")
    encoding = "utf-8"
    for mark, name in _MARKS:
        if data.startswith(mark):
            data, encoding = data[len(mark) :], name
            break
    else:
        # All that begins a profile is ASCII, every second byte of which is 0 in UTF-16.
        if data[1:2] == b"\0":
            encoding = "utf-16-le"
        elif data[:1] == b"\0":
            encoding = "utf-16-be"
    try:
        text = data.decode(encoding)
    except UnicodeDecodeError:
        raise ConfigError(f"the profile is not {encoding.upper()} text") from None
    if "\0" in text:
        raise ConfigError("the profile is not text: it holds zero bytes")
    return text

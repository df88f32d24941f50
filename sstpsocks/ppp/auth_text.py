"""Text of the authentication protocols: what the user typed as bytes, what the peer wrote as one safe line."""

from __future__ import annotations

from ..errors import ConfigError

MAX_NAME_SIZE = 255  # a length field of one byte in PAP (RFC 1334 section 2.2.1); RFC 2759 section 4 allows 256
MAX_TEXT_LENGTH = 200
"""Characters of a peer's text that are shown; a terminal or log line needs no more."""

CREDENTIALS_HINT = "Check the user name and the password."
_ENCODING_HINT = "Check the character encoding of the terminal or file that it comes from."


def encode_name(username: str) -> bytes:
    """Return the user name in UTF-8, not normalised. Raises ConfigError when it cannot be sent."""
    try:
        encoded = username.encode("utf-8")
    except UnicodeEncodeError:
        # "from None" here and below: the cause would carry the whole text, which may be the password.
        raise ConfigError("the user name holds characters that are not text", hint=_ENCODING_HINT) from None
    if len(encoded) > MAX_NAME_SIZE:
        raise ConfigError(f"the user name takes {len(encoded)} bytes, more than the {MAX_NAME_SIZE} that PPP can carry")
    return encoded


def encode_password(password: str) -> bytes:
    """Return the password in UTF-8, not normalised (PAP, CHAP-MD5). Raises ConfigError when it cannot be encoded."""
    return _encode_password(password, "utf-8")


def encode_password_utf16(password: str) -> bytes:
    """Return the password in UTF-16LE, not normalised (MS-CHAPv2). Raises ConfigError when it cannot be encoded."""
    return _encode_password(password, "utf-16-le")


def _encode_password(password: str, encoding: str) -> bytes:
    try:
        return password.encode(encoding)
    except UnicodeEncodeError:
        raise ConfigError("the password holds characters that are not text", hint=_ENCODING_HINT) from None


def clean_text(data: bytes | str) -> str:
    """Return the peer's text as one line that is safe to show.

    Control characters, line ends and invisible format characters (which could forge other lines, colours or the
    direction of writing) become spaces; runs of spaces are joined; more than MAX_TEXT_LENGTH characters are cut.
    """
    text = data if isinstance(data, str) else data.decode("utf-8", "replace")
    # Cut before the work: the text may be as long as a PPP frame. Four times, because spaces are joined.
    shown = "".join(character if character.isprintable() else " " for character in text[: MAX_TEXT_LENGTH * 4])
    line = " ".join(shown.split())
    return line if len(line) <= MAX_TEXT_LENGTH else line[: MAX_TEXT_LENGTH - 1] + "…"


def with_server_text(message: str, text: str) -> str:
    """Append the server's cleaned ``text``, if any, to our own message, marked as the server's."""
    return f"{message}; the server says: {text}" if text else message

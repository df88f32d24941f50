"""Texts for a terminal or a log: one line, and nothing in them that steers a terminal."""

from __future__ import annotations


def one_line(text: str) -> str:
    """Return the text on one line with every control character replaced.

    Servers' texts end up in messages; an escape sequence in one could rewrite what the user sees.
    """
    return "".join(character if character.isprintable() else " " for character in text).strip()


def sentence(text: str) -> str:
    """Return the text with something at its end that ends a sentence."""
    return text if text.endswith((".", "!", "?", ":")) or not text else f"{text}."


def message_and_hint(message: str, hint: str) -> str:
    """Return "message. Hint" on one line."""
    message, hint = one_line(message), one_line(hint)
    if not hint:
        return message
    # Hints begin with a small letter where they are written as a clause; a command keeps its own spelling.
    if not hint.startswith("sstpsocks"):
        hint = hint[0].upper() + hint[1:]
    return f"{sentence(message)} {hint}"

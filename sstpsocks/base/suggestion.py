"""What somebody probably meant who wrote a word that is none of those that are known."""

from __future__ import annotations

from collections.abc import Iterable

_CLOSE = 0.6
"""From 0 to 1, as difflib measures: one letter missing, doubled or swapped in a short word is closer than this."""


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """Return 'Did you mean "known"?', empty when nothing is close."""
    import difflib  # loaded by those only who made a mistake

    close = difflib.get_close_matches(word, list(known), n=1, cutoff=_CLOSE)
    return f'Did you mean "{close[0]}"?' if close else ""

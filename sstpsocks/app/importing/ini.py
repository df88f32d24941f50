"""Sections, keys and values, as in phone books and keyfiles: repeated ones are kept, in their order."""

from __future__ import annotations

from dataclasses import dataclass, field

from ...errors import ConfigError

MAX_LINES = 50_000


@dataclass(slots=True)
class Section:
    """What stands below one [name]."""

    name: str
    items: list[tuple[str, str]] = field(default_factory=list, repr=False)

    def get(self, key: str) -> str:
        """Return the first value of the key, in whatever case it is written; empty when there is none."""
        return next((value for name, value in self.items if name.lower() == key.lower()), "")

    def all(self, key: str) -> list[str]:
        """Return every value of the key that is not empty."""
        return [value for name, value in self.items if name.lower() == key.lower() and value]


def parse_sections(text: str) -> list[Section]:
    """Return the sections. Raises ConfigError for a line that is neither section, nor key, nor comment."""
    sections: list[Section] = []
    lines = text.splitlines()
    if len(lines) > MAX_LINES:
        raise ConfigError(f"the profile has more than {MAX_LINES} lines")
    for number, raw in enumerate(lines, 1):
        line = raw.strip()
        if not line or line[0] in "#;":
            continue
        key, equals, value = line.partition("=")
        if line.startswith("[") and line.endswith("]"):
            sections.append(Section(line[1:-1]))
        elif equals and sections:
            sections[-1].items.append((key.strip(), value.strip()))
        else:
            raise ConfigError(f"line {number} is neither [section] nor key=value", line=number)
    return sections

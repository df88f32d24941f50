"""XML that somebody else wrote, read without what makes XML dangerous.

A document type declaration is refused, and with it all entities that expand to more or name a file. Depth and number of
elements are bounded. Namespaces are left out of the names: the profiles' writers disagree about them.
"""

from __future__ import annotations

from dataclasses import dataclass, field
from xml.parsers import expat

from ...errors import ConfigError

MAX_DEPTH = 64
MAX_ELEMENTS = 20_000


@dataclass(slots=True)
class Element:
    """An element; its name without namespace."""

    name: str
    text: str = ""
    children: list[Element] = field(default_factory=list)

    def child(self, *path: str) -> Element | None:
        """Return the first element at the path, by names in lower case."""
        found: Element | None = self
        for name in path:
            if found is None:
                return None
            found = next((element for element in found.children if element.name.lower() == name), None)
        return found

    def value(self, *path: str) -> str:
        """Return the text of the first element at the path, empty when there is none."""
        found = self.child(*path)
        return found.text.strip() if found is not None else ""

    def all(self, name: str) -> list[Element]:
        """Return every element of that name below this one, in the order of the document."""
        found: list[Element] = []
        waiting = list(reversed(self.children))
        while waiting:
            element = waiting.pop()
            if element.name.lower() == name:
                found.append(element)
            waiting.extend(reversed(element.children))
        return found


class _Builder:
    def __init__(self) -> None:
        self.root = Element("")
        self._open = [self.root]
        self._count = 0

    def start(self, name: str, _attributes: dict[str, str]) -> None:
        self._count += 1
        if len(self._open) > MAX_DEPTH or self._count > MAX_ELEMENTS:
            raise ConfigError("the XML has too many elements or nests too deep")
        element = Element(name.rpartition(":")[2])
        self._open[-1].children.append(element)
        self._open.append(element)

    def end(self, _name: str) -> None:
        self._open.pop()

    def text(self, data: str) -> None:
        self._open[-1].text += data

    def doctype(self, _name: str, _system: str | None, _public: str | None, _internal: bool) -> None:
        raise ConfigError("the XML declares a document type, which a profile has no use for")


def parse_xml(text: str) -> Element:
    """Return the document's element. Raises ConfigError."""
    builder = _Builder()
    # The text is decoded already, whatever the declaration says about its encoding.
    parser = expat.ParserCreate("utf-8")
    parser.buffer_text = True
    parser.StartElementHandler = builder.start
    parser.EndElementHandler = builder.end
    parser.CharacterDataHandler = builder.text
    parser.StartDoctypeDeclHandler = builder.doctype
    try:
        parser.Parse(text.encode(), True)
    except expat.ExpatError as error:
        reason = expat.ErrorString(error.code)
        raise ConfigError(f"this is not XML: {reason}, line {error.lineno}", line=error.lineno) from None
    except UnicodeEncodeError:
        raise ConfigError("this is not XML: it holds half a character") from None
    return builder.root.children[0]

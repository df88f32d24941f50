"""What a fault did: one row of docs/faults.md."""

from __future__ import annotations

import re
from dataclasses import dataclass, field


@dataclass
class Result:
    """What was seen of one fault with one server."""

    fault: str
    server: str
    lines: list[str] = field(default_factory=list)
    """What the program printed from the fault on."""
    programs: str = ""
    """What programs met while it lasted."""
    recovery: float | None = None
    """Seconds from the end of the fault until traffic passed again; None when it ended the program, or never did."""
    limit: float | None = None
    survived: str = ""
    left: str = ""
    problems: list[str] = field(default_factory=list)
    """What is not as promised; empty when all is well."""

    def row(self) -> str:
        """Return it as a row of a Markdown table."""
        if self.recovery is not None:
            took = f"{self.recovery:.1f} s"
        else:
            took = "-"
        verdict = "; ".join(self.problems) or "as promised"
        seen = "<br>".join(f"`{_cell(line)}`" for line in _shorten(self.lines)) or "nothing"
        cells = [self.fault, self.server, seen, _cell(self.programs), took, _cell(self.survived), _cell(self.left)]
        return "| " + " | ".join([*cells, _cell(verdict)]) + " |"


HEAD = """\
| fault | server | what the program prints | what local programs meet | back after | flows | left over | verdict |
| --- | --- | --- | --- | --- | --- | --- | --- |
"""


def _cell(text: str) -> str:
    return text.replace("|", "\\|").replace("`", "'")


def _shorten(lines: list[str]) -> list[str]:
    """Put lines that differ only in numbers together, without the time of day."""
    alike: dict[str, list[str]] = {}
    for timed in lines:
        line = re.sub(r"^\d{4}-\S+ +", "", timed)
        alike.setdefault(re.sub(r"\d+(\.\d+)?", "N", line), []).append(line)
    return [same[0] + (f" (and {len(same) - 1} more like it)" if len(same) > 1 else "") for same in alike.values()]

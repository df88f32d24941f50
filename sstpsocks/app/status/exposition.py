"""The Prometheus text format, version 0.0.4: families of samples, each with HELP and TYPE."""

from __future__ import annotations

import math
from collections.abc import Mapping

from ...base.histogram import Histogram

CONTENT_TYPE = "text/plain; version=0.0.4; charset=utf-8"

Labels = Mapping[str, str]


class Exposition:
    """Collects families in the order in which they are begun, and writes them."""

    def __init__(self) -> None:
        self._families: dict[str, list[str]] = {}

    def gauge(self, name: str, explanation: str, value: float, labels: Labels | None = None) -> None:
        """Add what goes up and down."""
        self._begin(name, "gauge", explanation).append(_sample(name, labels or {}, value))

    def counter(self, name: str, explanation: str, value: float, labels: Labels | None = None) -> None:
        """Add what only grows; the name ends in _total."""
        self._begin(name, "counter", explanation).append(_sample(name, labels or {}, value))

    def histogram(self, name: str, explanation: str, histogram: Histogram, labels: Labels | None = None) -> None:
        """Add a distribution."""
        lines, labels = self._begin(name, "histogram", explanation), labels or {}
        for bound, count in zip((*histogram.bounds, math.inf), histogram.cumulative(), strict=True):
            lines.append(_sample(f"{name}_bucket", {**labels, "le": _number(bound)}, count))
        lines.append(_sample(f"{name}_sum", labels, histogram.total))
        lines.append(_sample(f"{name}_count", labels, histogram.count))

    def to_text(self) -> str:
        """Return everything, as a scrape is answered."""
        return "".join(f"{line}\n" for lines in self._families.values() for line in lines)

    def _begin(self, name: str, kind: str, explanation: str) -> list[str]:
        # All samples of a family stand together, whatever the order in which they are added.
        head = [f"# HELP {name} {_escape(explanation)}", f"# TYPE {name} {kind}"]
        return self._families.setdefault(name, head)


def _sample(name: str, labels: Labels, value: float) -> str:
    inside = ",".join(f'{key}="{_escape_label(text)}"' for key, text in labels.items())
    return f"{name}{{{inside}}} {_number(value)}" if inside else f"{name} {_number(value)}"


def _number(value: float) -> str:
    if value == math.inf:
        return "+Inf"
    # A Unix time has ten digits before the point: nothing is rounded but what a float cannot hold anyway.
    return str(value) if isinstance(value, int) else repr(round(value, 9))


def _escape(text: str) -> str:
    return text.replace("\\", r"\\").replace("\n", r"\n")


def _escape_label(text: str) -> str:
    return _escape(text).replace('"', r"\"")

"""Why a wanted figure was missed, by the name of the target: found by hand, with a profile, at the time of the results.

A reason is shown only while the figure is missed (targets.py).
"""

from __future__ import annotations

WHY: dict[str, str] = {}

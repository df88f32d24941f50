"""The campaign needs network namespaces, signals and /proc: it is Linux's."""

from __future__ import annotations

import sys

collect_ignore_glob = [] if sys.platform == "linux" else ["*"]

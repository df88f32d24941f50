"""Linux's signals by number: other platforms' type stubs do not have their names, and are checked, too."""

from __future__ import annotations

import signal

KILL, USR1, USR2, CONT, STOP = map(signal.Signals, (9, 10, 12, 18, 19))

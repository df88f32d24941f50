"""Why a wanted figure was missed, by the name of the target: found by hand, with a profile, at the time of the results.

A reason is shown only while the figure is missed (targets.py).
"""

from __future__ import annotations

_LIMIT = (
    "pyOpenSSL alone takes 0.23 ms for a megabyte on this processor (vector AES); where the share was set it took 1.2."
)
_SINGLE = "the limit is 1.2 ms here, 4.2 where the share was set."

WHY: dict[str, str] = {
    "share-down": (
        f"{_LIMIT} Interpreted 6.2 ms: 71 % of them are the interpreter's, 18 % the kernel's, 6 % libc's, 3 % TLS."
        " Compiled 1.4 ms, of which the kernel's part for two sockets is 0.4: with nothing but that and TLS the share"
        " would be 37 %. Tried: reads of 112 KiB in place of 32 in the compiled build, which halved its cost. What is"
        " left is what a turn costs around the packets (trio's loop, the calls into OpenSSL by cffi, the driver), which"
        " is still interpreted; it would take a compiled driver."
    ),
    "share-up": (
        f"{_LIMIT} Interpreted 8 ms, profile as for the download: 73 % interpreter, 18 % kernel, 3 % TLS. Compiled"
        " 2.6 ms: 46 % interpreter, 30 % kernel, 9 % compiled modules, 7 % libc, 4 % TLS. A program's data comes in"
        " reads of 64 KiB, each a pass of trio's loop and a turn of the driver; it would take the relay's loop and the"
        " driver compiled, and fewer passes."
    ),
    "share-down-single": f"{_SINGLE} Besides TLS everything costs the same as with packed records; see there.",
    "share-up-single": (
        f"{_SINGLE} Our client packs its records whatever the server does, so this only holds the same upload against"
        " a limit that it does not have."
    ),
    "loss-down": "two runs of 8 s, whose ranges overlap: at 1 % the figure is made of some twenty losses.",
    "loss-up": "two runs of 8 s, whose ranges overlap: at 1 % the figure is made of some twenty losses.",
    "during-up": (
        "what the server had not taken yet waited in its receive buffer, up to 2.7 MB, 100 ms and more for a request"
        " behind it. Now the uploads of a tunnel reduce their windows while that does no harm (net/uploads.py): p99 is"
        " 20 ms compiled where it was 140, and the queue 1 to 2 ms in the mean. The rest are single waits for a core:"
        " client, server, target, upload and curl share two. Tried besides: smaller reads of the program's data (16 KiB"
        " in place of 64: 11 to 28 ms, slower uploads), a window of 1 MiB (17 to 19 ms)."
    ),
    "idle": (
        "by steps of importing: Python 8.7 MB, trio with ssl 16, pyOpenSSL with cryptography (a second OpenSSL)"
        " 10, dnspython 3, our own modules 11; log-in and TLS state 4. Tried: collecting garbage and malloc_trim after"
        " the start (0.5 MB), python -OO (nothing). It would take trio without Python's own ssl module, and what only"
        " the start needs (command line, configuration, log-in methods) in a process that ends."
    ),
}

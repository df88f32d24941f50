"""Options about the log, the capture and the trace."""

from __future__ import annotations

from .table import Option, Topic

_TOPIC = Topic("log, capture and trace")

LEVELS = ("error", "warning", "info", "debug")
FORMATS = ("text", "json", "journal")

OPTIONS: tuple[Option, ...] = (
    _TOPIC.choice(
        "log-format",
        "FORMAT",
        "text, json (an object a line) or journal (systemd's own protocol); setting it gives log lines on a terminal, "
        "too",
        choices=FORMATS,
        default="text, or journal where standard error is the journal",
    ),
    _TOPIC.file("log-file", "write the log to FILE, which only its owner can read; it may be moved away at any time"),
    _TOPIC.choice(
        "log-level",
        "LEVEL",
        "how much is logged, whatever -v and -q say; names and addresses of targets appear at debug only",
        choices=LEVELS,
        default="info",
    ),
    _TOPIC.file("pcap", "write the IP packets inside the tunnel to FILE as pcapng"),
    _TOPIC.integer(
        "pcap-size",
        "MB",
        "begin the next file when the capture has so many million bytes; the older ones are FILE with .1, .2 and so on "
        "before its extension",
        minimum=1,
        maximum=1_000_000,
    ),
    _TOPIC.integer("pcap-files", "N", "how many of these files are kept", default="5", minimum=1, maximum=1000),
    _TOPIC.switch(
        "trace",
        "tell each packet in a line on standard error: SSTP and PPP messages by name, IP packets by their headers; no "
        "contents and nothing of the log-in",
    ),
    _TOPIC.file("trace-file", "the same, to FILE"),
    _TOPIC.count("verbose", "say more; -vv for all details", maximum=9, short="-v"),
    _TOPIC.switch("quiet", "say nothing but warnings and errors", short="-q"),
)

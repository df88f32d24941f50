"""Options about when the tunnel is dialled, given up and ended, and what becomes of requests meanwhile."""

from __future__ import annotations

from .table import Option, Topic

_TOPIC = Topic("when the tunnel is lost, or not wanted")

OPTIONS: tuple[Option, ...] = (
    _TOPIC.seconds("reconnect-budget", "give up when the tunnel has been away for so long; without, never", default=""),
    _TOPIC.seconds("hold", "let new requests wait so long for a tunnel that is down; without, they fail", default=""),
    _TOPIC.seconds(
        "dead-after",
        "dial again when the server has not answered for so long what was sent; without, after 40 s of silence, half "
        "of it spent on asking",
        default="",
    ),
    _TOPIC.switch("on-demand", "dial at the first request, and end the tunnel when it is not used"),
    _TOPIC.seconds(
        "idle-timeout", "with --on-demand: end the tunnel after so long without connections and packets", default="300"
    ),
)

"""The screen of ``sstpsocks top``, made with rich out of a view and the size of the terminal. No IO.

It fits the terminal, whatever its size: first the tunnels, then the charts as high as there is room, then as many flows
or events as fit, and the keys in the last line. Nothing is told by colour alone.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from rich.console import Group
from rich.text import Text

from ..status.snapshot import EventView, FlowView, TunnelView
from ..text import one_line
from .figures import chart, duration, milliseconds, octets, rate
from .view import HELP, View

_STATES = {"up": "green", "stopped": "red", "degraded": "yellow", "reconnecting": "yellow"}
_SIDE_BY_SIDE = 90
"""Columns from which on the charts stand beside each other."""


def screen(view: View, width: int, height: int, *, blocks: bool = True) -> Group:
    """Return what fills the terminal. ``blocks``: it can show block characters."""
    lines: list[Text] = [_head(view, width)]
    lines += [_line(text, width, style) for text, style in _tunnels(view)]
    used = len(lines) + 1  # the keys
    shown = view.shown
    if shown is not None and height - used >= 6:
        charts = _charts(shown, width, 4 if height - used >= 18 else 2 if height - used >= 10 else 1, blocks=blocks)
        lines += charts
        used += len(charts)
    room = height - used
    body = _events(view.snapshot.events, width, room) if view.events else _flows(view, width, room)
    lines += body
    lines += [Text("")] * (room - len(body))
    lines.append(_line(HELP, width, "reverse"))
    lines = lines[-height:] if height < len(lines) else lines
    if not blocks:
        for line in lines:
            # Names of the network may need what the terminal has not.
            line.plain = line.plain.encode("ascii", "replace").decode()
    return Group(*lines)


def _line(text: str, width: int, style: str = "") -> Text:
    """Return one line that is never wrapped, without what could steer the terminal."""
    line = Text(one_line(text) if not text.startswith(" ") else " " + one_line(text), style=style, no_wrap=True)
    line.truncate(width, overflow="ellipsis")
    return line


def _head(view: View, width: int) -> Text:
    snapshot = view.snapshot
    ports = [port for port in snapshot.ports if port.kind == "proxy"]
    connections = sum(port.active for port in ports)
    text = f"sstpsocks {snapshot.version}  up {duration(snapshot.uptime)}  {connections} connections"
    where = ", ".join(place for port in ports for place in port.listen)
    text += f" at {where}" if where else ""
    if view.trouble:
        return _line(f"{view.trouble}  (trying again)  {text}", width, "bold red")
    if view.paused:
        return _line(f"PAUSED  {text}", width, "bold yellow")
    return _line(text, width, "bold")


def _tunnels(view: View) -> list[tuple[str, str]]:
    """Return a line for each tunnel, and its style."""
    lines = []
    several = len(view.snapshot.tunnels) > 1
    for number, tunnel in enumerate(view.snapshot.tunnels, 1):
        mark = f"{'>' if tunnel is view.shown else ' '}{number} " if several else ""
        addresses = ", ".join(tunnel.addresses)
        told = (
            f"{addresses}  in {rate(tunnel.receive_rate)}  out {rate(tunnel.send_rate)}"
            f"  round trip {milliseconds(tunnel.round_trip)}  {tunnel.flows_total} flows"
            if tunnel.up
            else tunnel.text
        )
        text = f"{mark}{tunnel.name}  {tunnel.state.upper()} {duration(tunnel.since)}  {tunnel.server}  {told}"
        lines.append((text, _STATES.get(tunnel.state, "")))
    return lines


def _charts(tunnel: TunnelView, width: int, height: int, *, blocks: bool) -> list[Text]:
    history = tunnel.history
    received: Sequence[float | None] = history.receive_rate if history is not None else ()
    sent: Sequence[float | None] = history.send_rate if history is not None else ()
    waited: Sequence[float | None] = history.round_trip if history is not None else ()
    # At least so much fills a chart: an idle tunnel is not a mountain range.
    panels = [
        ("in", rate(tunnel.receive_rate), _peak(received, rate), received, 12_500.0, "cyan"),
        ("out", rate(tunnel.send_rate), _peak(sent, rate), sent, 12_500.0, "magenta"),
        ("round trip", milliseconds(tunnel.round_trip), _peak(waited, milliseconds), waited, 0.01, "yellow"),
    ]
    beside = width >= _SIDE_BY_SIDE
    each = (width - 2 * 2) // 3 if beside else width
    made = []
    for name, now, peak, values, top, style in panels:
        title = _line(f"{name} {now}  peak {peak}", each)
        rows = chart(values, each, height if beside else 1, top=top, blocks=blocks)
        made.append([title, *(Text(row, style=style, no_wrap=True) for row in rows)])
    if not beside:
        return [line for panel in made for line in panel]
    return _rows(made, each)


def _rows(panels: Sequence[Sequence[Text]], each: int) -> list[Text]:
    """Return panels beside each other, line by line."""
    lines: list[Text] = []
    for row in zip(*panels, strict=True):
        line = Text(no_wrap=True)
        for number, cell in enumerate(row):
            cell = cell.copy()
            cell.truncate(each, pad=True)
            line.append("  " if number else "")
            line.append_text(cell)
        lines.append(line)
    return lines


def _peak(values: Sequence[float | None], text: Callable[[float], str]) -> str:
    known = [value for value in values if value is not None]
    return text(max(known)) if known else "-"


_COLUMNS = (
    ("peer", 0),
    ("state", 11),
    ("age", 10),
    ("in", 12),
    ("out", 12),
    ("received", 9),
    ("sent", 9),
    ("rtt", 8),
    ("repeats", 7),
    ("window", 8),
)
_NARROW = ("peer", "in", "out", "rtt")
_MIDDLE = ("peer", "age", "in", "out", "received", "sent", "rtt")


def _flows(view: View, width: int, room: int) -> list[Text]:
    """Return a heading and as many flows as there is room for."""
    if room <= 0:
        return []
    wanted = _NARROW if width < 72 else _MIDDLE if width < 112 else tuple(name for name, _ in _COLUMNS)
    columns = [(name, size) for name, size in _COLUMNS if name in wanted]
    first = width - sum(size + 1 for _, size in columns)
    flows = view.flows
    total = view.shown.flows_total if view.shown is not None else 0
    arrow = "reversed" if view.reversed else "first: most" if view.order != "peer" else "A to Z"
    title = f"peer (by {view.order}, {arrow}; {len(flows)} of {total})"
    lines: list[Text] = [_cells([title, *(name for name, size in columns if size)], first, columns, "reverse")]
    for flow in flows[: room - 1]:
        cells = _cells_of(flow)
        style = "bold" if flow.receive_rate + flow.send_rate > 0 else ""
        lines.append(_cells([cells[name] for name, _ in columns], first, columns, style))
    return lines


def _cells_of(flow: FlowView) -> dict[str, str]:
    host = f"[{flow.peer}]" if ":" in flow.peer else flow.peer
    named = f"{flow.name}:{flow.port}" if flow.name else f"{host}:{flow.port}"
    return {
        "peer": one_line(named),
        "state": one_line(flow.state),
        "age": duration(flow.age),
        "in": rate(flow.receive_rate),
        "out": rate(flow.send_rate),
        "received": octets(flow.octets_received),
        "sent": octets(flow.octets_sent),
        "rtt": milliseconds(flow.round_trip),
        "repeats": str(flow.retransmissions),
        "window": octets(flow.send_window),
    }


def _cells(texts: Sequence[str], first: int, columns: Sequence[tuple[str, int]], style: str) -> Text:
    pieces = []
    for text, (_, size) in zip(texts, columns, strict=True):
        if size:
            pieces.append(text[:size].rjust(size))
        else:
            cell = Text(text)
            cell.truncate(max(first, 1), overflow="ellipsis", pad=True)
            pieces.append(cell.plain)
    return Text(" ".join(pieces), style=style, no_wrap=True)


def _events(events: Sequence[EventView], width: int, room: int) -> list[Text]:
    """Return a heading and the latest events, the newest first."""
    if room <= 0:
        return []
    lines: list[Text] = [_line("events, the latest first", width, "reverse")]
    for event in list(reversed(events))[: room - 1]:
        when = datetime.fromtimestamp(event.time).astimezone().strftime("%H:%M:%S")
        failed = "FAILED " if event.failed else ""
        lines.append(_line(f"{when} {event.kind:<8} {failed}{event.text}", width, "yellow" if event.failed else ""))
    return lines

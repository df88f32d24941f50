"""Who may ask the status port what: the judgement of one HTTP request. No IO.

Theory of operation. The port tells names and addresses of a private network, on a loopback address that every web page
in a browser on this machine can send requests to. So, before anything else is looked at:

* only GET and HEAD, and no body: nothing can be changed here, so there is nothing to forge;
* DNS rebinding: a page at evil.example whose name turns into 127.0.0.1 is the same origin as this port, for its
  browser. What it cannot choose is the Host header, which says evil.example. Only addresses, localhost and the names
  that the user has given are answered. A Unix socket is not within reach of a browser;
* a request that the browser itself says was made by another site (Sec-Fetch-Site, W3C Fetch Metadata) is answered only
  if it is a person following a link to the page;
* with users set, their password (RFC 7617), also for every other path than the two for health checks.

No answer has CORS headers, so what another origin's script asks, it cannot read.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Sequence
from dataclasses import dataclass, field
from http import HTTPStatus
from ipaddress import ip_address
from urllib.parse import urlsplit

from ...proxy.users import NOBODY_ASKED, Users

PAGE, JSON, EVENTS, METRICS = "/", "/status.json", "/events", "/metrics"
HEALTHY, READY = "/healthz", "/readyz"
PATHS = frozenset({PAGE, JSON, EVENTS, METRICS, HEALTHY, READY})
OPEN_PATHS = frozenset({HEALTHY, READY})
"""Asked by machines that have no password; they say one word."""

Headers = Sequence[tuple[bytes, bytes]]
"""Names in lower case, as h11 gives them."""


@dataclass(frozen=True, slots=True)
class Policy:
    """Who is answered."""

    users: Users = NOBODY_ASKED
    names: frozenset[str] = field(default_factory=frozenset)
    """Names by which the port may be called, beside addresses and localhost; lower case."""


@dataclass(frozen=True, slots=True)
class Refusal:
    """Why a request is not answered."""

    status: HTTPStatus
    text: str
    headers: tuple[tuple[str, str], ...] = ()


def judge(method: bytes, target: bytes, headers: Headers, policy: Policy, *, unix: bool = False) -> str | Refusal:
    """Return the path that is asked for, one of PATHS, or a refusal. ``unix``: it came through a Unix socket."""
    if method not in (b"GET", b"HEAD"):
        return Refusal(HTTPStatus.METHOD_NOT_ALLOWED, "nothing can be changed here", (("Allow", "GET, HEAD"),))
    if any(
        name == b"transfer-encoding" or (name == b"content-length" and value.strip() != b"0") for name, value in headers
    ):
        return Refusal(HTTPStatus.REQUEST_ENTITY_TOO_LARGE, "a request has no body here")
    hosts = [value for name, value in headers if name == b"host"]
    path, authority = _split(target)
    if authority is not None:
        # RFC 9112 section 3.2.2: of a target in absolute form "a server MUST ignore the received Host header".
        hosts = [authority]
    if not unix and (len(hosts) != 1 or not _is_our_name(hosts[0], policy.names)):
        return Refusal(
            HTTPStatus.MISDIRECTED_REQUEST,
            "this port is not known by that name; ask for an address or localhost, or name it with --status-name",
        )
    if path not in PATHS:
        return Refusal(HTTPStatus.NOT_FOUND, "there is no such page")
    if _is_foreign(headers) and not (path == PAGE and _is_navigation(headers)):
        return Refusal(HTTPStatus.FORBIDDEN, "another site's page asks")
    if policy.users.required and path not in OPEN_PATHS and not _is_known(headers, policy.users):
        return Refusal(
            HTTPStatus.UNAUTHORIZED,
            "who are you?",
            (("WWW-Authenticate", 'Basic realm="sstpsocks status", charset="UTF-8"'),),
        )
    return path


def _split(target: bytes) -> tuple[str, bytes | None]:
    """Return the path, and the authority of a target in absolute form."""
    text = target.decode("latin-1")
    if text.startswith("/"):
        return text.partition("?")[0], None
    if not text.lower().startswith("http://"):
        return "", None
    authority, slash, path = text[len("http://") :].partition("/")
    return (slash + path).partition("?")[0] or "/", authority.partition("?")[0].encode("latin-1")


def _is_our_name(host: bytes, names: frozenset[str]) -> bool:
    try:
        parts = urlsplit("//" + host.decode("ascii"))
        name, _ = parts.hostname, parts.port
    except ValueError:
        return False
    if name is None or parts.path or parts.query or parts.fragment or "@" in parts.netloc:
        return False
    try:
        ip_address(name)
    except ValueError:
        # RFC 6761 section 6.3: browsers do not look up localhost, so nobody else can give it an address.
        name = name.removesuffix(".")
        return name == "localhost" or name.endswith(".localhost") or name in names
    return True


def _is_foreign(headers: Headers) -> bool:
    return any(name == b"sec-fetch-site" and value not in (b"same-origin", b"none") for name, value in headers)


def _is_navigation(headers: Headers) -> bool:
    found = dict(headers)
    return found.get(b"sec-fetch-mode") == b"navigate" and found.get(b"sec-fetch-dest") == b"document"


def _is_known(headers: Headers, users: Users) -> bool:
    given = [value for name, value in headers if name == b"authorization"]
    if len(given) != 1:
        return False
    scheme, _, encoded = given[0].partition(b" ")
    if scheme.lower() != b"basic":
        return False
    try:
        name, colon, password = base64.b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return False
    return bool(colon) and users.check(name, password)

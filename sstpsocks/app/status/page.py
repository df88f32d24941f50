"""The status page: one file, with its own style and script inside, and a policy that lets in nothing else."""

from __future__ import annotations

import base64
import hashlib
import re
from functools import lru_cache
from importlib import resources

_INLINE = re.compile(rb"<(script|style)>(.*?)</\1>", re.DOTALL)


@lru_cache(maxsize=1)
def page() -> bytes:
    """Return the page as it is served."""
    return resources.files(__package__).joinpath("page.html").read_bytes()


@lru_cache(maxsize=1)
def policy() -> str:
    """Return its Content-Security-Policy: this script and this style by their hashes, requests to us, nothing else."""
    sources: dict[str, list[str]] = {"script": [], "style": []}
    for kind, content in _INLINE.findall(page()):
        digest = base64.b64encode(hashlib.sha256(content).digest()).decode()
        sources[kind.decode()].append(f"'sha256-{digest}'")
    return "; ".join(
        (
            "default-src 'none'",
            f"script-src {' '.join(sources['script'])}",
            f"style-src {' '.join(sources['style'])}",
            "connect-src 'self'",
            "img-src data:",
            "base-uri 'none'",
            "form-action 'none'",
            "frame-ancestors 'none'",
        )
    )

"""The page's file: nothing from elsewhere, nothing that could run but its own script."""

from __future__ import annotations

import base64
import hashlib
import re

from sstpsocks.app.status.page import page, policy

TEXT = page().decode()


def test_the_policy_names_just_the_script_and_the_style_of_the_page() -> None:
    (script,) = re.findall(r"<script>(.*?)</script>", TEXT, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert f"script-src 'sha256-{digest}'" in policy()
    assert policy().count("sha256-") == 2
    assert "default-src 'none'" in policy()
    assert "unsafe" not in policy()


def test_it_loads_nothing_from_anywhere() -> None:
    urls = set(re.findall(r"https?://[^\s'\"]+", TEXT))
    assert urls == {"http://www.w3.org/2000/svg"}, "the name of a namespace is fetched by nobody"
    assert not re.search(r"<(script|link|img|iframe)[^>]+src=", TEXT)


def test_texts_are_only_ever_set_as_text() -> None:
    for way in ("innerHTML", "outerHTML", "insertAdjacentHTML", "document.write", "eval(", "Function(", "DOMParser"):
        assert way not in TEXT
    assert not re.search(r"\son\w+=", TEXT), "no handlers in attributes"
    assert " style=" not in TEXT


def test_it_is_small() -> None:
    assert len(page()) < 40_000

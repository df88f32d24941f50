"""Every prompt of a configuration finishes the display's line before it appears."""

from __future__ import annotations

from collections.abc import Callable

from .config import Configuration
from .credentials import PromptPassword
from .new_password import NewPasswordPrompt


def set_before_prompts(configuration: Configuration, interrupt: Callable[[], None]) -> None:
    """Have ``interrupt`` called before anybody is asked for anything: passwords, also proxies', and a server's key."""
    if configuration.first_use_prompt is not None:
        configuration.first_use_prompt.before_prompt = interrupt
    for tunnel in configuration.tunnels:
        if isinstance(tunnel.password.new_password, NewPasswordPrompt):
            tunnel.password.new_password.before_prompt = interrupt
        for source in (tunnel.password, *tunnel.proxy_passwords):
            if isinstance(source, PromptPassword):
                source.before_prompt = interrupt

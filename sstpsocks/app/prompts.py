"""Every prompt of a configuration finishes the display's line before it appears, and comes before the dialling."""

from __future__ import annotations

from collections.abc import Callable

from ..tunnel.settings import CredentialReason, CredentialRequest
from .config import Configuration
from .credentials import PasswordSource, PromptPassword
from .messages import Display
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


async def prepare_passwords(configuration: Configuration, display: Display) -> None:
    """Ask for what has to be asked for: of each tunnel the proxies' passwords, then the server's."""
    set_before_prompts(configuration, display.interrupt)
    asked: list[PasswordSource] = []
    for tunnel in configuration.tunnels:
        settings = tunnel.settings
        tunnel.password.tell = display.warning
        for proxy in (way.proxy for way in (settings, *settings.alternatives)):
            if proxy is not None and isinstance(proxy.credentials, PasswordSource) and proxy.credentials not in asked:
                asked.append(proxy.credentials)
                await proxy.credentials.prepare(CredentialRequest(CredentialReason.LOGIN, proxy.username, str(proxy)))
        await tunnel.password.prepare(CredentialRequest(CredentialReason.LOGIN, settings.username, settings.server))

"""Whoever is asked for something, the display has finished its line before."""

from __future__ import annotations

from sstpsocks.app.config import Configuration, ListenSettings, OutputSettings
from sstpsocks.app.credentials import FixedPassword, PromptPassword
from sstpsocks.app.first_use_prompt import FirstUsePrompt
from sstpsocks.app.new_password import NewPasswordPrompt
from sstpsocks.app.prompts import set_before_prompts
from sstpsocks.base.listen_address import TcpAddress
from sstpsocks.tunnel.settings import TrustSettings, TunnelSettings


def test_every_prompt_interrupts_the_display_also_that_for_a_proxy() -> None:
    def interrupt() -> None:
        raise AssertionError("nobody asks yet")

    password, proxy, fixed = PromptPassword(), PromptPassword(), FixedPassword("hunter22", "a test")
    password.new_password = NewPasswordPrompt()
    configuration = Configuration(
        tunnel=TunnelSettings(host="vpn", trust=TrustSettings(server_name="vpn"), username="", credentials=password),
        password=password,
        listen=ListenSettings(addresses=(TcpAddress("127.0.0.1", 0),)),
        output=OutputSettings(),
        proxy_passwords=(proxy, fixed),
        first_use_prompt=FirstUsePrompt(),
    )
    set_before_prompts(configuration, interrupt)
    assert configuration.first_use_prompt is not None
    assert password.before_prompt is interrupt
    assert password.new_password.before_prompt is interrupt
    assert proxy.before_prompt is interrupt
    assert configuration.first_use_prompt.before_prompt is interrupt

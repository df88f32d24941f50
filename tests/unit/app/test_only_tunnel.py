"""Commands with one tunnel and one host, ping, resolve and -W, beside rules: never past them without a word."""

from __future__ import annotations

import pytest

from sstpsocks.app.ask import only_tunnel
from sstpsocks.app.config import Configuration, load_configuration
from sstpsocks.errors import ConfigError


def with_rules(*rules: str) -> Configuration:
    arguments = {"server": ["vpn.test"], "rule": list(rules)}
    return load_configuration(arguments, {}, has_terminal=False, login=False)


@pytest.mark.parametrize(
    ("rule", "host", "port"),
    [
        (".ads.test -> refuse", "x.ads.test", None),
        (".ads.test -> refuse", "_sip._tcp.ADS.test.", None),
        ("printer.test -> direct", "printer.test", 22),
        ("10.0.0.0/8 -> refuse", "10.1.2.3", None),
        ("fd00::/8 -> refuse", "[fd00::1]", 22),
        ("all port 25 -> refuse", "mail.test", 25),
        ("10.0.0.0/8 -> refuse", "may-be-there.test", 22),
    ],
)
def test_a_host_that_may_go_another_way_is_refused_with_the_rule(rule: str, host: str, port: int | None) -> None:
    with pytest.raises(ConfigError, match=f'{host[-4:]}.* may go another way by the rule "{rule}"'):
        only_tunnel(with_rules(rule), "-W", host, port)


@pytest.mark.parametrize(
    ("rules", "host", "port"),
    [
        ((".ads.test -> refuse",), "www.test", 80),
        (("all port 25 -> refuse",), "mail.test", 587),
        (("all port 25 -> refuse",), "mail.test", None),
        (("www.test -> tunnel", "all -> refuse"), "www.test", 80),
        (("10.0.0.0/8 -> refuse",), "192.168.1.1", None),
    ],
)
def test_a_host_that_the_rules_leave_to_the_tunnel_is_taken(
    rules: tuple[str, ...], host: str, port: int | None
) -> None:
    configuration = with_rules(*rules)
    assert only_tunnel(configuration, "-W", host, port) is configuration

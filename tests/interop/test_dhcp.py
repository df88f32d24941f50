"""What a real network tells by DHCP: search domains and routes."""

from __future__ import annotations

import pytest

from tests.interop.client import Client
from tests.interop.conftest import Server
from tests.interop.test_traffic import curl_through

pytestmark = [pytest.mark.interop, pytest.mark.timeout(120)]


def test_a_name_without_a_dot_is_found_in_the_domain_that_dhcp_told(tunnel: Client, server: Server, curl: str) -> None:
    url = server.need("single_label")
    assert tunnel.wait_told("search")
    assert curl_through(curl, tunnel, url)


def test_a_search_domain_of_the_users_own_needs_no_dhcp(client: Client, server: Server, curl: str) -> None:
    url = server.need("single_label")
    domain = server.need("http_by_name").split("/")[2].partition(":")[0].partition(".")[2]
    client.start("--auth", server.auth.split(",")[0], "--dhcp", "never", "--search-domain", domain)
    client.wait_ready()
    assert client.ready["search"] == [domain]
    assert curl_through(curl, client, url)


def test_routes_are_told(tunnel: Client, server: Server) -> None:
    route = server.need("route")
    assert route in tunnel.wait_told("routes")
    assert route in tunnel.log, "and shown"


def test_strict_routes(client: Client, server: Server, curl: str) -> None:
    host, _, port = server.need("no_route").rpartition(":")
    client.start("--auth", server.auth.split(",")[0], "--strict-routes", "-vv")
    client.wait_ready()
    client.wait_told("routes")
    assert client.socks_reply(host, int(port)) == 3, client.log
    assert f"{host}: none of the routes" in client.log, "it was refused here, not by a router"
    assert curl_through(curl, client, server.need("http")), "our own subnet can be reached"
    for host, number, reply in server.targets():
        if reply == 4:
            assert client.socks_reply(host, number) == 4, "this one was let through and answered by the network"

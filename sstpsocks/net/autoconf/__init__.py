"""How a host in the tunnel gets its IPv6 addresses and name servers: RFC 4861, 4862, 7217, 8106 and 8415."""

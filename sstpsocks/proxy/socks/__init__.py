"""SOCKS5 (RFC 1928, RFC 1929): the sans-IO server machine and its listener."""

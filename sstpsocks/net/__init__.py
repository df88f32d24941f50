"""A userspace TCP/IP stack that knows nothing of PPP: IP packets in, IP packets out.

``stack`` is the way in. Packets pass ``receive_run`` (header prediction of TCP, both IP versions) or are taken apart by
``ip`` or ``ip6``, put together by ``fragment``, and handed by the stack or its ``ip6_layer`` to ``tcp``, ``udp_layer``,
``icmp_layer`` or ``icmp6_layer``. ``icmp`` and ``icmp6`` are the messages; ``echo`` is ping over either; ``address``
says whom one may talk to, ``source_address`` from which address (RFC 6724), ``path_mtu`` how large; ``autoconf`` finds
addresses by itself. What leaves is asked for by ``scheduler``.
"""

"""A userspace TCP/IP stack that knows nothing of PPP: IP packets in, IP packets out."""

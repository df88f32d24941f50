"""Scripted servers: what real SSTP servers were seen to do, one script for each habit that breaks simple clients.

A script plays the server against the real machines of the client, SSTP and PPP joined by the link, in virtual time.
``test_rras.py`` replays a whole session of a Windows server; ``test_quirks.py`` has one server for each habit;
``test_renegotiation.py`` and ``test_limits.py`` are about sessions that run. Scripts of PPP alone are in
``tests/unit/ppp/test_ppp_playbooks.py``.
"""

"""EAP (RFC 3748): the machines of both sides and one file for each method."""

"""TCP (RFC 9293), written as the ordered steps of its section 3.10."""

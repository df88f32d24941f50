"""Which way a connection takes: the language of the rules, the tables made of them, the router, the PAC file."""

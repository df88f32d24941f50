"""PPP (RFC 1661): frames, the automaton, LCP, authentication and the network control protocols."""

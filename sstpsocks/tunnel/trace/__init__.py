"""The traffic of a tunnel in words: one line a packet, without its contents."""

"""``sstpsocks check``: what a server is and what is wrong with the way to it, step by step."""

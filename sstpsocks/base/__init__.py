"""Building blocks that know no protocol: numbers, buffers, timers, hashes."""

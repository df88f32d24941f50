"""Faults and long loads: the program as its user runs it, against real servers that break (docs/testing.md)."""

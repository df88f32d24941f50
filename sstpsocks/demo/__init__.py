"""A real SSTP server of our own with a tiny intranet: the first run and the tests' fixture."""

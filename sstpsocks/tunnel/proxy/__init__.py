"""Ways to the server that lead through somebody else's proxy."""

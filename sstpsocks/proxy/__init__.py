"""Front ends for local programs: dialling by name, SOCKS, relaying."""

"""Forwards: one port here or inside the tunnel that leads to one place at the other side, as ssh's -L and -R."""

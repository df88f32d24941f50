"""Names resolved inside the tunnel through dnspython over our own sockets."""

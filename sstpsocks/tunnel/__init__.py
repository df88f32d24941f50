"""The first floor with trio, sockets and OpenSSL: a running tunnel and its streams."""

"""The HTTP proxy: CONNECT and plain forwarding, its machines without IO and their server."""

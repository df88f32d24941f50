"""SSTP (MS-SSTP): packets, the HTTP prelude, crypto binding, client and server machines."""

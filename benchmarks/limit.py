"""The limit: what pyOpenSSL alone takes for the same records, with memory BIOs and nothing else.

    python -m benchmarks.limit down --record 15488 --megabytes 200

Down: records are decrypted and dropped. Up: octets are encrypted and the records dropped. Only this side's CPU time
counts, not that of the other side, which must work as well to make the records.
"""

from __future__ import annotations

import argparse
import sys
import time
from contextlib import suppress
from pathlib import Path

from OpenSSL import SSL

BATCH = 256 << 10
"""Octets of plaintext between two looks at the clock."""
BIO_READ = 1 << 20
LARGEST_RECORD = 16384


def connected(certificate: Path, key: Path) -> tuple[SSL.Connection, SSL.Connection]:
    """Return client and server of a TLS connection in memory."""
    server_context = SSL.Context(SSL.TLS_METHOD)
    server_context.use_certificate_chain_file(str(certificate))
    server_context.use_privatekey_file(str(key))
    client = SSL.Connection(SSL.Context(SSL.TLS_METHOD))
    server = SSL.Connection(server_context)
    client.set_connect_state()
    server.set_accept_state()
    done: set[SSL.Connection] = set()
    while len(done) < 2:
        for end, other in ((client, server), (server, client)):
            with suppress(SSL.WantReadError):
                end.do_handshake()
                done.add(end)
            carry(end, other)
    # The tickets of TLS 1.3 come after the handshake.
    with suppress(SSL.WantReadError):
        client.recv(1)
    return client, server


def carry(end: SSL.Connection, other: SSL.Connection) -> None:
    """Bring what one end wants to send to the other."""
    with suppress(SSL.WantReadError):
        while True:
            other.bio_write(end.bio_read(BIO_READ))


def seal(end: SSL.Connection, record: memoryview, count: int) -> bytes:
    """Encrypt so many records."""
    for _ in range(count):
        end.send(record)
    return end.bio_read(BIO_READ)


def open_all(end: SSL.Connection, ciphertext: bytes) -> None:
    """Decrypt all records."""
    end.bio_write(ciphertext)
    with suppress(SSL.WantReadError):
        while True:
            end.recv(LARGEST_RECORD)


def seconds_per_megabyte(direction: str, record_size: int, megabytes: float, ends: tuple[Path, Path]) -> float:
    """Return the CPU seconds for 10**6 octets of plaintext."""
    client, server = connected(*ends)
    record = memoryview(bytes(record_size))
    count = max(BATCH // record_size, 1)
    spent = 0.0
    rounds = max(int(megabytes * 1e6 / (count * record_size)), 1)
    for _ in range(rounds):
        if direction == "down":
            ciphertext = seal(server, record, count)
            begin = time.thread_time()
            open_all(client, ciphertext)
        else:
            begin = time.thread_time()
            seal(client, record, count)
        spent += time.thread_time() - begin
    return spent / (rounds * count * record_size / 1e6)


def main() -> int:
    """Measure once and print the seconds."""
    parser = argparse.ArgumentParser(description="CPU seconds of pyOpenSSL alone for 10**6 octets of plaintext.")
    parser.add_argument("direction", choices=("down", "up"))
    parser.add_argument("--record", type=int, default=16384, help="octets of plaintext in a record (default 16384)")
    parser.add_argument("--megabytes", type=float, default=200.0, help="how much to measure (default 200)")
    parser.add_argument("--certificate", type=Path, required=True)
    parser.add_argument("--key", type=Path, required=True)
    options = parser.parse_args()
    found = seconds_per_megabyte(
        options.direction, options.record, options.megabytes, (options.certificate, options.key)
    )
    print(f"{found:.9f}")
    return 0


if __name__ == "__main__":
    sys.exit(main())

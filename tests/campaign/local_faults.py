"""The faults on the client's own machine: names, local programs, disks, descriptors."""

from __future__ import annotations

import contextlib
import resource
import socket
import subprocess
import sys
import time
from pathlib import Path

from tests.campaign import signals
from tests.campaign.bench import Bench
from tests.campaign.faults import SSTPD, Fault, outage, sstpd
from tests.interop.client import socks_connect

CROWD = 2000


def resolver_of(folder: Path, namespace: str = "127.0.0.53") -> tuple[str, ...]:
    """Return the beginning of a command that has a name server of its own in a mount namespace of its own."""
    settings = folder / "resolv.conf"
    settings.write_text(f"nameserver {namespace}\n")
    hosts = folder / "hosts"
    hosts.write_text("127.0.0.1 localhost\n")
    mounts = f'mount --bind {settings} /etc/resolv.conf && mount --bind {hosts} /etc/hosts && exec "$@"'
    return ("unshare", "--mount", "sh", "-c", mounts, "sh")


def outer_names_dead(bench: Bench) -> None:
    """The machine's own name server does not answer any more, and then the server is killed and comes back."""
    server = sstpd(bench.lab)
    name = server.settings["SERVER_NAME"]
    command = ["dnsmasq", "-d", "-C", "/dev/null", "--user=root", "--port=53", "--bind-interfaces", "--no-resolv"]
    command += [
        "--listen-address=127.0.0.53",
        "--no-hosts",
        "--pid-file=",
        f"--address=/{name}/{server.settings['HOST']}",
    ]
    names = subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        time.sleep(0.3)
        bench.start(wrapped=resolver_of(bench.folder), server=f"{name}:{server.settings['PORT']}")

        def strike() -> None:
            names.send_signal(signals.STOP)
            server.kill()

        outage(bench, strike, server.start, 3.0, must_survive=True)
    finally:
        names.kill()
        names.wait()


def inner_names_dead(bench: Bench) -> None:
    """The name server behind the tunnel does not answer; addresses must go on working, and names say so in time."""
    server = sstpd(bench.lab)
    bench.start()
    bench.open_flows()
    bench.mark()
    server.dns(signals.STOP)
    try:
        begin = time.monotonic()
        stream, reply = socks_connect(bench.client.socks, "www.lab.test", 80, 60.0)
        stream.close()
        took = time.monotonic() - begin
        bench.result.programs = f"a name: SOCKS reply {reply} after {took:.1f} s"
        if reply == 0 or took > 20:
            bench.problem("a name is not refused in time")
        stream, reply = socks_connect(bench.client.socks, *bench.target, 10.0)
        stream.close()
        if reply:
            bench.problem("an address does not work, either")
    finally:
        server.dns(signals.CONT)
    back = time.monotonic()
    bench.result.limit = 3.0
    while time.monotonic() < back + 30:
        stream, reply = socks_connect(bench.client.socks, "web.lab.test", 80, 30.0)
        stream.close()
        if reply == 0:
            break
        time.sleep(0.05)
    bench.result.recovery = time.monotonic() - back
    if bench.result.recovery > 3:
        bench.problem("names come back too late")
    bench.end_flows(must_survive=True)
    bench.expect_nothing_wrong()
    bench.expect_nothing_left()


def slow_clients(bench: Bench) -> None:
    """Hundreds of local clients that say an octet now and then and never finish a request."""
    count = 400
    bench.start("--max-connections", "512")
    bench.open_flows()
    beginnings = [b"\x05\x02", b"\x04\x01\x00", b"GET / HT", b"\x05\x01\x00\x05\x01"]
    slow = []
    with bench.probing() as prober:
        begun = time.monotonic()
        for number in range(count):
            client = socket.create_connection(bench.client.socks, 10)
            client.sendall(beginnings[number % len(beginnings)][:1])
            slow.append((client, beginnings[number % len(beginnings)]))
        for position in range(1, 6):
            for client, beginning in slow:
                with contextlib.suppress(OSError):
                    client.sendall(beginning[position : position + 1])
            time.sleep(0.7)
        until = time.monotonic()
        bad = [attempt for attempt in prober.attempts if attempt.said != "ok"]
        late = [attempt for attempt in prober.attempts if attempt.ended - attempt.begun > 1]
        if bad or late:
            bench.problem(f"{len(bad)} others failed and {len(late)} were slow")
        bench.result.programs = prober.said(begun, until)
        # The overdue ones are sent away by the port itself; what is left is closed by us.
        if bench.long:
            deadline = time.monotonic() + 90
            waiting = {client.fileno() for client, _ in slow}
            while waiting and time.monotonic() < deadline:
                for client, _ in slow:
                    client.setblocking(False)
                    with contextlib.suppress(BlockingIOError):
                        try:
                            ended = not client.recv(100)
                        except ConnectionResetError:
                            ended = True
                        if ended:
                            waiting.discard(client.fileno())
                time.sleep(0.5)
            bench.result.programs += (
                f"; {count - len(waiting)} of {count} sent away in {time.monotonic() - begun:.0f} s"
            )
            if waiting:
                bench.problem(f"{len(waiting)} slow clients are kept for ever")
        for client, _ in slow:
            client.close()
    bench.end_flows(must_survive=True)
    bench.expect_nothing_wrong()
    bench.expect_nothing_left()


def crowd_leaves(bench: Bench) -> None:
    """Two thousand clients with open connections leave at once, half of them with a reset."""
    allow_files(CROWD + 500)
    bench.start("--max-connections", str(CROWD + 100))
    # Their buffers' places in the process stay; they are no leak, so the first crowd is the yardstick of the second.
    crowd_comes_and_goes(bench)
    time.sleep(1)
    bench.recount()
    bench.open_flows()
    with bench.probing() as prober:
        comes, gone = crowd_comes_and_goes(bench)
        bench.expect_back(prober, gone)
        time.sleep(1)
        bench.result.programs = f"{CROWD} connected in {comes:.1f} s; others: {prober.said(gone - comes, gone + 1)}"
    bench.end_flows(must_survive=True)
    bench.expect_nothing_wrong()
    bench.expect_nothing_left()


def crowd_comes_and_goes(bench: Bench) -> tuple[float, float]:
    """Return how long it took to come, and when the last one had left."""
    begin = time.monotonic()
    crowd = []
    for number in range(CROWD):
        client, reply = socks_connect(bench.client.socks, *bench.target, 30.0)
        assert reply == 0, f"client {number} has SOCKS reply {reply}"
        client.sendall(b"echo\nhere I am")
        crowd.append(client)
    came = time.monotonic() - begin
    for client in crowd[: CROWD // 2]:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, b"\1\0\0\0\0\0\0\0")
    for client in crowd:
        client.close()
    return came, time.monotonic()


def allow_files(count: int) -> None:
    """Let this process have that many descriptors."""
    if sys.platform == "linux":
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < count:
            resource.setrlimit(resource.RLIMIT_NOFILE, (count, max(hard, count)))


def files_used_up(bench: Bench) -> None:
    """More clients come than there are descriptors; those who are served go on, and all is well when some leave."""
    bench.start(wrapped=("prlimit", "--nofile=200:200"))
    bench.open_flows()
    with bench.probing() as prober:
        begun = time.monotonic()
        crowd = []
        for _ in range(300):
            with contextlib.suppress(OSError):
                crowd.append(socket.create_connection(bench.client.socks, 1))
        time.sleep(2)
        until = time.monotonic()
        for client in crowd:
            client.close()
        gone = time.monotonic()
        bench.expect_back(prober, gone)
        time.sleep(1)
        bench.result.programs = prober.said(begun, until)
    bench.end_flows(must_survive=True)
    bench.expect_nothing_wrong()
    bench.expect_nothing_left()


def small_disk(folder: Path) -> tuple[str, ...]:
    """Return the beginning of a command for which ``folder`` is a disk of 64 KiB."""
    folder.mkdir()
    mount = f'mount -t tmpfs -o size=64k,mode=700 none {folder} && exec "$@"'
    return ("unshare", "--mount", "sh", "-c", mount, "sh")


def disk_full_for_pcap(bench: Bench) -> None:
    """The disk is full after the first 64 KiB of the capture; the tunnel goes on, and the user is told once."""
    disk = bench.folder / "disk"
    bench.start("--pcap", str(disk / "capture.pcapng"), wrapped=small_disk(disk))
    disk_is_full(bench)


def disk_full_for_log(bench: Bench) -> None:
    """The disk is full for the log; the tunnel goes on."""
    disk = bench.folder / "disk"
    options = ("--log-file", str(disk / "log"), "--log-level", "debug")
    bench.start(*options, wrapped=small_disk(disk))
    for _ in range(500):
        stream, _ = socks_connect(bench.client.socks, *bench.target, 10.0)
        stream.close()
    disk_is_full(bench)


def disk_is_full(bench: Bench) -> None:
    """The flows run while nothing can be written."""
    # What was printed from the beginning belongs to it: the disk has filled up while the client was tried.
    bench.mark_all()
    if "No space left" not in bench.client.log:
        bench.problem("nobody was told that the disk is full")
    begun = time.monotonic()
    bench.open_flows()
    with bench.probing() as prober:
        time.sleep(2)
        bench.result.programs = prober.said(begun, time.monotonic())
        if any(attempt.said != "ok" for attempt in prober.attempts):
            bench.problem("new connections fail")
    bench.end_flows(must_survive=True)
    bench.expect_nothing_wrong()
    bench.expect_nothing_left()


LOCAL_FAULTS = (
    Fault("server killed for 3 s while the machine's DNS is dead", SSTPD, outer_names_dead),
    Fault("DNS behind the tunnel dead", SSTPD, inner_names_dead),
    Fault("400 slow local clients", SSTPD, slow_clients),
    Fault("2,000 local clients leave at once", SSTPD, crowd_leaves),
    Fault("descriptors used up", SSTPD, files_used_up),
    Fault("disk full for the capture", SSTPD, disk_full_for_pcap),
    Fault("disk full for the log", SSTPD, disk_full_for_log),
)

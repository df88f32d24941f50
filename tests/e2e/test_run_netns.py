"""``sstpsocks run --netns -- COMMAND``: programs that know no proxy, as their users run them, on the demo's network."""

from __future__ import annotations

import os
import re
import shutil
import signal
import subprocess
import sys
from pathlib import Path

import pytest
import trio

from sstpsocks.demo.intranet import PAGE
from tests.helpers.demo_site import PASSWORD, SERVER_NAME, DemoSite, demo_site
from tests.helpers.netns import namespaces_in_use, skip_unless_namespaces_may_be_made
from tests.helpers.sandbox import skip_unless_rights_can_be_taken, without_rights

pytestmark = pytest.mark.skipif(sys.platform != "linux", reason="network namespaces are Linux's")

ROOT = Path(__file__).resolve().parents[2]
TARGET = "10.99.0.1"
FETCH = "import urllib.request as r; print(r.urlopen('http://intranet.demo/', timeout=20).read().decode())"


@pytest.fixture(autouse=True)
def allowed() -> None:
    skip_unless_namespaces_may_be_made()


def words(demo: DemoSite, *command: str, options: tuple[str, ...] = ("-q",)) -> list[str]:
    flags = ("--netns", "--ca-file", str(demo.ca_file), "--server-name", SERVER_NAME, *options)
    return [sys.executable, "-m", "sstpsocks", "run", f"sstp://alice@127.0.0.1:{demo.port}", *flags, "--", *command]


def environment(**more: str) -> dict[str, str]:
    inherited = {name: value for name, value in os.environ.items() if not name.startswith("SSTPSOCKS_")}
    return {**inherited, "XDG_CONFIG_HOME": "/nonexistent", "SSTPSOCKS_PASSWORD": PASSWORD, **more}


async def run(command: list[str], **more: str) -> subprocess.CompletedProcess[bytes]:
    with trio.fail_after(60):
        return await trio.run_process(
            command, cwd=ROOT, env=environment(**more), capture_stdout=True, capture_stderr=True, check=False
        )


async def run_python(demo: DemoSite, script: str, *arguments: str) -> list[str]:
    """Run a script in the namespace and return the lines that it printed."""
    ended = await run(words(demo, sys.executable, "-c", script, *arguments))
    assert ended.returncode == 0, ended.stderr.decode()
    return ended.stdout.decode().splitlines()


async def test_a_program_that_knows_no_proxy_reaches_the_inner_network_by_name(tmp_path: Path) -> None:
    async with demo_site(tmp_path) as demo:
        ended = await run(words(demo, sys.executable, "-c", FETCH))
    assert (ended.stdout.strip(), ended.stderr) == (PAGE.strip(), b"")


async def test_it_needs_no_rights_and_no_file_that_can_be_written(world_readable: Path) -> None:
    skip_unless_rights_can_be_taken()
    script = "import os; print(os.geteuid(), *[l for l in open('/proc/self/status') if l.startswith('CapEff')])"
    async with demo_site(world_readable) as demo:
        demo.ca_file.chmod(0o644)
        ended = await run(without_rights(words(demo, sys.executable, "-c", f"{script}; {FETCH}"), tun=True))
    assert ended.returncode == 0, ended.stderr
    who, page = ended.stdout.split(b"\n", 1)
    assert who == b"65534 CapEff:\t0000000000000000"
    assert page.strip() == PAGE.strip()


async def test_without_a_device_it_says_so_before_anybody_is_dialled(world_readable: Path) -> None:
    skip_unless_rights_can_be_taken()
    async with demo_site(world_readable) as demo:
        demo.ca_file.chmod(0o644)
        ended = await run(without_rights(words(demo, "true", options=())))
    assert ended.returncode == 2
    [line] = ended.stderr.decode().splitlines()
    assert line.startswith("sstpsocks: run --netns: /dev/net/tun cannot be used: No such file or directory")
    assert "--device /dev/net/tun" in line


async def test_where_users_may_not_make_namespaces_it_says_who_forbids_it(tmp_path: Path) -> None:
    async with demo_site(tmp_path) as demo:
        # A user namespace in which the kernel's limit is nought: there it is refused for real.
        forbid = 'echo 0 > /proc/sys/user/max_user_namespaces && exec "$@"'
        inside = ["unshare", "--user", "--map-root-user", "sh", "-c", forbid, "sh"]
        ended = await run([*inside, *words(demo, "true", options=())])
    if b"sh:" in ended.stderr:
        pytest.skip("the kernel's settings cannot be written here")
    [line] = ended.stderr.decode().splitlines()
    assert ended.returncode == 2
    assert line.startswith("sstpsocks: run --netns: this machine does not let us make a user namespace: No space left")
    assert "sysctl user.max_user_namespaces=10000" in line


DOWNLOAD = """
import hashlib, urllib.request as r
body = r.urlopen('http://intranet.demo/download', timeout=30).read()
print(len(body), hashlib.sha256(body).hexdigest())
print(r.urlopen('http://intranet.demo/download.sha256', timeout=30).read().split()[0].decode())
"""


async def test_a_download_arrives_whole(tmp_path: Path) -> None:
    async with demo_site(tmp_path) as demo:
        [got, expected] = await run_python(demo, DOWNLOAD)
    assert got.split() == [str(16 * 1024 * 1024), expected]


ECHO = """
import hashlib, os, socket, sys, threading
errors = []
def one():
    try:
        data = os.urandom(int(sys.argv[2]))
        with socket.create_connection(('10.99.0.1', 7), 20) as s:
            s.settimeout(40)
            def send():
                s.sendall(data)
                s.shutdown(socket.SHUT_WR)
            sender = threading.Thread(target=send)
            sender.start()
            back = hashlib.sha256()
            while chunk := s.recv(1 << 20):
                back.update(chunk)
            sender.join()
        if back.digest() != hashlib.sha256(data).digest():
            errors.append('changed')
    except OSError as error:
        errors.append(repr(error))
threads = [threading.Thread(target=one) for _ in range(int(sys.argv[1]))]
for thread in threads: thread.start()
for thread in threads: thread.join()
print(errors)
"""


@pytest.mark.parametrize(("connections", "octets"), [(1, 8_000_000), (300, 20_000)])
async def test_what_is_sent_comes_back_the_same_with_the_end_behind_it(
    tmp_path: Path, connections: int, octets: int
) -> None:
    async with demo_site(tmp_path) as demo:
        assert await run_python(demo, ECHO, str(connections), str(octets)) == ["[]"]


REFUSALS = """
import errno, socket
for host, port in (('10.99.0.1', 81), ('intranet.demo', 81), ('169.254.7.7', 80), ('2001:db8::1', 80)):
    try:
        socket.create_connection((host, port), 10)
    except OSError as error:
        print(errno.errorcode[error.errno])
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.settimeout(10)
    s.connect(('10.99.0.1', 9))
    s.send(b'x')
    try:
        s.recv(10)
    except OSError as error:
        print(errno.errorcode[error.errno])
try:
    socket.getaddrinfo('nx.intranet.demo', 80)
except socket.gaierror as error:
    print(error.errno == socket.EAI_NONAME)
"""


async def test_programs_are_told_what_a_network_would_tell_them(tmp_path: Path) -> None:
    async with demo_site(tmp_path) as demo:
        told = await run_python(demo, REFUSALS)
    assert told == ["ECONNREFUSED", "ECONNREFUSED", "EHOSTUNREACH", "ENETUNREACH", "ECONNREFUSED", "True"]


DATAGRAMS = """
import socket
query = bytes.fromhex('abcd01000001000000000000') + b'\\x08intranet\\x04demo\\0\\0\\1\\0\\1'
with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as s:
    s.settimeout(20)
    for server in ('10.99.0.1', '192.0.0.1'):
        s.sendto(query, (server, 53))
        answer, sender = s.recvfrom(4096)
        print(sender[0], answer[:2].hex(), answer[-4:].hex())
with socket.create_connection(('192.0.0.1', 53), 20) as s:
    s.sendall(len(query).to_bytes(2, 'big') + query)
    print('tcp', s.recv(4096)[-4:].hex())
"""


async def test_datagrams_pass_and_names_are_answered_at_the_gateway_by_udp_and_tcp(tmp_path: Path) -> None:
    async with demo_site(tmp_path) as demo:
        told = await run_python(demo, DATAGRAMS)
    assert told == ["10.99.0.1 abcd 0a630001", "192.0.0.1 abcd 0a630001", "tcp 0a630001"]


@pytest.mark.skipif(shutil.which("ping") is None, reason="ping is not installed")
async def test_ping_works_without_rights_and_tells_who_answers(world_readable: Path) -> None:
    skip_unless_rights_can_be_taken()
    script = "ping -c 1 -W 10 intranet.demo && ping -c 1 -W 10 -s 5000 10.99.0.1; ping -c 1 -W 1 10.99.0.200"
    async with demo_site(world_readable) as demo:
        demo.ca_file.chmod(0o644)
        ended = await run(without_rights(words(demo, "sh", "-c", script), tun=True))
    lines = ended.stdout.decode()
    assert len(re.findall(r"bytes from .*10\.99\.0\.1", lines)) == 2, (lines, ended.stderr)
    assert "5008 bytes" in lines
    assert ended.returncode == 1


LOOK_AROUND = """
import os, socket
print(sorted(name for _, name in socket.if_nameindex()))
print(sorted(name for name in os.environ if 'PROXY' in name.upper() or name.startswith('SSTPSOCKS_')))
print(os.environ['SSTPSOCKS_RUN_ADDRESS'])
print(open('/etc/resolv.conf').read().split())
print([len(os.listdir('/proc/self/fd')), os.getuid() == int(os.environ['OUR_UID'])])
"""


async def test_the_command_finds_one_way_out_no_proxy_and_nothing_of_ours(tmp_path: Path) -> None:
    if sys.platform == "win32":
        raise OSError("Linux only")
    async with demo_site(tmp_path) as demo:
        ended = await run(
            words(demo, sys.executable, "-c", LOOK_AROUND),
            ALL_PROXY="socks5://127.0.0.1:9", http_proxy="http://127.0.0.1:9", OUR_UID=str(os.getuid()),
        )  # fmt: skip
    assert ended.stdout.decode().splitlines() == [
        "['lo', 'sstpsocks0']",
        "['SSTPSOCKS_RUN_ADDRESS', 'SSTPSOCKS_RUN_DNS', 'SSTPSOCKS_RUN_SERVER']",
        "10.99.0.10",
        "['nameserver', '192.0.0.1']",
        "[4, True]",
    ], ended.stderr


async def test_what_this_machine_serves_to_itself_is_out_of_reach(tmp_path: Path) -> None:
    async with demo_site(tmp_path) as demo:
        script = f"import socket; print(socket.socket().connect_ex(('127.0.0.1', {demo.port})))"
        assert await run_python(demo, script) == ["111"]


@pytest.mark.parametrize(("script", "code"), [("exit 3", 3), ("kill -KILL $$", 137), ("kill -TERM $$", 143)])
async def test_the_exit_code_is_the_commands(tmp_path: Path, script: str, code: int) -> None:
    async with demo_site(tmp_path) as demo:
        ended = await run(words(demo, "sh", "-c", script))
    assert ended.returncode == code, ended.stderr


async def test_a_file_that_cannot_be_run_is_126(tmp_path: Path) -> None:
    (tmp_path / "text").write_text("no program")
    (tmp_path / "text").chmod(0o755)
    async with demo_site(tmp_path) as demo:
        ended = await run(words(demo, str(tmp_path / "text")))
    assert ended.returncode == 126, ended.stderr
    assert b"Exec format error" in ended.stderr


async def test_a_signal_sent_to_us_reaches_the_command_and_no_namespace_is_left_over(tmp_path: Path) -> None:
    script = (
        "import os, signal, sys, time; signal.signal(15, lambda *_: sys.exit(42));"
        "print(os.readlink('/proc/self/ns/net'), end='', flush=True); time.sleep(60)"
    )
    async with demo_site(tmp_path) as demo:
        with trio.fail_after(40):
            process = await trio.lowlevel.open_process(
                words(demo, sys.executable, "-c", script),
                cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            assert process.stdout is not None
            namespace = (await process.stdout.receive_some()).decode()
            assert namespace.startswith("net:[")
            assert namespace in namespaces_in_use()
            process.send_signal(signal.SIGTERM)
            assert await process.wait() == 42
            await process.stdout.aclose()
    assert namespace not in namespaces_in_use()


BROKEN = """
import signal, socket
signal.signal(signal.SIGTERM, signal.SIG_IGN)
with socket.create_connection(('10.99.0.1', 7), 20) as s:
    s.settimeout(30)
    s.send(b'x')
    print(s.recv(1).decode() + '\\n', end='', flush=True)
    try:
        s.recv(1)
    except ConnectionResetError:
        print('reset\\n', end='', flush=True)
"""


async def test_a_connection_that_breaks_in_the_tunnel_is_reset_in_the_namespace(tmp_path: Path) -> None:
    async with demo_site(tmp_path) as demo:
        with trio.fail_after(40):
            process = await trio.lowlevel.open_process(
                words(demo, sys.executable, "-c", BROKEN, options=("-q", "--reconnect", "never")),
                cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            assert process.stdout is not None
            assert await process.stdout.receive_some() == b"x\n"
            await demo.stop()
            assert await process.stdout.receive_some() == b"reset\n"
            assert await process.wait() == 7
            await process.stdout.aclose()


RULES = """
import errno, socket
print(socket.create_connection(('10.99.0.1', 80), 20).getpeername()[1])
print(socket.gethostbyname('www.intranet.demo'))
for name, port in (('www.intranet.demo', 7), ('www.intranet.demo', 80), ('www.past.demo', 80)):
    try:
        print(socket.create_connection((name, port), 20).getpeername()[1])
    except OSError as error:
        print(errno.errorcode.get(error.errno or 0, 'no such name'))
"""


async def test_rules_about_names_hold_for_the_addresses_that_programs_dial(tmp_path: Path) -> None:
    rules = ("--rule", "www.intranet.demo port 80 -> refuse", "--rule", ".past.demo -> refuse")
    async with demo_site(tmp_path) as demo:
        ended = await run(words(demo, sys.executable, "-c", RULES, options=("-q", *rules)))
    told = ended.stdout.decode().splitlines()
    assert told == ["80", "10.99.0.1", "7", "EHOSTUNREACH", "no such name"], ended.stderr


ORPHAN = """
import os, socket, sys, time
print('up', end='', flush=True)
while os.getppid() == int(sys.argv[1]) or open('/proc/net/dev').read().count('sstpsocks0'):
    time.sleep(0.05)
for port in map(int, sys.argv[2:]):
    with socket.socket() as s:
        print(s.connect_ex(('10.99.0.1', 80)) != 0, s.connect_ex(('127.0.0.1', port)) != 0, end=' ', flush=True)
"""


async def test_when_we_are_killed_the_command_has_no_network_rather_than_another_one(tmp_path: Path) -> None:
    if sys.platform == "win32":
        raise OSError("Linux only")
    async with demo_site(tmp_path) as demo:
        with trio.fail_after(40):
            process = await trio.lowlevel.open_process(
                words(demo, sys.executable, "-c", ORPHAN, str(os.getpid()), str(demo.port)),
                cwd=ROOT, env=environment(), stdout=subprocess.PIPE, stderr=subprocess.DEVNULL,
            )  # fmt: skip
            assert process.stdout is not None
            assert await process.stdout.receive_some() == b"up"
            process.kill()
            assert await process.wait() == -signal.SIGKILL
            said = b""
            while chunk := await process.stdout.receive_some():
                said += chunk
            assert said.split() == [b"True", b"True"]
            await process.stdout.aclose()


IPV6 = """
import socket, time, urllib.request as r
default = '0' * 32 + ' 00 '
while not any(l.startswith(default) and l.split()[-1] == 'sstpsocks0' for l in open('/proc/net/ipv6_route')):
    time.sleep(0.05)
print(socket.getaddrinfo('v6.intranet.demo', 80)[0][4][0])
print(len(r.urlopen('http://v6.intranet.demo/', timeout=20).read()))
"""


async def test_ipv6_leads_out_where_the_tunnel_has_it(tmp_path: Path) -> None:
    async with demo_site(tmp_path, ipv6=True) as demo:
        told = await run_python(demo, IPV6)
    assert told == ["fd53:5354:5000::1", str(len(PAGE))]

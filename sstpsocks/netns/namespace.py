"""Makes the namespace, from within the process that is to live in it, before its program begins.

Theory of operation. A user namespace of our own may be made without any right, and in it we may make a network
namespace, which belongs to it, and do there what else only root does. Its process does all of that between fork and
exec: users, network, the TUN device, the link's addresses and routes, and mounts that are seen by nobody else. Then it
hands the device's descriptor through a socket to us, who remain outside, and becomes the user's program, whose rights
are those it would have had. The device, and with it the way out, is gone when we close the descriptor.

Who we are is mapped to who we are: the program sees the same user and group, and files belong to whom they belonged.
"""

from __future__ import annotations

import array
import errno
import logging
import os
import socket
import struct
import sys

from ..errors import ConfigError
from . import denied
from .plan import ADDRESS, ADDRESS6, INTERFACE, NSSWITCH_CONF, RESOLV_CONF, Plan

_NEW_USERS = 0x10000000
_NEW_NETWORK_AND_MOUNTS = 0x40000000 | 0x00020000
"""CLONE_NEWUSER; CLONE_NEWNET and CLONE_NEWNS."""
_DONE = b"+"
_LOOPBACK = 1
"""The number of the first interface of every namespace."""
_SET_INTERFACE = 0x400454CA
_TUN, _NO_PACKET_INFORMATION = 0x0001, 0x1000
_RECURSIVE, _PRIVATE, _BIND, _DETACH = 0x4000, 1 << 18, 0x1000, 2
_IPV4_MSS, _IPV6_MSS = 65535 - 40, 65535 - 60
"""What the programs' TCP asks us to send at once: packets to them are written whole, however small the MTU is."""
_SHADOWED = ("/mnt", "/media", "/srv", "/opt")
"""Folders of which one is used for a mount that nobody else sees, and that is gone after some microseconds."""
_QUEUE = 2000
"""Packets that may wait for us: some for each of several hundred connections."""
_PING_GROUPS = "/proc/sys/net/ipv4/ping_group_range"
NAME_SERVICES = (
    "/run/nscd/socket",
    "/run/systemd/resolve/io.systemd.Resolve",
    "/run/systemd/resolve/io.systemd.Resolve.Monitor",
    "/run/avahi-daemon/socket",
)
"""Sockets of services that look names up for the whole machine, past the tunnel."""

_logger = logging.getLogger("sstpsocks.netns")


if sys.platform == "linux":
    import ctypes
    import fcntl

    from . import netlink

    class Namespace:
        """A namespace for one command. Raises ConfigError when this system has none."""

        def __init__(self, plan: Plan) -> None:
            self._plan = plan
            self._ours, self._theirs = socket.socketpair()
            self._route: socket.socket | None = None
            """A socket of the namespace's, to configure it from here, and the number of its interface."""
            self._index = 0
            # Loaded here, since between fork and exec only little should be done.
            self._libc = ctypes.CDLL(None, use_errno=True)
            self._shadow = next(filter(os.path.isdir, _SHADOWED), "/")

        def close(self) -> None:
            """Close what the others use."""
            self._ours.close()
            self._theirs.close()
            if self._route is not None:
                self._route.close()

        # In the command's process

        def enter(self) -> None:
            """Make the namespace, go into it, and hand the device over. Raises what ends the process."""
            step = denied.USERS
            try:
                self._make_user_namespace()
                step = denied.NETWORK
                self._call("unshare", _NEW_NETWORK_AND_MOUNTS)
                step = denied.DEVICE
                device = self._open_device()
                step = denied.LINK
                route = socket.socket(socket.AF_NETLINK, socket.SOCK_RAW, 0)
                index = self._configure(route)
                step = denied.NAMES
                self._replace_names()
            except OSError as error:
                self._theirs.send(f"{step}\0{error.errno or 0}".encode())
                raise
            socket.send_fds(self._theirs, [_DONE + str(index).encode()], [device, route.fileno()])

        def _make_user_namespace(self) -> None:
            user, group = os.geteuid(), os.getegid()
            self._call("unshare", _NEW_USERS)
            # user_namespaces(7): without it an unprivileged process may not map its group.
            _write("/proc/self/setgroups", b"deny")
            _write("/proc/self/uid_map", f"{user} {user} 1".encode())
            _write("/proc/self/gid_map", f"{group} {group} 1".encode())

        def _open_device(self) -> int:
            device = os.open(denied.DEVICE_FILE, os.O_RDWR | os.O_NONBLOCK)
            fcntl.ioctl(
                device, _SET_INTERFACE, struct.pack("16sH22x", INTERFACE.encode(), _TUN | _NO_PACKET_INFORMATION)
            )
            return device

        def _configure(self, route: socket.socket) -> int:
            """Configure what programs find, and return the number of our interface."""
            route.bind((0, 0))
            index = socket.if_nametoindex(INTERFACE)
            messages = [
                netlink.link_up(_LOOPBACK),
                netlink.link_up(index, self._plan.mtu, _QUEUE),
                netlink.add_address(index, ADDRESS),
                netlink.add_default_route(index, 4, _IPV4_MSS),
            ]
            for message in messages:
                netlink.exchange(route, message)
            try:
                # Lets ping work without rights (icmp(7)). In a container these settings may be read-only.
                _write(_PING_GROUPS, f"{os.getegid()} {os.getegid()}".encode())
            except OSError:
                pass
            return index

        def _replace_names(self) -> None:
            """Mount files of ours over those that say how names are looked up, for this namespace alone."""
            self._mount(b"none", b"/", None, _RECURSIVE | _PRIVATE)
            self._mount(b"none", self._shadow.encode(), b"tmpfs", 0)
            try:
                self._mount_file("resolv.conf", self._plan.resolv_conf, RESOLV_CONF)
                if self._plan.nsswitch_conf is not None:
                    self._mount_file("nsswitch.conf", self._plan.nsswitch_conf, NSSWITCH_CONF)
                for place in NAME_SERVICES:
                    if os.path.exists(place):
                        self._mount_file("nobody", b"", place)
            finally:
                # The files stay where they are mounted.
                self._call("umount2", self._shadow.encode(), _DETACH)

        def _mount_file(self, name: str, content: bytes, place: str) -> None:
            path = f"{self._shadow}/{name}"
            descriptor = os.open(path, os.O_WRONLY | os.O_CREAT, 0o644)
            os.write(descriptor, content)
            os.close(descriptor)
            self._mount(path.encode(), place.encode(), None, _BIND)

        def _mount(self, source: bytes, target: bytes, kind: bytes | None, flags: int) -> None:
            self._call("mount", source, target, kind, ctypes.c_ulong(flags), None)

        def _call(self, name: str, *arguments: object) -> None:
            if getattr(self._libc, name)(*arguments):
                number = ctypes.get_errno()
                raise OSError(number, os.strerror(number))

        # Outside

        def rehearse(self) -> None:
            """Make the namespace in a process that does nothing else. Raises ConfigError when that is not allowed."""
            child = os.fork()
            if not child:
                try:
                    self.enter()
                finally:
                    os._exit(0)
            os.waitpid(child, 0)
            os.close(self.take())

        def take(self) -> int:
            """Return the descriptor of the device, which does not block, once enter() has returned there."""
            flags = socket.MSG_DONTWAIT | socket.MSG_CMSG_CLOEXEC
            descriptors = array.array("i")
            try:
                message, ancillary, _, _ = self._ours.recvmsg(256, socket.CMSG_SPACE(2 * descriptors.itemsize), flags)
            except BlockingIOError:
                message, ancillary = b"", []
            for _, _, content in ancillary:
                descriptors.frombytes(content)
            if not message.startswith(_DONE) or len(descriptors) != 2:
                raise self._failure(message)
            self._route, self._index = socket.socket(fileno=descriptors[1]), int(message[len(_DONE) :])
            return descriptors[0]

        def add_ipv6(self) -> None:
            """Lead IPv6 out as well: the tunnel has it now. Who made the namespace may do that from outside."""
            if self._route is None:
                return
            try:
                netlink.exchange(self._route, netlink.add_address(self._index, ADDRESS6))
                netlink.exchange(self._route, netlink.add_default_route(self._index, 6, _IPV6_MSS))
            except OSError as error:
                # This machine is set to have no IPv6, or the namespace has just ended.
                _logger.debug("no IPv6 in the namespace: %s", error)

        def failure(self) -> ConfigError:
            """Return why enter() failed."""
            try:
                message = self._ours.recv(256, socket.MSG_DONTWAIT)
            except BlockingIOError:
                message = b""
            return self._failure(message)

        def _failure(self, message: bytes) -> ConfigError:
            step, _, number = message.decode("ascii", "replace").partition("\0")
            return denied.denied(step or denied.USERS, int(number) if number.isdigit() else errno.EPERM)

else:

    class Namespace:
        """A namespace for one command. Raises ConfigError when this system has none."""

        def __init__(self, plan: Plan) -> None:
            raise denied.not_linux(sys.platform)

        def close(self) -> None:
            """Never reached."""

        def enter(self) -> None:
            """Never reached."""

        def rehearse(self) -> None:
            """Never reached."""

        def take(self) -> int:
            """Never reached."""
            return -1

        def add_ipv6(self) -> None:
            """Never reached."""

        def failure(self) -> ConfigError:
            """Never reached."""
            return denied.not_linux(sys.platform)


def _write(path: str, content: bytes) -> None:
    descriptor = os.open(path, os.O_WRONLY)
    try:
        os.write(descriptor, content)
    finally:
        os.close(descriptor)

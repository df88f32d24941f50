"""Landlock, by which a process on Linux gives up for good what it will not need: files, ports, other programs.

The kernel's interface is three system calls and a version of it ("ABI") that says which rights it knows
(Documentation/userspace-api/landlock.rst). Rights that a kernel does not know yet are left out. What was opened before
stays open; threads and programs that are started afterwards are bound as well.
"""

from __future__ import annotations

import ctypes
import errno
import os
import stat
import struct
import sys
from collections.abc import Iterable
from dataclasses import dataclass
from enum import IntFlag

# The numbers are the same on all architectures since Linux 5.13, but for Alpha.
_CREATE_RULESET, _ADD_RULE, _RESTRICT_SELF = 444, 445, 446
_VERSION_FLAG = 1
_PATH_BENEATH, _NET_PORT = 1, 2
_PR_SET_NO_NEW_PRIVS = 38


class Files(IntFlag):
    """What may be done beneath a path, LANDLOCK_ACCESS_FS_*."""

    EXECUTE = 1 << 0
    WRITE_FILE = 1 << 1
    READ_FILE = 1 << 2
    READ_DIR = 1 << 3
    REMOVE_DIR = 1 << 4
    REMOVE_FILE = 1 << 5
    MAKE_CHAR = 1 << 6
    MAKE_DIR = 1 << 7
    MAKE_REG = 1 << 8
    MAKE_SOCK = 1 << 9
    MAKE_FIFO = 1 << 10
    MAKE_BLOCK = 1 << 11
    MAKE_SYM = 1 << 12
    REFER = 1 << 13
    TRUNCATE = 1 << 14
    IOCTL_DEV = 1 << 15


READ = Files.READ_FILE | Files.READ_DIR
WRITE = READ | Files.WRITE_FILE | Files.TRUNCATE | Files.REMOVE_FILE | Files.MAKE_REG | Files.MAKE_SOCK
DEVICE = Files.READ_FILE | Files.WRITE_FILE | Files.IOCTL_DEV
_OF_A_FILE = Files.EXECUTE | Files.WRITE_FILE | Files.READ_FILE | Files.TRUNCATE | Files.IOCTL_DEV


class Ports(IntFlag):
    """What may be done with a TCP port, LANDLOCK_ACCESS_NET_*."""

    BIND = 1 << 0
    CONNECT = 1 << 1


_ABSTRACT_SOCKETS, _SIGNALS = 1, 2  # LANDLOCK_SCOPE_*: reaching those of processes outside
_FILES_SINCE = {1: Files.MAKE_SYM, 2: Files.REFER, 3: Files.TRUNCATE, 5: Files.IOCTL_DEV}
_PORTS_SINCE, _SCOPES_SINCE = 4, 6


@dataclass(frozen=True, slots=True)
class Rules:
    """What is left to the process."""

    paths: tuple[tuple[str, Files], ...]
    """Files and folders, which need not exist, with what may be done with them and below them."""
    bind: frozenset[int]
    """TCP ports to listen at; 0 is one that the system chooses."""
    connect: frozenset[int] | None
    """TCP ports to connect to; None: any."""


class LandlockUnavailable(Exception):
    """The kernel has no Landlock, or it is switched off."""


def landlock_version() -> int:
    """Return the version of the kernel's interface, 0 when there is none."""
    version = 0
    if sys.platform == "linux":
        version = int(_libc().syscall(_CREATE_RULESET, None, ctypes.c_size_t(0), _VERSION_FLAG))
    return max(version, 0)


def restrict(rules: Rules) -> int:
    """Give up everything but what the rules leave, for good; return the version of Landlock that sees to it.

    Call it before there are other threads. Raises LandlockUnavailable, or OSError when the kernel refuses.
    """
    version = landlock_version()
    if version < 1:
        raise LandlockUnavailable
    libc = _libc()
    files = _known_files(version)
    ports = Ports.BIND | (Ports.CONNECT if rules.connect is not None else 0) if version >= _PORTS_SINCE else 0
    attributes = struct.pack("=QQQ", files, ports, _ABSTRACT_SOCKETS | _SIGNALS if version >= _SCOPES_SINCE else 0)
    size = 24 if version >= _SCOPES_SINCE else 16 if version >= _PORTS_SINCE else 8
    ruleset = _checked(libc.syscall(_CREATE_RULESET, attributes, ctypes.c_size_t(size), 0))
    try:
        for path, rights in rules.paths:
            _add_path(libc, ruleset, path, rights & files)
        if ports:
            for access, port in _port_rules(rules):
                _checked(libc.syscall(_ADD_RULE, ruleset, _NET_PORT, struct.pack("=QQ", access, port), 0))
        # Without this, programs with more rights than ours could be started and made to act for us.
        _checked(libc.prctl(_PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0))
        _checked(libc.syscall(_RESTRICT_SELF, ruleset, 0))
    finally:
        os.close(ruleset)
    return version


def _libc() -> ctypes.CDLL:
    return ctypes.CDLL(None, use_errno=True)


def _checked(result: int) -> int:
    if result < 0:
        code = ctypes.get_errno()
        raise OSError(code, os.strerror(code))
    return result


def _known_files(version: int) -> int:
    known = max((right for since, right in _FILES_SINCE.items() if since <= version), default=Files.MAKE_SYM)
    return (known << 1) - 1


def _port_rules(rules: Rules) -> Iterable[tuple[int, int]]:
    for port in sorted(rules.bind):
        yield Ports.BIND, port
    for port in sorted(rules.connect or ()):
        yield Ports.CONNECT, port


def _add_path(libc: ctypes.CDLL, ruleset: int, path: str, access: int) -> None:
    if sys.platform == "linux":
        try:
            descriptor = os.open(path, os.O_PATH | os.O_CLOEXEC)
        except OSError as error:
            if error.errno in (errno.ENOENT, errno.ENOTDIR, errno.EACCES):
                return  # what is not there, or is not for us anyway
            raise
        try:
            if not stat.S_ISDIR(os.fstat(descriptor).st_mode):
                access &= _OF_A_FILE
            if access:
                rule = struct.pack("=Qi", access, descriptor)
                _checked(libc.syscall(_ADD_RULE, ruleset, _PATH_BENEATH, rule, 0))
        finally:
            os.close(descriptor)

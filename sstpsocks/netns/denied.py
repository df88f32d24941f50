"""Why a namespace could not be made, and what to try: one sentence for each of the many who may forbid it."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable, Mapping
from pathlib import Path

from ..errors import ConfigError
from .plan import RESOLV_CONF

USERS = "user namespace"
NETWORK = "network namespace"
DEVICE = "device"
LINK = "link"
NAMES = "names"
STEPS = (USERS, NETWORK, DEVICE, LINK, NAMES)
"""What is done, in this order."""

DEVICE_FILE = "/dev/net/tun"
_WITHOUT = "or leave --netns out and use a program that knows proxies"

_SWITCHES = (
    ("/proc/sys/kernel/unprivileged_userns_clone", "0", "sysctl kernel.unprivileged_userns_clone=1"),
    ("/proc/sys/user/max_user_namespaces", "0", "sysctl user.max_user_namespaces=10000"),
    ("/proc/sys/user/max_net_namespaces", "0", "sysctl user.max_net_namespaces=10000"),
    (
        "/proc/sys/kernel/apparmor_restrict_unprivileged_userns",
        "1",
        "sysctl kernel.apparmor_restrict_unprivileged_userns=0",
    ),
)
"""Files of the kernel's settings, the value that forbids it, and what root can say against it."""


def read_setting(path: str) -> str:
    """Return what the kernel says in a file, an empty text when there is none."""
    try:
        return Path(path).read_text(encoding="utf-8").strip()
    except (OSError, ValueError):
        return ""


def denied(step: str, number: int, read: Callable[[str], str] = read_setting) -> ConfigError:
    """Return the error for a step that failed with an errno; ``read`` returns what a file of the kernel holds."""
    reason = os.strerror(number)
    if step == DEVICE:
        return _device_denied(number, reason)
    if step == NAMES:
        return ConfigError(
            f"run --netns: {RESOLV_CONF} could not be replaced in the namespace: {reason}",
            hint=f"It must be there, be it empty, and AppArmor or seccomp must not forbid to mount, {_WITHOUT}",
        )
    what = "the link in it" if step == LINK else f"a {step}"
    text = f"run --netns: this machine does not let us make {what}: {reason}"
    return ConfigError(text, hint=f"{_who_forbids(number, read)}, {_WITHOUT}")


def not_linux(platform: str) -> ConfigError:
    """Return the error for a system without network namespaces."""
    return ConfigError(
        f"run --netns: network namespaces are Linux's, and this is {platform}",
        hint="Leave --netns out and use a program that knows proxies",
    )


def _device_denied(number: int, reason: str) -> ConfigError:
    hints: Mapping[int, str] = {
        errno.ENOENT: f"In a container, add it: --device {DEVICE_FILE}; else load the module: modprobe tun",
        errno.ENODEV: "Load the module as root: modprobe tun",
        errno.ENXIO: "Load the module as root: modprobe tun",
        errno.EACCES: f"As root: chmod 666 {DEVICE_FILE}; in a container: --device {DEVICE_FILE}",
        errno.EPERM: f"In a container, allow it: --device {DEVICE_FILE}; or AppArmor forbids it: {_SWITCHES[-1][2]}",
    }
    hint = hints.get(number, f"Look whether {DEVICE_FILE} can be used")
    return ConfigError(f"run --netns: {DEVICE_FILE} cannot be used: {reason}", hint=f"{hint}, {_WITHOUT}")


def _who_forbids(number: int, read: Callable[[str], str]) -> str:
    for path, forbidding, remedy in _SWITCHES:
        if read(path) == forbidding:
            return f"As root: {remedy}"
    if number in (errno.ENOSPC, errno.EUSERS):
        return "The limit of namespaces is reached: as root, raise user.max_user_namespaces"
    if number in (errno.EINVAL, errno.ENOSYS):
        return "The kernel was built without namespaces: use another"
    if "\nSeccomp:\t2" in read("/proc/self/status"):
        return "A seccomp filter may forbid it, as container engines have: try --security-opt seccomp=unconfined"
    return "A security module or a chroot may forbid it: try outside of it"

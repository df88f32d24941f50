"""Who does not let us make a namespace, and what is said about it; and that making it fails as is told."""

from __future__ import annotations

import errno
import os
import sys
from pathlib import Path

import pytest

from sstpsocks.errors import ConfigError
from sstpsocks.netns import denied, namespace
from sstpsocks.netns.denied import DEVICE, LINK, NAMES, NETWORK, USERS, not_linux
from sstpsocks.netns.namespace import Namespace
from sstpsocks.netns.plan import Plan

PLAN = Plan(mtu=1400, resolv_conf=b"nameserver 192.0.0.1\n", nsswitch_conf=None)
linux_only = pytest.mark.skipif(not Path("/proc/self/ns/user").exists(), reason="namespaces are Linux's")


def reader(**files: str) -> dict[str, str]:
    return files


@pytest.mark.parametrize(
    ("step", "number", "files", "text", "hint"),
    [
        (
            USERS, errno.EPERM, {"/proc/sys/kernel/unprivileged_userns_clone": "0"},
            "does not let us make a user namespace: Operation not permitted",
            "sysctl kernel.unprivileged_userns_clone=1",
        ),
        (
            USERS, errno.ENOSPC, {"/proc/sys/user/max_user_namespaces": "0"},
            "No space left", "sysctl user.max_user_namespaces=10000",
        ),
        (USERS, errno.ENOSPC, {}, "No space left", "The limit of namespaces is reached"),
        (
            NETWORK, errno.EPERM, {"/proc/sys/kernel/apparmor_restrict_unprivileged_userns": "1"},
            "a network namespace", "apparmor_restrict_unprivileged_userns=0",
        ),
        (
            USERS, errno.EPERM, {"/proc/self/status": "Name:\tx\nSeccomp:\t2\n"},
            "a user namespace", "--security-opt seccomp=unconfined",
        ),
        (USERS, errno.EPERM, {}, "a user namespace", "A security module or a chroot"),
        (USERS, errno.EINVAL, {}, "a user namespace", "The kernel was built without"),
        (DEVICE, errno.ENOENT, {}, "/dev/net/tun cannot be used: No such file", "--device /dev/net/tun"),
        (DEVICE, errno.EACCES, {}, "/dev/net/tun cannot be used: Permission denied", "chmod 666 /dev/net/tun"),
        (DEVICE, errno.EPERM, {}, "/dev/net/tun cannot be used", "--device /dev/net/tun"),
        (DEVICE, errno.ENODEV, {}, "/dev/net/tun cannot be used", "modprobe tun"),
        (DEVICE, errno.EBUSY, {}, "/dev/net/tun cannot be used", "Look whether"),
        (LINK, errno.EPERM, {}, "the link in it", "A security module"),
        (NAMES, errno.ENOENT, {}, "/etc/resolv.conf could not be replaced", "It must be there"),
    ],
)  # fmt: skip
def test_one_sentence_says_who_forbids_it_and_what_to_try(
    step: str, number: int, files: dict[str, str], text: str, hint: str
) -> None:
    error = denied.denied(step, number, lambda path: files.get(path, ""))
    assert text in str(error)
    assert hint in error.hint
    assert error.hint.endswith("or leave --netns out and use a program that knows proxies")


def test_other_systems_have_none() -> None:
    assert "Linux's, and this is darwin" in str(not_linux("darwin"))


@linux_only
def test_what_the_kernel_says_of_itself_is_read_or_is_nothing(tmp_path: Path) -> None:
    (tmp_path / "setting").write_text("1\n")
    assert denied.read_setting(str(tmp_path / "setting")) == "1"
    assert denied.read_setting(str(tmp_path / "none")) == ""


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))


@linux_only
@pytest.mark.parametrize(
    ("method", "number", "text"),
    [
        ("_make_user_namespace", errno.EPERM, "a user namespace: Operation not permitted"),
        ("_call", errno.ENOSPC, "a user namespace: No space left"),
        ("_open_device", errno.ENOENT, "/dev/net/tun cannot be used: No such file"),
        ("_configure", errno.EPERM, "the link in it: Operation not permitted"),
        ("_replace_names", errno.ENOENT, "/etc/resolv.conf could not be replaced"),
    ],
)
def test_a_step_that_fails_in_the_other_process_is_told_here_and_leaves_nothing(
    monkeypatch: pytest.MonkeyPatch, method: str, number: int, text: str
) -> None:
    if sys.platform == "win32":
        raise OSError("Linux only")

    def fail(*arguments: object) -> None:
        raise OSError(number, os.strerror(number))

    earlier = ("_make_user_namespace", "_call", "_open_device", "_configure")
    if method not in ("_make_user_namespace", "_call"):
        # The steps before it do nothing, so that it is reached also where they are not allowed.
        for name in earlier[: earlier.index(method) if method in earlier else len(earlier)]:
            monkeypatch.setattr(Namespace, name, lambda *arguments: os.dup(0) if len(arguments) == 1 else 0)
    before = descriptors()
    it = Namespace(PLAN)
    monkeypatch.setattr(Namespace, method, fail)
    with pytest.raises(ConfigError) as caught:
        it.rehearse()
    it.close()
    assert text in str(caught.value)
    assert descriptors() == before
    with pytest.raises(ChildProcessError):
        os.waitpid(-1, os.WNOHANG)


@linux_only
def test_a_process_that_ends_without_a_word_is_an_error_too(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(namespace.Namespace, "enter", lambda self: None)
    it = Namespace(PLAN)
    with pytest.raises(ConfigError):
        it.rehearse()
    assert "user namespace" in str(it.failure())
    it.close()

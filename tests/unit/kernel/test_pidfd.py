"""Identity by pidfd, start time and boot: never a bare pid (rule S3)."""

from __future__ import annotations

import errno
import os
import signal
from collections.abc import Iterator

import msgspec
import pytest

from bento import command
from bento.errors import KernelError
from bento.kernel.process import pidfd

LIMIT_S = 20.0


@pytest.fixture
def child() -> Iterator[command.Child]:
    started = command.spawn(["sleep", "600"])
    yield started
    started.kill()


@pytest.fixture
def identity(child):
    fd, known = pidfd.identify(child.pid)
    os.close(fd)
    return known


def test_s03_the_same_process_is_recognised(child, identity):
    fd = pidfd.open_verified(identity)
    assert fd is not None
    try:
        assert not pidfd.has_exited(fd)
        assert pidfd.send(fd, signal.SIGKILL)
        assert pidfd.wait(child.pidfd, LIMIT_S)
        assert pidfd.has_exited(fd)
    finally:
        os.close(fd)


def test_s03_another_start_time_is_another_process(identity):
    assert pidfd.open_verified(msgspec.structs.replace(identity, start_ticks=identity.start_ticks + 1)) is None


def test_s03_another_boot_is_another_process(identity):
    assert pidfd.open_verified(msgspec.structs.replace(identity, boot_id="0" * 36)) is None


def test_s03_another_pid_namespace_is_another_process(identity):
    assert identity.pid_ns == os.stat("/proc/self/ns/pid").st_ino
    assert pidfd.open_verified(msgspec.structs.replace(identity, pid_ns=identity.pid_ns + 1)) is None
    fd = pidfd.open_verified(msgspec.structs.replace(identity, pid_ns=0))  # as an older version has recorded it
    assert fd is not None
    os.close(fd)


@pytest.mark.parametrize("pid", [1, 0, -1, 2**22 + 1])
def test_s03_no_identity_is_believed_for_impossible_pids(identity, pid):
    assert pidfd.open_verified(msgspec.structs.replace(identity, pid=pid)) is None


def test_s03_a_zombie_counts_as_gone(child, identity):
    pidfd.send(child.pidfd, signal.SIGKILL)
    assert pidfd.wait(child.pidfd, LIMIT_S)
    assert pidfd.open_verified(identity) is None
    with pytest.raises(KernelError) as caught:
        pidfd.identify(child.pid)
    assert caught.value.errno == errno.ESRCH


def test_s03_the_reaped_are_gone(child, identity):
    child.kill()
    assert pidfd.open_verified(identity) is None
    with pytest.raises(KernelError):
        pidfd.identify(child.pid)


def test_nothing_is_left_open_by_a_refusal(child, identity):
    before = os.listdir("/proc/self/fd")
    pidfd.open_verified(msgspec.structs.replace(identity, start_ticks=1))
    assert os.listdir("/proc/self/fd") == before


def test_a_signal_to_the_reaped_says_so(child):
    fd = os.dup(child.pidfd)
    try:
        child.kill()
        assert not pidfd.send(fd, signal.SIGTERM)
    finally:
        os.close(fd)


def test_a_signal_that_does_not_exist_is_an_error(child):
    with pytest.raises(KernelError) as caught:
        pidfd.send(child.pidfd, 65)
    assert caught.value.errno == errno.EINVAL


def test_waiting_ends_with_the_time_or_the_process(child):
    assert not pidfd.wait(child.pidfd, 0.0)
    assert not pidfd.wait(child.pidfd, 0.003)
    assert pidfd.exit_status(child.pidfd) is None
    pidfd.send(child.pidfd, signal.SIGKILL)
    assert pidfd.wait(child.pidfd, None)


def test_boot_id_stays_the_same():
    assert len(pidfd.boot_id()) == 36
    assert pidfd.boot_id() == pidfd.boot_id()

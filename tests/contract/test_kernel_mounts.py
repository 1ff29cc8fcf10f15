"""Mounts and mount namespaces on the real kernel."""

from __future__ import annotations

import errno
import os
import signal
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from bento import command
from bento.errors import KernelError
from bento.kernel import mount, mountinfo, namespace
from bento.kernel.process import pidfd

LIMIT_S = 20.0


class Layers:
    """The directories of one overlay."""

    def __init__(self, base: Path) -> None:
        self.top, self.bottom = base / "top", base / "bottom"
        self.upper, self.work, self.target = base / "upper", base / "work", base / "rootfs"
        for directory in (self.top, self.bottom, self.upper, self.work, self.target):
            directory.mkdir(parents=True)
        for layer in (self.top, self.bottom):
            (layer / "who").write_text(layer.name)
            (layer / f"only-{layer.name}").touch()

    def mount(self, how: Callable[..., None] = mount.overlay) -> None:
        how(self.target, lower=[str(self.top), str(self.bottom)], upper=self.upper, work=self.work)


@pytest.fixture
def base(leak_check) -> Path:
    """On a filesystem that can carry an upper directory."""
    return leak_check.base


@pytest.fixture
def layers(base: Path) -> Layers:
    return Layers(base)


@pytest.fixture
def holder(layers: Layers) -> Iterator[command.Child]:
    """A process whose private namespace has the overlay, as a monitor's has."""

    def start() -> command.Child:
        layers.mount()
        return command.spawn(["sleep", "600"])

    child = namespace.in_private_mounts(start)
    yield child
    child.kill()


WAYS = [mount.overlay, mount._overlay_by_string]


@pytest.mark.parametrize("how", WAYS, ids=["by layer", "by option string"])
def test_an_overlay_shows_its_layers_and_writes_to_the_upper_one(layers, how):
    def use() -> tuple[set[str], str]:
        layers.mount(how)
        (layers.target / "new").write_text("written")
        return set(os.listdir(layers.target)), (layers.target / "who").read_text()

    names, top = namespace.in_private_mounts(use)
    assert names == {"who", "only-top", "only-bottom", "new"}
    assert top == "top"
    assert (layers.upper / "new").read_text() == "written"
    assert os.listdir(layers.target) == []


@pytest.mark.parametrize("how", WAYS, ids=["by layer", "by option string"])
def test_paths_of_any_shape_and_length_can_be_layers(base, how):
    odd = Layers(base / ("colon:comma,back\\slash space" + "x" * 100) / ("y" * 150))

    def use() -> set[str]:
        odd.mount(how)
        return set(os.listdir(odd.target))

    assert namespace.in_private_mounts(use) == {"who", "only-top", "only-bottom"}


@pytest.mark.parametrize("how", WAYS, ids=["by layer", "by option string"])
def test_many_layers_fit(base, how):
    lower = [base / f"{number:03}{'z' * 60}" for number in range(100)]
    for number, layer in enumerate(lower):
        layer.mkdir()
        (layer / f"f{number}").touch()
    layers = Layers(base / "o")

    def use() -> int:
        how(layers.target, lower=[str(layer) for layer in lower], upper=layers.upper, work=layers.work)
        return len(os.listdir(layers.target))

    assert namespace.in_private_mounts(use) == 100


def test_a_layer_that_is_missing_is_named(layers):
    def use() -> None:
        mount.overlay(layers.target, lower=["/no/such/layer"], upper=layers.upper, work=layers.work)

    with pytest.raises(KernelError) as caught:
        namespace.in_private_mounts(use)
    assert "/no/such/layer" in str(caught.value)


def test_the_host_never_sees_a_private_mount(layers, holder):
    assert str(layers.target) not in {entry.target for entry in mountinfo.mount_table()}
    assert str(layers.target) not in {entry.target for entry in mountinfo.mount_table(1)}
    (seen,) = [entry for entry in mountinfo.mount_table(holder.pid) if entry.target == str(layers.target)]
    assert seen.fstype == "overlay"
    assert f"upperdir={layers.upper}" in seen.options


def test_s22_the_kernel_says_what_is_in_use_and_when_no_more(layers, holder):
    assert mount.is_upper_in_use(layers.upper)
    holder.kill()
    # The namespace ends with its last process, before that process counts as exited.
    assert not mount.is_upper_in_use(layers.upper)


def test_asking_leaves_no_trace_and_keeps_nothing(layers):
    def state() -> list[object]:
        return [
            (path, sorted(os.listdir(path)), sorted(os.listxattr(path)), path.stat().st_mtime_ns)
            for path in (layers.upper, layers.work)
        ]

    before = state()
    for _ in range(3):
        assert not mount.is_upper_in_use(layers.upper)
    assert state() == before
    namespace.in_private_mounts(layers.mount)


def test_asking_does_not_disturb_a_mount_in_use(layers, holder):
    for _ in range(3):
        assert mount.is_upper_in_use(layers.upper)
    names = namespace.in_mounts_of(holder.pidfd, lambda: os.listdir(layers.target))
    assert "who" in names


def test_unmounting_needs_nothing_inside(layers):
    def use() -> None:
        layers.mount()
        fd = os.open(layers.target / "who", os.O_RDONLY)
        try:
            with pytest.raises(KernelError):
                mount.unmount(layers.target)
        finally:
            os.close(fd)
        mount.unmount(layers.target)
        assert os.listdir(layers.target) == []

    namespace.in_private_mounts(use)


def test_what_a_forked_copy_of_a_descriptor_holds_can_be_taken_away_all_the_same(layers):
    def try_it() -> tuple[int, bool]:
        layers.mount()
        held = os.open(layers.target, os.O_PATH | os.O_CLOEXEC)
        try:
            with pytest.raises(KernelError) as caught:
                mount.unmount(layers.target)
            mount.detach(layers.target)
            table = mountinfo.mount_table(threading.get_native_id())
            return caught.value.errno, any(entry.target == str(layers.target) for entry in table)
        finally:
            os.close(held)

    assert namespace.in_private_mounts(try_it) == (errno.EBUSY, False)
    assert list(layers.target.iterdir()) == []


def test_a_child_is_born_into_its_threads_namespace_and_root_directory():
    def look() -> list[str]:
        own = os.readlink("/proc/thread-self/ns/mnt")
        return [
            own,
            *command.run(["readlink", "/proc/self/ns/mnt", "/proc/self/cwd"], timeout_s=LIMIT_S).stdout.split(),
        ]

    here, where = os.readlink("/proc/self/ns/mnt"), os.getcwd()
    own, childs, cwd = namespace.in_private_mounts(look)
    assert own == childs != here
    assert cwd == "/"
    assert (os.readlink("/proc/self/ns/mnt"), os.getcwd()) == (here, where)


def test_a_mount_on_the_host_ends_in_the_private_namespace_too(base):
    """Else a monitor would keep every filesystem busy that was mounted when it began."""
    point = base / "host-mount"
    point.mkdir()

    def play_host() -> tuple[bool, bool]:
        # A shared tree in a namespace of its own plays the host.
        done = command.run(["mount", "--make-rshared", "/"], timeout_s=LIMIT_S)
        assert done.returncode == 0, done.stderr
        assert command.run(["mount", "-t", "tmpfs", "x", str(point)], timeout_s=LIMIT_S).returncode == 0
        child = namespace.in_private_mounts(lambda: command.spawn(["sleep", "600"]))
        try:
            before = str(point) in {entry.target for entry in mountinfo.mount_table(child.pid)}
            mount.unmount(point)
            return before, str(point) in {entry.target for entry in mountinfo.mount_table(child.pid)}
        finally:
            child.kill()

    assert namespace.in_private_mounts(play_host) == (True, False)


def test_another_processs_namespace_can_be_entered(layers, holder):
    here = os.readlink("/proc/self/ns/mnt")
    inside = namespace.in_mounts_of(
        holder.pidfd, lambda: (os.readlink("/proc/thread-self/ns/mnt"), os.listdir(layers.target))
    )
    assert inside[0] == os.readlink(f"/proc/{holder.pid}/ns/mnt") != here
    assert "who" in inside[1]
    assert os.listdir(layers.target) == []


def test_the_namespace_of_the_dead_cannot_be_entered(holder):
    pidfd.send(holder.pidfd, signal.SIGKILL)
    assert pidfd.wait(holder.pidfd, LIMIT_S)
    with pytest.raises(KernelError):
        namespace.in_mounts_of(holder.pidfd, os.getcwd)


def test_exceptions_come_through():
    def fail() -> None:
        raise ZeroDivisionError("from inside")

    with pytest.raises(ZeroDivisionError, match="from inside"):
        namespace.in_private_mounts(fail)


def test_an_interrupted_wait_does_not_leave_the_work_behind():
    finished = []

    def work() -> None:
        os.kill(os.getpid(), signal.SIGINT)
        time.sleep(0.05)
        finished.append(True)

    with pytest.raises(KeyboardInterrupt):
        namespace.in_private_mounts(work)
    assert finished

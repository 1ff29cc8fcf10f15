"""Namespaces of pods on the kernel: kept by mounts alone, let go whole, and kept by nothing else."""

from __future__ import annotations

import os
import socket
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bento.drivers.pod.base import PodDriver
from bento.drivers.pod.pins import PodPins
from bento.drivers.storage.user_namespace import UserNamespaces
from bento.errors import UsageError
from bento.kernel import mountinfo
from bento.kernel.namespace import in_given, in_network, in_private_mounts
from bento.model.namespaces.mapping import IdMapping, IdRange
from bento.model.pods import Pin
from bento.testing.pods import FakePods

from support import leaks
from support.cli import Roots

ID, OTHER = "a1" * 32, "b2" * 32
KINDS = ("net", "ipc", "uts")


@pytest.fixture(params=[PodPins, FakePods])
def pods(request: pytest.FixtureRequest, roots: Roots) -> Iterator[PodDriver]:
    roots.run_root.mkdir()
    driver: PodDriver = request.param(roots.run_root)
    yield driver
    for pod_id in driver.ids():
        driver.remove(pod_id)


@pytest.fixture
def pins(roots: Roots) -> Iterator[PodPins]:
    roots.run_root.mkdir()
    made = PodPins(roots.run_root)
    yield made
    for pod_id in made.ids():
        made.remove(pod_id)


def open_all(pods: PodDriver, kept: tuple[Pin, ...]) -> list[int | None]:
    found = [pods.open(ID, pin) for pin in kept]
    for fd in found:
        if fd is not None:
            os.close(fd)
    return found


def test_what_is_made_is_there_until_it_is_removed(pods: PodDriver) -> None:
    kept = pods.make(ID, KINDS, hostname="box", sysctls={})
    assert {pin.kind for pin in kept} == set(KINDS)
    assert pods.is_whole(ID, kept)
    assert pods.ids() == [ID]
    assert None not in open_all(pods, kept)
    assert not pods.is_whole(ID, [Pin("net", 1)])
    again = pods.make(ID, KINDS, hostname="box", sysctls={})  # as after a process that was killed
    assert pods.is_whole(ID, again)  # the kernel may have given them the same numbers
    pods.remove(ID)
    assert not pods.is_whole(ID, again)
    assert open_all(pods, again) == [None] * 3
    assert pods.open_shm(ID) is None
    assert pods.ids() == []
    pods.remove(ID)


def test_those_of_a_user_namespace_are_kept_and_set(pins: PodPins) -> None:
    first = 1_000_000
    ids = IdMapping(uids=(IdRange(0, first, 9),), gids=(IdRange(0, first + 1, 9),))
    given = UserNamespaces().namespaces(ids, KINDS)
    sysctls = {"net.core.somaxconn": "77", "kernel.shmmni": "99"}
    try:
        kept = pins.make(ID, KINDS, hostname="box", sysctls=sysctls, given=given, root=ids.root)
        assert {pin.kind: pin.inode for pin in kept} == {kind: os.fstat(fd).st_ino for kind, fd in given.items()}
        read = Path("/proc/sys/kernel/shmmni").read_text
        assert in_given([given["ipc"]], lambda: (read(), os.geteuid())) == ("99\n", 0)
        assert in_given([given["uts"]], socket.gethostname) == "box"
        with pytest.raises(UsageError, match=r"kernel\.nope"):
            pins.make(OTHER, KINDS, sysctls={"kernel.nope": "1"}, given=given, root=ids.root)
    finally:
        for fd in given.values():
            os.close(fd)
    assert pins.is_whole(ID, kept)
    shm = pins.open_shm(ID)
    assert shm is not None
    assert (os.fstat(shm).st_uid, os.fstat(shm).st_gid) == ids.root
    os.close(shm)
    assert pins.ids() == [ID]


def test_they_are_what_was_asked_for(pins: PodPins) -> None:
    own = {kind: os.stat(f"/proc/self/ns/{kind}").st_ino for kind in KINDS}
    sysctls = {"net.core.somaxconn": "77", "kernel.shmmni": "99"}
    kept = pins.make(ID, KINDS, hostname="box", sysctls=sysctls, shm_bytes=1 << 20)
    assert all(pin.inode != own[pin.kind] for pin in kept)
    assert socket.gethostname() != "box"
    fd = pins.open(ID, next(pin for pin in kept if pin.kind == "net"))
    assert fd is not None
    with open(fd, "rb", buffering=0):
        assert in_network(fd, lambda: Path("/proc/sys/net/core/somaxconn").read_text(encoding="ascii")) == "77\n"
        in_network(fd, lambda: socket.create_server(("127.0.0.1", 0)).close())  # the loopback is up
    shm = pins.open_shm(ID)
    assert shm is not None
    found = os.fstatvfs(shm)
    os.close(shm)
    assert found.f_blocks * found.f_frsize == 1 << 20
    with pytest.raises(UsageError, match=r"net\.nosuch"):
        pins.make(OTHER, KINDS, sysctls={"net.nosuch": "1"})
    assert pins.ids() == [ID]


def test_other_mount_namespaces_let_go_of_them_with_the_host(pins: PodPins) -> None:
    pins.make(ID, KINDS, sysctls={})
    place = str(pins.directory(ID))
    words = ["unshare", "-m", "--propagation", "slave", "sh", "-c", "echo ready; read line"]
    with subprocess.Popen(words, stdin=subprocess.PIPE, stdout=subprocess.PIPE) as other:
        assert other.stdout is not None
        assert other.stdout.readline() == b"ready\n"
        table = Path(f"/proc/{other.pid}/mountinfo")
        assert place in table.read_text(encoding="utf-8")
        pins.remove(ID)
        assert place not in table.read_text(encoding="utf-8")
        other.communicate(b"\n")


def test_a_mount_namespace_that_was_made_meanwhile_keeps_none_of_them(pins: PodPins, roots: Roots) -> None:
    pins.make(ID, KINDS, sysctls={})
    place = str(roots.run_root / "pods")

    def seen() -> list[str]:
        return [entry.target for entry in mountinfo.mount_table() if entry.target.startswith(place)]

    assert len(seen()) == 5  # the place, three namespaces, the shared memory
    assert len(in_private_mounts(seen)) == 5
    assert in_private_mounts(seen, without=place) == []
    pins.make(OTHER, ["net"], sysctls={})
    pins.remove(ID)
    assert len(seen()) == 2
    pins.remove(OTHER)
    assert seen() == []
    assert not os.path.exists(place)
    assert leaks.mounts_naming(place) == []

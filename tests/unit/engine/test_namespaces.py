"""What may be asked of namespaces, and what a container shares with another one."""

from __future__ import annotations

import pytest

from bento.engine.lifecycle import sandboxing, sharing
from bento.engine.lifecycle.remove import remove
from bento.errors import Conflict, NotFound, UsageError, WrongState
from bento.model.container import Namespaces, Sandbox, Status
from bento.model.create import CreateOptions
from bento.testing.drivers import FakeDrivers


@pytest.mark.parametrize(
    "asked",
    [
        {"namespaces": Namespaces(uts="host"), "hostname": "web"},
        {"namespaces": Namespaces(cgroup="host"), "system": True},
        {"namespaces": Namespaces(user="keep-id")},
        {"namespaces": Namespaces(user="auto", pid="host")},
        {"namespaces": Namespaces(user="auto", ipc="container:x")},
        {"namespaces": Namespaces(user="auto", cgroup="host")},
        {"namespaces": Namespaces(user="auto"), "network": "host"},
        {"namespaces": Namespaces(user="auto"), "network": "container:x"},
        {"namespaces": Namespaces(user="auto"), "sandbox": Sandbox(privileged=True)},
        {"namespaces": Namespaces(user="auto"), "system": True},
        {"namespaces": Namespaces(user="auto"), "pod": "p"},
        {"namespaces": Namespaces(ipc="host"), "sandbox": Sandbox(shm_bytes=1 << 20)},
        {"namespaces": Namespaces(ipc="none"), "sandbox": Sandbox(shm_bytes=1 << 20)},
        {"namespaces": Namespaces(ipc="host"), "sandbox": Sandbox(sysctls={"kernel.shmmax": "1"})},
        {"namespaces": Namespaces(ipc="container:x"), "sandbox": Sandbox(sysctls={"fs.mqueue.msg_max": "1"})},
    ],
    ids=str,
)
def test_what_contradicts_itself_or_is_not_there_is_refused(asked) -> None:
    with pytest.raises(UsageError):
        sandboxing.check(CreateOptions(image="host", **asked))


def test_what_is_the_machines_may_be_asked_for() -> None:
    sandboxing.check(CreateOptions(image="host", namespaces=Namespaces(user="auto:size=10"), network="none"))
    all_of_them = Namespaces(uts="host", cgroup="host", user="host", ipc="host")
    sandboxing.check(CreateOptions(image="host", namespaces=all_of_them))
    open_one = Namespaces(ipc="shareable")
    sandboxing.check(CreateOptions(image="host", namespaces=open_one, sandbox=Sandbox(shm_bytes=1 << 20)))


def test_one_whose_namespaces_are_shared_goes_where_that_is_said_and_one_that_is_required_does_not(
    drivers: FakeDrivers,
) -> None:
    giver = drivers.add("giver", None, status=Status.STOPPED)
    drivers.add("sharer", None, status=Status.STOPPED, network=f"container:{giver.id}", requires=(giver.id,))
    other = drivers.add("other", None, status=Status.STOPPED)
    drivers.add("needs", None, status=Status.STOPPED, requires=(other.id,))
    with pytest.raises(Conflict, match="is required by sharer"):
        remove(drivers, "giver")
    assert remove(drivers, "giver", shared=True).id == giver.id
    with pytest.raises(Conflict, match="is required by needs"):
        remove(drivers, "other", shared=True)


def shared_memory(drivers: FakeDrivers, mode: str) -> str:
    return sharing.resolve(drivers, Namespaces(ipc=mode)).ipc


def test_shared_memory_is_shared_by_those_that_say_so_alone(drivers: FakeDrivers) -> None:
    open_one, _ = drivers.server("open", namespaces=Namespaces(ipc="shareable"))
    drivers.server("closed")
    assert shared_memory(drivers, "container:open") == f"container:{open_one.id}"
    with pytest.raises(UsageError, match="--ipc shareable"):
        shared_memory(drivers, "container:closed")
    with pytest.raises(NotFound):
        shared_memory(drivers, "container:nosuch")
    with pytest.raises(UsageError, match="bad IPC namespace"):
        shared_memory(drivers, "container:")
    for mode in ("", "private", "shareable", "none", "host"):
        assert shared_memory(drivers, mode) == mode


def test_one_that_does_not_run_shares_nothing(drivers: FakeDrivers) -> None:
    _, main = drivers.server("open", namespaces=Namespaces(ipc="shareable"))
    drivers.processes.end(main, 9)
    with pytest.raises(WrongState, match="does not run"):
        shared_memory(drivers, "container:open")

"""What may be asked of namespaces, and what a container shares with another one."""

from __future__ import annotations

import pytest

from bento.engine.lifecycle import sandboxing, sharing
from bento.errors import NotFound, UsageError, WrongState
from bento.model.container import Sandbox
from bento.model.create import CreateOptions
from bento.testing.drivers import FakeDrivers


@pytest.mark.parametrize(
    "asked",
    [
        {"uts": "host", "hostname": "web"},
        {"cgroupns": "host", "system": True},
        {"userns": "keep-id"},
        {"userns": "auto"},
        {"ipc": "host", "sandbox": Sandbox(shm_bytes=1 << 20)},
        {"ipc": "none", "sandbox": Sandbox(shm_bytes=1 << 20)},
        {"ipc": "host", "sandbox": Sandbox(sysctls={"kernel.shmmax": "1"})},
        {"ipc": "container:x", "sandbox": Sandbox(sysctls={"fs.mqueue.msg_max": "1"})},
    ],
    ids=str,
)
def test_what_contradicts_itself_or_is_not_there_is_refused(asked) -> None:
    with pytest.raises(UsageError):
        sandboxing.check(CreateOptions(image="host", **asked))


def test_what_is_the_machines_may_be_asked_for() -> None:
    sandboxing.check(CreateOptions(image="host", uts="host", cgroupns="host", userns="host", ipc="host"))
    sandboxing.check(CreateOptions(image="host", ipc="shareable", sandbox=Sandbox(shm_bytes=1 << 20)))


def test_shared_memory_is_shared_by_those_that_say_so_alone(drivers: FakeDrivers) -> None:
    open_one, _ = drivers.server("open", ipc="shareable")
    drivers.server("closed")
    assert sharing.resolve_ipc(drivers, "container:open") == f"container:{open_one.id}"
    with pytest.raises(UsageError, match="--ipc shareable"):
        sharing.resolve_ipc(drivers, "container:closed")
    with pytest.raises(NotFound):
        sharing.resolve_ipc(drivers, "container:nosuch")
    with pytest.raises(UsageError, match="bad IPC namespace"):
        sharing.resolve_ipc(drivers, "container:")
    for mode in ("", "private", "shareable", "none", "host"):
        assert sharing.resolve_ipc(drivers, mode) == mode


def test_one_that_does_not_run_shares_nothing(drivers: FakeDrivers) -> None:
    _, main = drivers.server("open", ipc="shareable")
    drivers.processes.end(main, 9)
    with pytest.raises(WrongState, match="does not run"):
        sharing.resolve_ipc(drivers, "container:open")

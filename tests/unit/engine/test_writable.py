"""What is given to a container's user, and what may be written to when its root filesystem may not."""

from __future__ import annotations

from pathlib import Path

import pytest

from bento.engine.facade import EngineFacade
from bento.engine.resources import mounting
from bento.errors import UsageError
from bento.model.container import Files, Mount
from bento.testing.drivers import FakeDrivers


@pytest.mark.parametrize("source", ["/", "/etc", "/usr/lib", "/home", "/etc/../etc"])
def test_the_machines_own_directories_are_not_given_away(source: str) -> None:
    with pytest.raises(UsageError, match="machine's own"):
        mounting.check([Mount(kind="bind", source=source, destination="/d", chown=True)])
    mounting.check([Mount(kind="bind", source=source, destination="/d")])


def test_a_directory_of_the_users_may_be_given(tmp_path: Path) -> None:
    mounting.check([Mount(kind="bind", source=str(tmp_path), destination="/d", chown=True)])


def test_a_volume_is_given_as_the_directory_that_it_is(drivers: FakeDrivers) -> None:
    made, _ = drivers.server("w", files=Files(mounts=(Mount(kind="volume", source="v", destination="/v", chown=True),)))
    assert [mount.chown for mount in mounting.bound(drivers, made.spec)] == [True]
    assert EngineFacade(drivers).get("w").spec.files.mounts[0].chown


def test_what_programs_write_to_is_in_memory_where_nothing_else_is() -> None:
    own = Mount(kind="volume", source="v", destination="/tmp/")
    mounts = mounting.with_writable((own,))
    assert [(mount.kind, mount.destination) for mount in mounts] == [
        ("volume", "/tmp/"),
        ("tmpfs", "/run"),
        ("tmpfs", "/var/tmp"),
    ]
    assert mounts[1].options == ("mode=755",)

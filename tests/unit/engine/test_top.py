"""The processes of a container, and of one whose processes the host does not see."""

from __future__ import annotations

import pytest
from msgspec.structs import replace

from bento.drivers.runtime import output
from bento.engine.views import top
from bento.errors import RuntimeFailed, UsageError, WrongState
from bento.model.container import Container, Status
from bento.testing.drivers import FakeDrivers

RUNSC = """\
UID       PID       PPID      C         TTY       STIME     TIME      CMD
0         1         0         6         ?         06:54     0s        sleep
"""


@pytest.fixture
def web(drivers: FakeDrivers) -> Container:
    return drivers.server()[0]


def test_ps_is_asked_as_docker_asks_it(drivers: FakeDrivers, web: Container) -> None:
    assert top.top(drivers, web, []).titles == ("PID", "CMD")
    top.top(drivers, web, ["-o", "pid"])

    assert drivers.usage.asked == [("-ef",), ("-o", "pid")]


@pytest.mark.parametrize("status", [Status.CREATED, Status.STOPPED, Status.RESTARTING, Status.STARTING])
def test_what_does_not_run_has_no_processes(drivers: FakeDrivers, web: Container, status: Status) -> None:
    with pytest.raises(WrongState, match="not running"):
        top.top(drivers, replace(web, status=status), [])


def test_runtime_lists_what_the_host_does_not_see(drivers: FakeDrivers, web: Container) -> None:
    assert web.run is not None
    hidden = replace(web, run=replace(web.run, shows_processes=False))

    assert top.top(drivers, hidden, []).rows == (("1", "server"),)
    assert drivers.fake_runtime.calls == [("ps", web.id)]
    with pytest.raises(UsageError, match="table of its own"):
        top.top(drivers, hidden, ["aux"])


def test_table_of_runsc_is_read() -> None:
    found = output.process_table(RUNSC)

    assert found.titles == ("UID", "PID", "PPID", "C", "TTY", "STIME", "TIME", "CMD")
    assert found.rows == (("0", "1", "0", "6", "?", "06:54", "0s", "sleep"),)
    with pytest.raises(RuntimeFailed):
        output.process_table("[1]")

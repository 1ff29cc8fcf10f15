"""What the usage driver says of real processes."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator

import pytest
from msgspec.structs import replace

from bento.drivers.usage.linux import LinuxUsage
from bento.errors import UsageError
from bento.kernel.process import pidfd
from bento.model.container import ProcessIdentity, Run


@pytest.fixture
def run() -> Iterator[Run]:
    with subprocess.Popen(["sleep", "600"]) as process:
        init = ProcessIdentity(process.pid, 1, pidfd.boot_id())
        yield Run(number=1, runtime="crun", init=init)
        process.kill()


@pytest.mark.parametrize("options", [["-ef"], ["aux"], ["-eo", "comm,pid"], ["axf"]])
def test_ps_lists_the_containers_processes_alone(run: Run, options: list[str]) -> None:
    assert run.init is not None

    table = LinuxUsage().process_table(run, options)

    at = table.titles.index("PID")
    assert [row[at] for row in table.rows] == [str(run.init.pid)]
    assert {len(row) for row in table.rows} == {len(table.titles)}


@pytest.mark.parametrize("options", [["--bogus"], ["-o", "bogus"], ["-o", "comm"]])
def test_options_that_ps_refuses_are_an_error_in_its_words(run: Run, options: list[str]) -> None:
    with pytest.raises(UsageError):
        LinuxUsage().process_table(run, options)


def test_sample_of_a_process_and_of_one_that_is_not_it(run: Run) -> None:
    assert run.init is not None
    driver = LinuxUsage()
    machine = driver.machine()
    assert machine.memory_bytes > 0
    assert 0 < machine.cpus <= machine.cpu_ns

    assert driver.sample(run, machine) is None  # its start time is another one's

    fd, identity = pidfd.identify(run.init.pid)
    os.close(fd)
    found = driver.sample(replace(run, init=identity), machine)
    assert found is not None
    assert (found.pids, found.links, found.memory_limit_bytes) == (1, (), machine.memory_bytes)

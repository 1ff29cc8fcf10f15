"""What the usage driver says of real processes."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator

import pytest

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

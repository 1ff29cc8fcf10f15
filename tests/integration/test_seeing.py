"""What runs in containers, and what it takes of the machine."""

from __future__ import annotations

from support.cli import BentoCli
from support.workload import ONE_RUNTIME

pytestmark = ONE_RUNTIME


def test_top_lists_the_containers_processes_by_the_hosts_pids(bento: BentoCli) -> None:
    bento.run("--name", "w", "host", "/bin/sh", "-c", "sleep 1001 & echo ready; wait")
    bento.wait_for_log("w", "ready")
    bento("exec", "-d", "w", "sleep", "1002")

    heading, *lines = bento("top", "w").stdout.splitlines()

    assert heading.split() == ["UID", "PID", "PPID", "C", "STIME", "TTY", "TIME", "CMD"]
    assert len(lines) == 3  # that of exec, too
    assert lines[0].split()[7:9] == ["/bin/sh", "-c"]
    assert int(lines[0].split()[1]) == bento.inspect("w")["State"]["Pid"]
    assert bento("top", "w", "-o", "pid,comm").stdout.splitlines()[0].split() == ["PID", "COMMAND"]
    assert "unknown gnu long option" in bento.fails("top", "w", "--bogus", code=2)
    bento("stop", "-t", "0", "w")
    assert "not running" in bento.fails("top", "w")

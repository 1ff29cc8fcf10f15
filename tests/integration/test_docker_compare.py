"""The same requests to Docker's own daemon and to ``bento serve``: no difference but those that the page lists."""

from __future__ import annotations

import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import cast

from support.cli import BentoCli
from support.comparing import Facts, Recorder, Row, differences, listed
from support.conversation import converse
from support.engines import DockerWorld
from support.leaks import LeakWatch
from support.serving import Served, serving
from support.workload import ONE_RUNTIME

pytestmark = ONE_RUNTIME

VERSION = "1.41"  # Debian's daemon is 20.10


class Daemon(DockerWorld):
    """With networks, in a network namespace of its own."""

    networking = ("--ip6tables=false",)


def facts_of(served: Served) -> dict[str, Facts]:
    recorder = Recorder(served, VERSION)
    converse(recorder)
    return recorder.facts


def of_kernel(row: Row) -> bool:
    """Whether it depends on the version of the machine's cgroups."""
    return "_stats." in row.paths[0]


def test_docker_and_bento_differ_where_the_page_says_so(bento: BentoCli, leak_check: LeakWatch) -> None:
    with Daemon(leak_check.base / "d") as world, serving(bento) as ours, ThreadPoolExecutor(2) as pool:
        theirs = Served(cast("subprocess.Popen[str]", None), Path(world.base / "d.sock"))
        docker, own = pool.map(facts_of, (theirs, ours))
    found, rows = differences(docker, own), listed()
    unexplained = [str(each) for each in found if not any(row.covers(each) for row in rows)]
    assert not unexplained, "\n".join(["these differences are not in docs/docker-api.md:", *unexplained])
    stale = [row for row in rows if not any(row.covers(each) for each in found) and not of_kernel(row)]
    assert not stale, f"no difference is like these rows of docs/docker-api.md: {stale}"

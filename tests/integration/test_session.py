"""A container's monitor is in other cgroups than the command that starts it: systemd ends units by them."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bento.kernel.mountinfo import mount_table

from support import procs
from support.cli import BentoCli
from support.workload import assert_clean, stop_report

_MOVE = 'for each in $CGROUPS; do echo $$ > "$each/cgroup.procs" || exit 9; done; exec "$@"'

LEAVING = "trap 'exit 3' TERM; while :; do sleep 0.05; done"


class Session:
    """A cgroup in each hierarchy that takes processes, as systemd has one for each unit."""

    def __init__(self) -> None:
        self.cgroups: list[Path] = []

    def make(self) -> None:
        for hierarchy in sorted({each.target for each in mount_table() if each.fstype in ("cgroup", "cgroup2")}):
            if Path(hierarchy, "cpuset.cpus").exists() and not Path(hierarchy, "cgroup.controllers").exists():
                continue  # it would need processors first (cpusets.rst)
            path = Path(hierarchy, f"session-test-{os.getpid()}-{os.urandom(3).hex()}")
            path.mkdir()
            self.cgroups.append(path)
        assert self.cgroups

    def run(self, *argv: str) -> str:
        env = os.environ | {"CGROUPS": " ".join(map(str, self.cgroups))}
        words = ["/bin/sh", "-c", _MOVE, "sh", *argv]
        done = subprocess.run(words, env=env, stdin=subprocess.DEVNULL, capture_output=True, text=True, check=False)
        assert done.returncode == 0, done.stderr
        return done.stdout.strip()

    def members(self) -> set[int]:
        return {int(pid) for each in self.cgroups for pid in (each / "cgroup.procs").read_text().split()}

    def end(self) -> None:
        """As systemd does: SIGKILL for all that is in it."""
        for pid in self.members():
            if (process := procs.read(pid)) is not None:
                procs.kill(process)
        procs.wait_until(lambda: not self.members(), what="the end of the session")
        for each in self.cgroups:
            each.rmdir()
        self.cgroups = []


@pytest.fixture
def session() -> Iterator[Session]:
    session = Session()
    try:
        session.make()
        yield session
    finally:
        session.end()


@pytest.mark.parametrize("kind", ["application", "system"])
def test_the_end_of_a_session_is_not_the_end_of_a_container(bento: BentoCli, session: Session, kind: str) -> None:
    flags = ["--system"] if kind == "system" else []
    session.run(*bento.prefix, "run", "-d", "--name", "w", *flags, "host", "/bin/sh", "-c", LEAVING)
    session.run(*bento.prefix, "exec", "-d", "w", "sleep", "1001")
    assert session.members() == set()
    session.end()
    assert bento.state("w")["Status"] == "running"
    assert stop_report(bento, "w")["exit_code"] == 3
    bento("rm", "w")
    assert_clean(bento)


def test_what_is_of_the_session_is_in_it(session: Session) -> None:
    """Else the test above could not fail."""
    session.run("/bin/sh", "-c", "sleep 1000 >/dev/null 2>&1 &")
    assert len(session.members()) == 1

"""What forks the workers of a server, and what a worker looks at before it takes another job."""

from __future__ import annotations

import asyncio
import os
import resource
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from bento.serving.forker import Forker, Worker

LIMIT_S = 120
WORKER = (sys.executable, "-P", "-m", "bento.serve.worker")


@pytest.fixture
def restored_limit() -> Iterator[tuple[int, int]]:
    before = resource.getrlimit(resource.RLIMIT_CORE)
    yield before
    resource.setrlimit(resource.RLIMIT_CORE, before)


def limits(pid: int) -> str:
    return Path(f"/proc/{pid}/limits").read_text()


def ignored(pid: int) -> int:
    """Return the signals that a process ignores, but for the C library's own two (nptl(7))."""
    status = dict(line.split(":\t", 1) for line in Path(f"/proc/{pid}/status").read_text().splitlines())
    return int(status["SigIgn"], 16) & ~(0b11 << 31)


def pid_of(held: Worker) -> int:
    """Return the number of a worker, from its pidfd (pidfd_open(2), fdinfo)."""
    text = Path(f"/proc/self/fdinfo/{held._pidfd}").read_text()
    return int(text.partition("Pid:\t")[2].split()[0])


def test_a_worker_has_what_the_server_has_now_and_no_file_but_its_socket(restored_limit):
    async def main() -> None:
        one = Forker(WORKER)
        one.start()
        try:
            async with asyncio.timeout(LIMIT_S):
                first = await one.fork()
                pid = pid_of(first)
                assert limits(pid) == limits(os.getpid())
                assert os.getsid(pid) == pid
                assert ignored(pid) == ignored(os.getpid())
                while len(os.listdir(f"/proc/{pid}/fd")) > 4:  # it has just sent its pidfd
                    await asyncio.sleep(0.001)
                opened = [os.readlink(f"/proc/{pid}/fd/{number}") for number in range(3)]
                assert opened == ["/dev/null"] * 3
                resource.setrlimit(resource.RLIMIT_CORE, (4096, restored_limit[1]))
                second = await one.fork()
                assert limits(pid_of(second)) == limits(os.getpid()) != limits(pid)
                first.close()
                second.close()
        finally:
            one.close()

    asyncio.run(main())

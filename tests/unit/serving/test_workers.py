"""Workers: each job is done once, whatever becomes of what forks them, of the client, and of the server."""

from __future__ import annotations

import asyncio
import os
import signal
import sys
from collections.abc import Awaitable, Callable
from pathlib import Path

import pytest

from bento import __version__
from bento.config import Settings
from bento.errors import KernelError
from bento.serving import forker, workers
from bento.serving.jobs import Stop
from bento.serving.workers import Workers

LIMIT_S = 60

# What forks workers, without anything of Bento's. A worker writes down each job that it gets, and says its pid. The job
# "ends" is its last one, "waits" is done once a file is there, and at "hangs" its parent hangs.
FORKS = """
import os, signal, socket, sys, time
control, place, version = socket.socket(fileno=int(sys.argv[4])), sys.argv[1], sys.argv[2]
die_before = int(sys.argv[3])
signal.signal(signal.SIGCHLD, signal.SIG_IGN)
with open(place + "/starts", "a") as file:
    file.write("%d\\n" % os.getpid())
if len(open(place + "/starts").readlines()) <= die_before:
    socket.recv_fds(control, 1, 1)
    os.kill(os.getpid(), signal.SIGKILL)
while True:
    _, fds, _, _ = socket.recv_fds(control, 1, 1)
    if not fds:
        break
    if os.path.exists(place + "/no-fork"):
        os.write(fds[0], b"11")
    elif os.fork() == 0:
        control.close()
        server = socket.socket(fileno=fds[0])
        socket.send_fds(server, [version.encode()], [os.pidfd_open(os.getpid())])
        while line := server.recv(65536).decode():
            with open(place + "/jobs", "a") as file:
                file.write("%d %s\\n" % (os.getpid(), line.split('"refs":["')[1].split('"')[0]))
            while "waits" in line and not os.path.exists(place + "/go"):
                time.sleep(0.005)
            server.sendall(b'{"kind":"ended","name":"%d"}\\n' % os.getpid())
            if "ends" in line:
                break
            server.sendall(b'{"kind":"done"}\\n')
        os._exit(0)
    os.close(fds[0])
"""

Test = Callable[[Workers], Awaitable[None]]


@pytest.fixture
def with_workers(tmp_path):
    """Runs a test with workers; ``dies``: so many times what forks them is killed by the first request."""

    def run(test: Test, *, dies: int = 0, version: str = __version__) -> None:
        async def main() -> None:
            argv = (sys.executable, "-I", "-S", "-c", FORKS, str(tmp_path), version, str(dies))
            async with asyncio.timeout(LIMIT_S):
                one = Workers(Settings(), argv)
                try:
                    await test(one)
                finally:
                    one.close()

        asyncio.run(main())

    return run


def jobs(place: Path) -> list[str]:
    file = place / "jobs"
    return [line.split()[1] for line in file.read_text().splitlines()] if file.exists() else []


async def eventually(is_so: Callable[[], object]) -> None:
    while not is_so():
        await asyncio.sleep(0.005)


async def done(one: Workers, ref: str) -> str:
    """Have it done; return the pid of the worker."""
    return "".join([message.name async for message in one.run(Stop(refs=(ref,)))])


def test_a_worker_that_is_done_takes_the_next_job(with_workers, tmp_path):
    async def test(one: Workers) -> None:
        first = await done(one, "a")
        await eventually(lambda: one._ready)
        assert await done(one, "b") == first
        assert len((tmp_path / "starts").read_text().splitlines()) == 1

    with_workers(test)
    assert jobs(tmp_path) == ["a", "b"]


def test_a_worker_that_ends_is_followed_by_another_one(with_workers, tmp_path):
    async def test(one: Workers) -> None:
        first = await done(one, "ends")
        assert await done(one, "b") not in ("", first)

    with_workers(test)
    assert jobs(tmp_path) == ["ends", "b"]


def test_jobs_at_the_same_time_have_a_worker_each(with_workers, tmp_path):
    async def test(one: Workers) -> None:
        pids = await asyncio.gather(*(done(one, f"ends{number}") for number in range(3 * forker._AT_ONCE)))
        assert len(set(pids)) == len(pids)

    with_workers(test)
    assert len(jobs(tmp_path)) == 3 * forker._AT_ONCE


def test_a_job_is_done_once_when_what_forks_is_killed_before_it_forks(with_workers, tmp_path):
    async def test(one: Workers) -> None:
        assert await done(one, "a")

    with_workers(test, dies=3)
    assert jobs(tmp_path) == ["a"]
    assert len((tmp_path / "starts").read_text().splitlines()) == 4


def test_it_is_not_tried_for_ever(with_workers, tmp_path):
    async def test(one: Workers) -> None:
        with pytest.raises(KernelError, match="again and again"):
            await done(one, "a")

    with_workers(test, dies=1000)
    assert jobs(tmp_path) == []


def test_a_worker_goes_on_when_what_has_forked_it_is_killed_and_another_one_is_started(
    with_workers, tmp_path, monkeypatch
):
    monkeypatch.setattr(forker, "AGAIN_S", 0.0)

    async def test(one: Workers) -> None:
        waiting = asyncio.ensure_future(done(one, "waits"))
        await eventually(lambda: jobs(tmp_path))
        os.kill(int((tmp_path / "starts").read_text()), signal.SIGKILL)
        await eventually(lambda: len((tmp_path / "starts").read_text().splitlines()) == 2)
        (tmp_path / "go").touch()
        assert await waiting

    with_workers(test)
    assert jobs(tmp_path) == ["waits"]


def test_what_does_not_fork_in_time_is_ended(with_workers, tmp_path, monkeypatch):
    async def test(one: Workers) -> None:
        await done(one, "ends")
        os.kill(int((tmp_path / "starts").read_text()), signal.SIGSTOP)
        monkeypatch.setattr(forker, "LIMIT_S", 0.05)
        waiting = asyncio.ensure_future(done(one, "b"))
        for _ in range(5):
            await asyncio.sleep(0)  # it has been asked for now
        monkeypatch.setattr(forker, "LIMIT_S", LIMIT_S)
        assert await waiting

    with_workers(test)
    assert jobs(tmp_path) == ["ends", "b"]


def test_a_limit_of_processes_is_told(with_workers, tmp_path):
    (tmp_path / "no-fork").touch()

    async def test(one: Workers) -> None:
        with pytest.raises(KernelError, match="temporarily unavailable"):
            await done(one, "a")
        (tmp_path / "no-fork").unlink()
        assert await done(one, "a")

    with_workers(test)
    assert jobs(tmp_path) == ["a"]


def test_a_job_whose_client_leaves_at_once_is_done(with_workers, tmp_path):
    async def test(one: Workers) -> None:
        leaving = asyncio.ensure_future(done(one, "a"))
        await asyncio.sleep(0)
        leaving.cancel()
        await eventually(lambda: jobs(tmp_path) and one._ready)

    with_workers(test)
    assert jobs(tmp_path) == ["a"]


def test_the_end_of_the_server_waits_until_jobs_are_handed_over_and_for_no_more(with_workers, tmp_path):
    async def test(one: Workers) -> None:
        waiting = asyncio.ensure_future(done(one, "waits"))
        await asyncio.sleep(0)
        await one.end()
        assert not one._handing
        assert await waiting == ""  # what becomes of it is not waited for
        await eventually(lambda: jobs(tmp_path))
        (tmp_path / "go").touch()
        one.prepare()
        await done(one, "late")  # of a connection that was open
        await eventually(lambda: len(jobs(tmp_path)) == 2)
        assert one._ready is None

    with_workers(test)
    assert jobs(tmp_path) == ["waits", "late"]


def test_what_needs_its_client_is_broken_off(with_workers, tmp_path):
    async def test(one: Workers) -> None:
        with open(os.devnull) as null:
            first = await one.hand_over(Stop(refs=("waits",)), [null.fileno()])
            second = await one.hand_over(Stop(refs=("waits",)), [null.fileno()])
        one.break_off(first)
        assert [message async for message in one.reports(first)] == []
        one.break_off(first)
        await one.end()
        assert [message async for message in one.reports(second)] == []
        await eventually(lambda: not one._breakable)

    with_workers(test)


def test_one_is_kept_ready_for_a_while(with_workers, tmp_path, monkeypatch):
    async def test(one: Workers) -> None:
        one.prepare()
        await eventually(lambda: one._ready)
        worker = one._ready
        one.prepare()
        assert one._ready is worker
        monkeypatch.setattr(workers, "READY_S", 0.0)
        one.prepare()
        await eventually(lambda: one._ready is None)
        assert await done(one, "a")

    with_workers(test)


def test_one_that_is_killed_while_it_waits_gets_no_job(with_workers, tmp_path):
    async def test(one: Workers) -> None:
        one.prepare()
        await eventually(lambda: one._ready)
        assert one._ready is not None
        one._ready.terminate()
        ready = one._ready
        await eventually(lambda: not ready.is_alive())
        assert await done(one, "a")

    with_workers(test)
    assert jobs(tmp_path) == ["a"]


def test_another_version_is_told_of(with_workers, tmp_path, capsys):
    async def test(one: Workers) -> None:
        assert await done(one, "a")

    with_workers(test, version="0.0.1")
    assert "Bento 0.0.1 was installed" in capsys.readouterr().err

"""How a command's job is handed to the worker that waits, and when that takes another one."""

from __future__ import annotations

import os
import signal
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from bento import config, packets
from bento.engine.base.worker import Emit, Message, messages
from bento.kernel.process import surroundings
from bento.serving import jobs
from bento.zygote import worker


@pytest.fixture
def queue() -> Iterator[tuple[int, int]]:
    """The two ends of one that is given a worker by hand."""
    ends = worker.queue()
    yield ends
    for fd in ends:
        os.close(fd)


def put(theirs: int) -> int:
    """Say that a worker is there; return its end of the connection."""
    ours, connection = packets.pair()
    packets.send(theirs, b"free", [connection])
    os.close(connection)
    return ours


def around() -> surroundings.Surroundings:
    return surroundings.of(os.getpid())


def test_where_no_worker_waits_nothing_begins(queue):
    assert worker.hand_over(queue[0], around(), b"job") is None


def test_a_worker_that_has_ended_is_passed_over(queue):
    os.close(put(queue[1]))
    before = len(os.listdir("/proc/self/fd"))
    assert worker.hand_over(queue[0], around(), b"job") is None
    os.close(put(queue[1]))
    second = put(queue[1])
    packets.send(second, b"yes")
    reports = worker.hand_over(queue[0], around(), b"job")
    assert reports is not None
    packet, fds, is_whole = packets.receive(second, 1 << 17, 2)
    assert is_whole
    assert len(fds) == 2
    assert b"job" in packet
    for fd in (*fds, second, reports):
        os.close(fd)
    assert len(os.listdir("/proc/self/fd")) == before


def test_a_worker_that_is_too_late_cannot_begin(queue, monkeypatch):
    monkeypatch.setattr(worker, "_PATIENCE_MS", 1)
    late = put(queue[1])
    assert worker.hand_over(queue[0], around(), b"job") is None
    with pytest.raises(BrokenPipeError):
        packets.send(late, b"yes")
    os.close(late)


def test_what_a_dead_worker_has_left_is_taken_away(queue):
    for _ in range(3):
        os.close(put(queue[1]))
    worker.forget(queue[0])
    with pytest.raises(BlockingIOError):
        packets.receive(queue[0], 8, 1)


class Forked:
    """A real one, which notes what it is given."""

    def __init__(self, directory: Path) -> None:
        (directory / "r").mkdir()
        self.settings = config.Settings(root=directory / "l", run_root=directory / "r")
        self.queued, theirs = worker.queue()
        self.pid = os.fork()
        if self.pid == 0:
            os.close(self.queued)
            worker.Worker(theirs, sync=lambda: None).be()
        os.close(theirs)

    def ask(self, ref: str) -> list[str]:
        """Have a job done, once the worker waits for one, or has ended; return the names that it reports."""
        os.set_blocking(self.queued, True)
        reports = worker.hand_over(self.queued, around(), jobs.encode(self.settings, jobs.Stop(refs=(ref,))))
        return ["refused"] if reports is None else [message.name for message in messages(reports)]

    def leave(self) -> None:
        if self.queued >= 0:
            os.close(self.queued)
            self.queued = -1

    def status(self) -> int:
        return os.waitstatus_to_exitcode(os.waitpid(self.pid, 0)[1])


@pytest.fixture
def forked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[Any], Forked]]:
    made: list[Forked] = []

    def fork(work: Callable[[jobs.Job, Emit], None]) -> Forked:
        monkeypatch.setattr(jobs, "carry_out", work)
        made.append(Forked(tmp_path))
        return made[-1]

    yield fork
    for each in made:
        each.leave()


def tell(job: jobs.Job, emit: Emit) -> None:
    """Report the process, its directory, a variable and its file mode mask."""
    umask = os.umask(0)
    os.umask(umask)
    emit(Message(kind="ended", name=f"{os.getpid()} {os.getcwd()} {os.environ.get('ODD')} {umask:o}"))


def test_one_worker_does_one_job_after_another_each_where_its_command_is(forked, tmp_path, monkeypatch):
    one = forked(tell)
    umask = os.umask(0o27)
    try:
        monkeypatch.chdir(tmp_path)
        monkeypatch.setenv("ODD", "1")
        assert one.ask("a") == [f"{one.pid} {tmp_path} 1 27"]
        monkeypatch.chdir("/usr")
        monkeypatch.delenv("ODD")
        assert one.ask("b") == [f"{one.pid} /usr None 27"]
    finally:
        os.umask(umask)
    assert os.readlink(f"/proc/{one.pid}/cwd") in ("/usr", "/")
    one.leave()  # nothing asks any more
    assert one.status() == 0


def test_it_serves_no_caller_of_other_surroundings_after_the_first(forked):
    one = forked(tell)
    assert one.ask("a") != ["refused"]
    umask = os.umask(0o27)
    try:
        assert one.ask("b") == ["refused"]
    finally:
        os.umask(umask)
    assert one.status() == 0


def test_it_takes_no_other_job_when_the_last_one_has_left_something(forked):
    def leave_a_file(job: jobs.Job, emit: Emit) -> None:
        os.open(os.devnull, os.O_RDONLY)
        tell(job, emit)

    one = forked(leave_a_file)
    assert one.ask("a") != ["refused"]
    assert one.status() == 0


def test_a_worker_that_is_killed_at_its_job_is_no_reason_to_do_it_again(forked):
    one = forked(lambda job, emit: os.kill(os.getpid(), signal.SIGKILL))
    assert one.ask("a") == []
    assert one.status() == -signal.SIGKILL

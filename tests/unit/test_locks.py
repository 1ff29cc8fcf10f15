"""Locks between processes and threads: which gets them, what the others learn, and what is left of them."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bento.errors import Conflict, StorageUnusable
from bento.locks import ContainerLocks, Lock
from bento.units import NO_LIMIT

from support.interrupts import each_interruption

ID = "a" * 64


@pytest.fixture
def locks(tmp_path: Path) -> ContainerLocks:
    return ContainerLocks(tmp_path)


def files(run_root: Path) -> list[str]:
    return sorted(os.listdir(run_root / "locks"))


@pytest.fixture
def other_process(tmp_path: Path) -> Iterator[subprocess.Popen[str]]:
    """Holds both locks of ID until it ends."""
    code = f"""
import sys
from pathlib import Path
from bento.locks import ContainerLocks
locks = ContainerLocks(Path({os.fspath(tmp_path)!r}))
with locks.hold({ID!r}, 0):
    stop = locks.try_stop({ID!r})
    print("held", flush=True)
    sys.stdin.readline()
    stop.release()
"""
    process = subprocess.Popen(
        [sys.executable, "-c", code],
        env=os.environ | {"PYTHONPATH": os.pathsep.join(sys.path)},
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == "held\n"
    yield process
    process.kill()
    process.communicate()


def test_hold_excludes_another_holder_and_says_so(locks: ContainerLocks) -> None:
    with locks.hold(ID, 0), pytest.raises(Conflict, match="another bento process"):
        locks.hold(ID, 0)


def test_hold_gives_up_after_its_time(locks: ContainerLocks) -> None:
    with locks.hold(ID, 0):
        began = time.monotonic()
        with pytest.raises(Conflict):
            locks.hold(ID, 0.02)
        assert time.monotonic() - began >= 0.02
    with locks.hold(ID, 0):
        pass


@pytest.mark.parametrize("timeout_s", [30.0, NO_LIMIT])
def test_a_waiter_is_woken_by_the_release(locks: ContainerLocks, timeout_s: float) -> None:
    first = locks.hold(ID, 0)
    got: list[Lock] = []
    waiter = threading.Thread(target=lambda: got.append(locks.hold(ID, timeout_s)))
    waiter.start()
    first.release()
    waiter.join(10)
    assert len(got) == 1
    with pytest.raises(Conflict):
        locks.hold(ID, 0)
    got[0].release()


def test_containers_do_not_exclude_each_other(locks: ContainerLocks) -> None:
    with locks.hold(ID, 0), locks.hold("b" * 64, 0):
        pass


def test_the_stop_lock_and_the_operation_lock_are_two(locks: ContainerLocks) -> None:
    with locks.hold(ID, 0):
        stop = locks.try_stop(ID)
        assert stop is not None
        stop.release()


def test_one_stopper_at_a_time(locks: ContainerLocks) -> None:
    assert not locks.is_stop_held(ID)
    stop = locks.try_stop(ID)
    assert stop is not None
    assert locks.is_stop_held(ID)
    assert locks.try_stop(ID) is None
    stop.release()
    stop.release()
    assert not locks.is_stop_held(ID)
    again = locks.try_stop(ID)
    assert again is not None
    again.release()


def test_looking_never_makes_an_attempt_fail(locks: ContainerLocks, tmp_path: Path) -> None:
    (tmp_path / "locks").mkdir()
    (tmp_path / "locks" / f"{ID}.stop").touch()  # as a killed stopper leaves it
    is_over = threading.Event()

    def look() -> None:
        while not is_over.is_set():
            ContainerLocks(tmp_path).is_stop_held(ID)

    looker = threading.Thread(target=look)
    looker.start()
    try:
        for _ in range(300):
            stop = locks.try_stop(ID)
            assert stop is not None
            stop.release()
    finally:
        is_over.set()
        looker.join()


def test_nothing_is_left_of_a_lock(locks: ContainerLocks, tmp_path: Path) -> None:
    with locks.hold(ID, 0):
        stop = locks.try_stop(ID)
        assert stop is not None
        with stop:
            assert files(tmp_path) == [f"{ID}.op", f"{ID}.stop"]
            assert locks.ids() == [ID]
    assert files(tmp_path) == []
    assert locks.ids() == []


def test_ids_of_a_run_root_that_is_not_there(tmp_path: Path) -> None:
    assert ContainerLocks(tmp_path / "none").ids() == []
    assert not (tmp_path / "none").exists()


def test_a_lock_of_another_process_counts_until_it_dies(
    locks: ContainerLocks, tmp_path: Path, other_process: subprocess.Popen[str]
) -> None:
    assert locks.is_stop_held(ID)
    assert locks.try_stop(ID) is None
    with pytest.raises(Conflict):
        locks.hold(ID, 0)
    locks.forget(ID)
    assert files(tmp_path) == [f"{ID}.op", f"{ID}.stop"]  # held: not ours to take away

    other_process.send_signal(signal.SIGKILL)
    with locks.hold(ID, 30):
        assert not locks.is_stop_held(ID)
        locks.forget(ID)
        assert files(tmp_path) == [f"{ID}.op"]
    assert files(tmp_path) == []


def test_forget_takes_away_what_a_killed_process_left(
    locks: ContainerLocks, tmp_path: Path, other_process: subprocess.Popen[str]
) -> None:
    other_process.kill()
    other_process.wait()
    assert locks.ids() == [ID]
    locks.forget(ID)
    locks.forget(ID)
    assert files(tmp_path) == []


def test_a_release_in_another_process_is_noticed(
    locks: ContainerLocks, tmp_path: Path, other_process: subprocess.Popen[str]
) -> None:
    got: list[Lock] = []
    waiter = threading.Thread(target=lambda: got.append(locks.hold(ID, 30)))
    waiter.start()
    other_process.communicate("go\n")
    waiter.join(10)
    got[0].release()
    assert files(tmp_path) == []


def test_never_two_holders_whichever_unlinks(locks: ContainerLocks, tmp_path: Path) -> None:
    """The file goes with each release: one that waited for the old file must not believe that it holds the new."""
    inside = [0]
    worst = [0]

    def work() -> None:
        for _ in range(60):
            with ContainerLocks(tmp_path).hold(ID, 30):
                inside[0] += 1
                worst[0] = max(worst[0], inside[0])
                os.sched_yield()
                inside[0] -= 1
            locks.forget(ID)

    workers = [threading.Thread(target=work) for _ in range(4)]
    for worker in workers:
        worker.start()
    for worker in workers:
        worker.join()
    assert worst == [1]
    assert files(tmp_path) == []


def test_a_child_does_not_inherit_a_lock(locks: ContainerLocks) -> None:
    with locks.hold(ID, 0):
        child = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE)
    with locks.hold(ID, 0):
        pass
    child.communicate(b"\n")


def test_a_run_root_that_cannot_be_made(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    with pytest.raises(StorageUnusable, match="file"):
        ContainerLocks(tmp_path / "file").hold(ID, 0)


@pytest.mark.parametrize("which", ["op", "stop"])
def test_is_held_tells_of_either_lock_and_disturbs_nothing(locks: ContainerLocks, which: str) -> None:
    assert not locks.is_held(ID)
    lock = locks.hold(ID, 0) if which == "op" else locks.try_stop(ID)
    assert lock is not None
    assert locks.is_held(ID)
    lock.release()
    assert not locks.is_held(ID)
    (locks._directory / f"{ID}.{which}").touch()  # as a killed holder leaves it
    assert not locks.is_held(ID)
    assert locks.ids() == [ID]


def test_where_inotify_has_no_more_room_a_lock_is_still_waited_for(tmp_path, monkeypatch):
    monkeypatch.setattr("bento.locks.watch_let_go", lambda path: None)
    locks = ContainerLocks(tmp_path)
    lock = locks.hold("a", 1.0)
    threading.Timer(0.1, lock.release).start()
    locks.hold("a", 20.0).release()


def test_an_interruption_at_any_step_leaves_no_lock_and_no_file(locks: ContainerLocks, tmp_path: Path) -> None:
    def hold() -> None:
        with locks.hold(ID, 0):
            pass

    hold()
    steps = 0
    for step in each_interruption(hold, "bento.locks"):
        assert files(tmp_path) == [], step
        hold()
        steps += 1
    assert steps > 100


def test_what_says_that_something_is_frozen_stays_when_its_process_forgets_it(
    locks: ContainerLocks, tmp_path: Path
) -> None:
    lock = locks.try_freeze(ID, 3)
    del lock
    assert files(tmp_path) == [f"{ID}.freeze"]


def test_a_lock_is_let_go_with_its_last_name_but_not_by_a_fork(locks: ContainerLocks, tmp_path: Path) -> None:
    lock = locks.hold(ID, 0)
    pid = os.fork()
    if pid == 0:
        del lock
        os._exit(0)
    os.waitpid(pid, 0)
    assert files(tmp_path) == [f"{ID}.op"]
    del lock
    assert files(tmp_path) == []

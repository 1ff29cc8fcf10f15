"""Threads of Bento's own leave the signals of the process to its main thread."""

from __future__ import annotations

import os
import signal
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from bento import quiet_threads
from bento.command import run
from bento.files.tarstream import Hashing
from bento.kernel import namespace

HELD = {signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGCHLD}


def held() -> set[int]:
    return set(signal.pthread_sigmask(signal.SIG_BLOCK, ()))


def mask_of(tid: str) -> int:
    status = Path(f"/proc/self/task/{tid}/status").read_text()
    return int(status.split("SigBlk:\t")[1].split("\n")[0], 16)


def test_whatever_starts_them_they_take_none():
    found: list[set[int]] = []
    quiet_threads.start(lambda: found.append(held()), "one").join()
    found.append(namespace.in_new(0, held))
    with ThreadPoolExecutor(1, initializer=quiet_threads.leave_signals) as pool:
        found.append(pool.submit(held).result())
    assert all(each >= HELD for each in found), found
    assert held().isdisjoint(HELD)


def test_what_hashes_a_stream_takes_none():
    before = set(os.listdir("/proc/self/task"))
    hashing = Hashing("sha256")
    try:
        [mine] = set(os.listdir("/proc/self/task")) - before
        assert mask_of(mine) >> (signal.SIGTERM - 1) & 1
    finally:
        hashing.digest()


def test_what_they_start_takes_all():
    said = namespace.in_new(0, lambda: run(["grep", "SigBlk", "/proc/self/status"], timeout_s=60).stdout)
    assert said.split()[1] == "0" * 16

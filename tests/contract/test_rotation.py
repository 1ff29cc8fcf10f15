"""The process that rotates logs: one for all, woken by what happens, replaced when killed, gone with the last."""

from __future__ import annotations

import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from bento.drivers.monitor.conmon import ConmonMonitor
from bento.files import log_files
from bento.kernel.process import pidfd
from bento.model.container import ProcessIdentity

from support import procs

FILES = 3


class World:
    """Announced containers, whose monitors are pretended; the test does what conmon does to their logs."""

    def __init__(self, base: Path) -> None:
        self.announcements, self.containers = base / "run" / "log-rotation", base / "containers"
        (base / "run").mkdir()
        self.monitor = ConmonMonitor(Path("conmon"))
        self.processes: list[subprocess.Popen[bytes]] = []

    def begin(self, name: str) -> Path:
        process = subprocess.Popen(["sleep", "600"])
        self.processes.append(process)
        bundle = self.containers / name
        bundle.mkdir(parents=True)
        fd = os.open(bundle, os.O_RDONLY)
        log_files.prepare(fd, FILES, 1000)
        os.close(fd)
        held, identity = pidfd.identify(process.pid)
        os.close(held)
        self.monitor.keep_log(self.announcements, bundle, FILES, identity)
        return bundle

    def rotate(self, bundle: Path, text: str) -> None:
        (bundle / "log.tmp").write_text(text)
        (bundle / "log.tmp").rename(bundle / "log")

    def resume(self) -> None:
        self.monitor.resume_logs(self.announcements, self.containers)

    def keepers(self) -> list[int]:
        return [process.pid for process in procs.with_word(str(self.announcements)) if process.is_alive]

    def end(self, process: subprocess.Popen[bytes]) -> None:
        process.kill()
        process.wait()


def shown(bundle: Path) -> list[str]:
    files = log_files.open_files(str(bundle))
    try:
        return [file.stream.read().decode() for file in files]
    finally:
        for file in files:
            file.close()


def is_ready(bundle: Path) -> bool:
    """Whether the next rotation loses nothing."""
    return (bundle / "log.tmp").exists() and (bundle / "log").stat().st_nlink == 2


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    for process in made.processes:
        made.end(process)
    procs.wait_until(lambda: not made.keepers(), what="the end of the process that rotates")


def test_one_process_keeps_all_logs_and_ends_with_the_last_monitor(world: World) -> None:
    bundles = [world.begin(name) for name in ("a", "b")]
    procs.wait_until(lambda: len(world.keepers()) == 1, what="one process")
    for number in range(6):
        for bundle in bundles:
            world.rotate(bundle, str(number))
            procs.wait_until(lambda bundle=bundle: is_ready(bundle), what="readiness for the next rotation")
    for bundle in bundles:
        procs.wait_until(lambda bundle=bundle: shown(bundle) == ["3", "4", "5"], what="the newest files alone")

    world.end(world.processes[0])
    procs.wait_until(lambda: not (bundles[0] / "log.tmp").exists(), what="the end of one")
    assert len(world.keepers()) == 1
    world.end(world.processes[1])
    procs.wait_until(lambda: not world.keepers(), what="the end of the process")
    assert os.listdir(world.announcements) == ["keeper"]
    assert shown(bundles[1]) == ["3", "4", "5"]


def test_killed_one_is_replaced_and_nothing_is_lost_at_the_next_rotation(world: World) -> None:
    bundle = world.begin("a")
    procs.wait_until(lambda: len(world.keepers()) == 1, what="the process")
    procs.wait_until(lambda: is_ready(bundle), what="readiness")
    os.kill(world.keepers()[0], signal.SIGKILL)
    procs.wait_until(lambda: not world.keepers(), what="its end")
    world.rotate(bundle, "next")

    world.resume()

    procs.wait_until(lambda: is_ready(bundle), what="readiness for the next rotation")
    world.resume()
    assert len(world.keepers()) == 1
    assert shown(bundle) == ["", "next"]


def test_announcement_of_a_monitor_that_is_gone_is_removed(world: World) -> None:
    world.containers.mkdir()
    gone = ProcessIdentity(os.getpid(), 1, pidfd.boot_id())  # another process has its pid now
    (world.containers / "a").mkdir()
    world.monitor.keep_log(world.announcements, world.containers / "a", FILES, gone)

    procs.wait_until(lambda: os.listdir(world.announcements) == ["keeper"], what="the removal")
    procs.wait_until(lambda: not world.keepers(), what="its end")
    world.resume()
    assert not world.keepers()

"""``from bento import Engine``: the same verbs as typed methods, in another program."""

from __future__ import annotations

import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

import bento
from bento import Engine, Settings
from bento.engine.stop.request import StopOptions
from bento.errors import AlreadyStopped, Conflict, NotFound
from bento.model.container import Status
from bento.model.create import CreateOptions
from bento.model.stop import Verdict

from support.cli import BentoCli, Roots
from support.workload import assert_released

POLITE = ("/bin/sh", "-c", "trap 'exit 7' TERM; echo ready; while :; do sleep 0.02; done")


def in_thread(work: Callable[[], None]) -> None:
    """Run in another thread than the main one; errors come through."""
    with ThreadPoolExecutor(1) as pool:
        pool.submit(work).result(timeout=60)


def engine_of(roots: Roots, runtime: str) -> Engine:
    return Engine(Settings(root=roots.root, run_root=roots.run_root, runtime=runtime))


def test_life_of_a_container_from_a_thread_of_a_program_with_others(
    bento: BentoCli, roots: Roots, runtime: str
) -> None:
    ids = []

    def life() -> None:
        with engine_of(roots, runtime) as engine:
            made = engine.create(CreateOptions(image="host", name="w", command=POLITE))
            ids.append(made.id)
            assert made.status is Status.CREATED
            assert engine.start("w").status is Status.RUNNING
            for line in engine.logs("w", follow=True):
                assert line.text == b"ready\n"
                break
            report = engine.stop("w")
            assert report is not None
            assert (report.verdict, report.exit_code) == (Verdict.GRACEFUL, 7)
            assert engine.get("w").status is Status.STOPPED
            assert engine.inspect("w")["State"]["ExitCode"] == 7
            with pytest.raises(AlreadyStopped):
                engine.stop("w")

    others_stop = threading.Event()
    others = [threading.Thread(target=others_stop.wait) for _ in range(4)]
    for other in others:
        other.start()
    try:
        in_thread(life)
    finally:
        others_stop.set()
    assert_released(bento, ids[0])


def test_engines_in_several_threads_at_once(bento: BentoCli, roots: Roots, runtime: str) -> None:
    def life(number: int) -> int | None:
        with engine_of(roots, runtime) as engine:
            made = engine.create(CreateOptions(image="host", name=f"w{number}", command=("sleep", "1000")))
            engine.start(made.id)
            report = engine.stop(made.id, StopOptions(grace_s=0.0))
            engine.remove(made.id)
            return report.exit_code if report else None

    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(life, range(4))) == [137] * 4
    assert bento("ps", "-aq").stdout == ""


def test_errors_are_typed(bento: BentoCli, roots: Roots, runtime: str) -> None:
    with engine_of(roots, runtime) as engine:
        with pytest.raises(NotFound):
            engine.stop("nobody")
        engine.create(CreateOptions(image="host", name="w", command=("true",)))
        with pytest.raises(Conflict):
            engine.create(CreateOptions(image="host", name="w", command=("true",)))
        with pytest.raises(NotFound, match="nginx"):
            engine.create(CreateOptions(image="nginx", command=("true",)))


def test_public_names_are_what_is_promised() -> None:
    assert "Engine" in bento.__all__
    assert all(hasattr(bento, name) for name in bento.__all__)

"""One session of stress: so many seconds, with quiet points, and a sweep at the end."""

from __future__ import annotations

import random
import threading
import time
from pathlib import Path

from stress import quiet
from stress.faults import Saboteur
from stress.journal import Journal, StressError
from stress.worker import Worker
from stress.world import World
from support.workload import busybox_rootfs

WORKERS = 3
_PHASE_S = 12.0
"""Between two quiet points. At first nothing is killed, then something is, and so on by turns."""


class Failed(Exception):
    """It found something. Its text says what, and how to do it again."""


def run(base: Path, *, seconds: float, seed: int) -> str:
    """Do it below ``base``, for about so long; return what was done, in a line. Raises Failed."""
    journal, world = Journal(), World(base)
    saboteur = Saboteur(world, journal, random.Random(f"{seed}/faults"))
    workers = [Worker(number, world, journal, saboteur, random.Random(f"{seed}/{number}")) for number in range(WORKERS)]
    (world.files / "in").write_text("in\n")
    world.cli(0)("import", str(busybox_rootfs(base / "bb")), "bb")
    begun_s = time.monotonic()
    phase = 0
    saboteur.rest(is_resting=True)
    saboteur.start()
    try:
        while phase < 2 or time.monotonic() - begun_s < seconds - _PHASE_S:
            has_kills = phase % 2 == 1
            _phase(workers, saboteur, journal, min(_PHASE_S, seconds / 3), has_kills=has_kills)
            quiet.check(world, workers, was_calm=not has_kills)
            phase += 1
        quiet.sweep(world)
    except StressError as error:
        raise Failed(_words(error, journal, seconds, seed)) from error
    finally:
        saboteur.close()
        world.cli(0).remove_all()
    return _summary(journal, saboteur, time.monotonic() - begun_s)


def _phase(workers: list[Worker], saboteur: Saboteur, journal: Journal, seconds: float, *, has_kills: bool) -> None:
    """Let all of them work for a while. Raises the first StressError of any."""
    is_over = threading.Event()

    def work(worker: Worker) -> None:
        try:
            worker.run(is_over)
        except StressError as error:
            journal.fail(error)
            is_over.set()
        except BaseException as error:
            journal.fail(StressError(f"the stress itself is wrong: {error!r}"))
            is_over.set()
            raise

    saboteur.may_kill = has_kills
    saboteur.rest(is_resting=False)
    threads = [threading.Thread(target=work, args=(worker,)) for worker in workers]
    for thread in threads:
        thread.start()
    is_over.wait(seconds)
    is_over.set()
    for thread in threads:
        thread.join()
    saboteur.rest(is_resting=True)
    if journal.failures:
        raise journal.failures[0]


def _words(error: StressError, journal: Journal, seconds: float, seed: int) -> str:
    return (
        f"{error}\n\nwhat was done to {', '.join(error.names) or 'all'}:\n{journal.history(error.names)}\n\n"
        f"to do it again: make stress T={seconds:g} SEED={seed}"
    )


def _summary(journal: Journal, saboteur: Saboteur, seconds: float) -> str:
    begun = [entry for entry in journal.entries() if " begins: " in entry.text]
    halts = sum(entry.text.startswith("SIGSTOP") for entry in journal.entries())
    kinds = {kind: sum(fault.kind == kind for fault in saboteur.faults) for kind in ("verb", "monitor", "runtime")}
    killed = ", ".join(f"{count} {kind}s" for kind, count in kinds.items())
    return f"{len(begun)} commands in {seconds:.0f} s, {halts} halts, killed {killed}: nothing wrong"

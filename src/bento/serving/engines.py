"""Threads that call the engine, so that the loop never blocks. An engine is not shared: each thread has its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from bento import quiet_threads
from bento.config import Settings
from bento.errors import as_bento_error
from bento.wiring import Engine

if TYPE_CHECKING:
    from bento.drivers.monitor.base import MonitorDriver
    from bento.drivers.processes.base import FileWatch

T = TypeVar("T")

LOOKING: Final = 4
"""Threads for what only looks: a listing never waits behind starts."""
ACTING: Final = 12
"""Threads for what takes its time: starts, execs. What comes beyond that waits."""
MOVING: Final = 8
"""Threads for what moves bytes on this machine, or asks a registry: what comes beyond that waits for these alone."""
FLOWING: Final = 64
"""Threads for archives from or to a client, which may be slow, or stand still: it holds up other archives at most."""


def _pool(most: int, name: str) -> ThreadPoolExecutor:
    return ThreadPoolExecutor(most, name, initializer=quiet_threads.leave_signals)


class Engines:
    """Pools of threads, made as they are needed, which stay."""

    def __init__(self, settings: Settings, watch_file: Callable[[Path], FileWatch]) -> None:
        """``watch_file``: in place of the engine's own, for all threads."""
        self.settings, self._watch_file = settings, watch_file
        self._own = threading.local()
        self._making = threading.Lock()
        self._monitor: MonitorDriver | None = None
        self._looking = _pool(LOOKING, "look")
        self._acting = _pool(ACTING, "act")
        self._moving = _pool(MOVING, "move")
        self._flowing = _pool(FLOWING, "flow")

    async def ask(self, work: Callable[[Engine], T]) -> T:
        """Have something looked up; return what ``work`` returns, raise what it raises."""
        return await asyncio.get_running_loop().run_in_executor(self._looking, self._answer, work)

    async def act(self, work: Callable[[Engine], T], undo: Callable[[T], object] | None = None) -> T:
        """Have something done. It goes on when this is cancelled; ``undo`` is then called with what came of it."""
        done = asyncio.get_running_loop().run_in_executor(self._acting, self._answer, work)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            if undo is not None:
                done.add_done_callback(lambda done: None if done.exception() else undo(done.result()))
            raise

    async def move(self, work: Callable[[Engine], T]) -> T:
        """Have bytes moved, at the speed of this machine, or of a registry. It goes on when this is cancelled."""
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._moving, self._call, work))

    async def flow(self, work: Callable[[Engine], T]) -> T:
        """Have bytes moved at the speed of a client. It goes on when this is cancelled."""
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._flowing, self._call, work))

    def _answer(self, work: Callable[[Engine], T]) -> T:
        """An error of the engine's own sockets is none of the client's connection, which is closed by such."""
        try:
            return self._call(work)
        except (ConnectionError, TimeoutError) as error:
            raise as_bento_error(error) from error

    def _call(self, work: Callable[[Engine], T]) -> T:
        return work(self._engine())

    def _engine(self) -> Engine:
        engine: Engine | None = getattr(self._own, "engine", None)
        if engine is None:
            engine = self._own.engine = Engine(self.settings)
            engine.drivers.watch_file = self._watch_file  # type: ignore[assignment, method-assign]
            with self._making:  # one for all: it has one process for all that clients are attached to
                self._monitor = engine.drivers.monitor = self._monitor or engine.drivers.monitor
        return engine

    def close(self) -> None:
        """Take no more work. What is under way goes on. Idempotent."""
        for pool in (self._looking, self._acting, self._moving, self._flowing):
            pool.shutdown(wait=False, cancel_futures=True)

"""Threads that call the engine, so that the loop never blocks. An engine is not shared: each thread has its own."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Final, TypeVar

from bento.config import Settings
from bento.wiring import Engine

if TYPE_CHECKING:
    from bento.drivers.processes.base import FileWatch

T = TypeVar("T")

LOOKING: Final = 4
"""Threads for what only looks: a listing never waits behind starts."""
ACTING: Final = 12
"""Threads for what takes its time: starts, execs. What comes beyond that waits."""
MOVING: Final = 8
"""Threads for what moves bytes, from or to a client that may be slow: they wait for each other alone."""


class Engines:
    """Three pools of threads, made as they are needed, which stay."""

    def __init__(self, settings: Settings, watch_file: Callable[[Path], FileWatch]) -> None:
        """``watch_file``: in place of the engine's own, for all threads."""
        self.settings, self._watch_file = settings, watch_file
        self._own = threading.local()
        self._looking = ThreadPoolExecutor(LOOKING, thread_name_prefix="look")
        self._acting = ThreadPoolExecutor(ACTING, thread_name_prefix="act")
        self._moving = ThreadPoolExecutor(MOVING, thread_name_prefix="move")

    async def ask(self, work: Callable[[Engine], T]) -> T:
        """Have something looked up; return what ``work`` returns, raise what it raises."""
        return await asyncio.get_running_loop().run_in_executor(self._looking, self._call, work)

    async def act(self, work: Callable[[Engine], T], undo: Callable[[T], object] | None = None) -> T:
        """Have something done. It goes on when this is cancelled; ``undo`` is then called with what came of it."""
        done = asyncio.get_running_loop().run_in_executor(self._acting, self._call, work)
        try:
            return await asyncio.shield(done)
        except asyncio.CancelledError:
            if undo is not None:
                done.add_done_callback(lambda done: None if done.exception() else undo(done.result()))
            raise

    async def move(self, work: Callable[[Engine], T]) -> T:
        """Have bytes moved: archives, images. It goes on when this is cancelled."""
        return await asyncio.shield(asyncio.get_running_loop().run_in_executor(self._moving, self._call, work))

    def _call(self, work: Callable[[Engine], T]) -> T:
        return work(self._engine())

    def _engine(self) -> Engine:
        engine: Engine | None = getattr(self._own, "engine", None)
        if engine is None:
            engine = self._own.engine = Engine(self.settings)
            engine.drivers.watch_file = self._watch_file  # type: ignore[assignment, method-assign]
        return engine

    def close(self) -> None:
        """Take no more work. What is under way goes on. Idempotent."""
        for pool in (self._looking, self._acting, self._moving):
            pool.shutdown(wait=False, cancel_futures=True)

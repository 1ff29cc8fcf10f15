"""One health check under way: a process in the container, its output, its end. Nothing here waits."""

from __future__ import annotations

import os
from collections.abc import Callable
from contextlib import suppress
from typing import TYPE_CHECKING

from bento import clock
from bento.engine.health import checks, schedule
from bento.errors import BentoError
from bento.model.health import HealthResult

if TYPE_CHECKING:
    from bento.command import Child
    from bento.engine.base.drivers import Drivers
    from bento.engine.base.loop import Loop
    from bento.model.container import Run

_BEGIN_LIMIT_S = 30.0  # for the runtime to bring it in, which is none of its own time
_DIES_S = 5.0
_READ_BYTES = 1 << 16
_NOT_RUN = -1


class Check:
    """Runs the check of one container once; ``on_end`` gets its result, or None when it was cancelled."""

    def __init__(
        self,
        drivers: Drivers,
        container_id: str,
        run: Run,
        timeout_s: float,
        *,
        loop: Loop,
        on_end: Callable[[HealthResult | None], None],
    ) -> None:
        self._drivers, self._container_id, self._run = drivers, container_id, run
        self._pid_file = checks.pid_file(drivers, container_id)
        self._timeout_s, self._loop, self._on_end = timeout_s, loop, on_end
        self._alarm = loop.alarm(self._due)
        self._child: Child | None = None
        self._killer: Child | None = None
        self._output_fd = -1
        self._output = bytearray()
        self._is_cut = self._is_late = self._is_cancelled = False
        self._began_unix_ns = 0

    def begin(self) -> None:
        """Have the runtime bring it in. What keeps it from that is its result."""
        self._began_unix_ns = clock.wall_ns()
        checks.forget(self._drivers, self._container_id)
        try:
            child = self._spawn()
        except (BentoError, OSError) as error:
            self._on_end(self._result(_NOT_RUN, str(error)))
            return
        self._child = child
        self._loop.watch(child.fileno(), self._finish)
        self._loop.watch(self._output_fd, self._read)
        self._alarm.set(clock.mono_s() + self._timeout_s)

    def _spawn(self) -> Child:
        reader, writer = os.pipe2(os.O_CLOEXEC)
        try:
            os.set_blocking(reader, False)
            os.fchmod(writer, 0o666)  # /dev/stdout, also for what is in a user namespace, in which root has no id
            child = self._drivers.runtime(self._run.runtime).begin_process(
                self._container_id,
                checks.spec_path(self._drivers, self._container_id),
                pid_file=self._pid_file,
                output_fd=writer,
            )
        except BaseException:
            os.close(reader)
            raise
        finally:
            os.close(writer)
        self._output_fd = reader
        return child

    def _read(self) -> None:
        """Keep the first bytes of what it says, and drop the rest: a pipe that is full would keep it waiting."""
        try:
            chunk = os.read(self._output_fd, _READ_BYTES)
        except BlockingIOError:
            return
        if not chunk:
            self._loop.unwatch(self._output_fd)
            return
        room = schedule.OUTPUT_MAX - len(self._output)
        self._is_cut = self._is_cut or len(chunk) > room
        self._output += chunk[:room]

    def _due(self) -> None:
        """Its time is over, or that of the runtime; or it did not end when it was killed."""
        if self._is_late or self._is_cancelled:
            self._finish()
            return
        left_s = self._left_s()
        if left_s > 0:
            self._alarm.set(clock.mono_s() + left_s)
            return
        self._is_late = True
        self._kill()

    def _left_s(self) -> float:
        """Its time begins when it runs: when its pid was written."""
        try:
            began_ns, limit_s = os.stat(self._pid_file).st_mtime_ns, self._timeout_s
        except OSError:  # the runtime is still at it
            began_ns, limit_s = self._began_unix_ns, _BEGIN_LIMIT_S
        return limit_s - max(0.0, (clock.wall_ns() - began_ns) / 1e9)

    def cancel(self) -> None:
        """End it; its result is of no interest. Idempotent."""
        if self._child is not None and not self._is_cancelled:
            self._is_cancelled = True
            self._kill()

    def leave(self) -> None:
        """The container has ended, and the kernel ends its check: the runtime reaps that, and ends."""
        if self._child is not None:
            self._is_cancelled = True
            checks.end(self._drivers, self._container_id, self._run)  # in a shared PID namespace the kernel does not
            self._alarm.set(clock.mono_s() + _DIES_S)

    def _kill(self) -> None:
        """End all of it. The runtime, which reaps it, then ends by itself; one that has not brought it in is ended."""
        self._alarm.set(clock.mono_s() + _DIES_S)
        if not self._run.shows_processes:
            self._kill_unseen()
        elif not checks.end(self._drivers, self._container_id, self._run):
            self._finish()

    def _kill_unseen(self) -> None:
        """The host does not see it: have it ended inside, with its process group."""
        pid = checks.pid_of(self._pid_file)
        if pid is None or pid <= 1:
            self._finish()
            return
        runtime = self._drivers.runtime(self._run.runtime)
        words = ["/bin/sh", "-c", f"kill -KILL -{pid}"]
        killer_pid_file = self._pid_file.with_name("check-killer.pid")
        with suppress(BentoError):
            self._killer = runtime.begin_exec(self._container_id, words, env=[], pid_file=killer_pid_file)

    def _finish(self) -> None:
        """It has ended, or is not waited for any longer."""
        child = self._child
        if child is None:
            return
        self._loop.unwatch(child.fileno())
        self._read()
        child.kill()  # of one that has ended nothing but the exit status is left
        code = child.finish(0.0).returncode
        is_in = self._pid_file.exists()
        self._close()
        if self._is_cancelled:
            self._on_end(None)
            return
        output = schedule.output_text(bytes(self._output), is_cut=self._is_cut)
        if self._is_late:
            self._on_end(self._result(_NOT_RUN, schedule.timeout_text(self._timeout_s, output)))
        else:
            self._on_end(self._result(code if is_in and code >= 0 else _NOT_RUN, output))

    def _result(self, code: int, output: str) -> HealthResult:
        return HealthResult(
            start_unix_ns=self._began_unix_ns, end_unix_ns=clock.wall_ns(), exit_code=code, output=output
        )

    def _close(self) -> None:
        self._alarm.set(None)
        if self._killer is not None:
            self._killer.kill()
        self._loop.unwatch(self._output_fd)
        os.close(self._output_fd)
        self._output_fd = -1
        self._child = self._killer = None
        checks.forget(self._drivers, self._container_id)

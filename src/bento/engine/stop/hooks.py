"""Running the hooks of a stop (rule S9): one at a time, as child processes whose pidfds the loop waits for.

A hook is in a session of its own, on the host as inside: ending it ends what it has started, but for what has left
that session on purpose. Its pid is kept in the run directory, so that the next driver can end what the last one has
begun.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterable
from contextlib import suppress
from typing import TYPE_CHECKING

from bento.errors import BentoError, UsageError, WrongState
from bento.files.smallfile import read_small, write_small
from bento.model.container import Container
from bento.model.stop import Hook, StopRequest

if TYPE_CHECKING:
    from pathlib import Path

    from bento.command import Child
    from bento.engine.base.drivers import Drivers
    from bento.engine.base.loop import Watcher
    from bento.model.container import Run

KINDS = ("inside", "host", "sleep")
_END_LIMIT_S = 5.0  # for reading what a hook that has ended has said
_OUTPUT_MAX = 200
_PID_FILE = "hook.pid"
_KILLER_PID_FILE = "hook-killer.pid"
_IN_ROOT = 'cd / && exec /bin/sh -c "$0"'
"""A hook's working directory does not depend on the command that asked for the stop."""


def check_hooks(hooks: Iterable[Hook]) -> None:
    """Refuse what could not be run. Raises UsageError."""
    for hook in hooks:
        if hook.kind not in KINDS:
            raise UsageError(f"unknown kind of hook {hook.kind!r}", hint=f"use one of {', '.join(KINDS)}")
        if hook.kind != "sleep" and (not hook.command.strip() or "\0" in hook.command):
            raise UsageError(f"bad hook {hook.command!r}", hint="give a command for /bin/sh")


class HookRunner:
    """Runs one hook at a time and says how it ended: "" is success."""

    def __init__(
        self,
        drivers: Drivers,
        container: Container,
        request: StopRequest,
        *,
        watcher: Watcher,
    ) -> None:
        self._drivers, self._container, self._request = drivers, container, request
        self._watcher = watcher
        self._child: Child | None = None
        self._killer: Child | None = None
        self._is_inside = False

    @property
    def _pid_file(self) -> Path:
        return self._drivers.run_dir(self._container.id) / _PID_FILE

    def begin(self, hook: Hook, on_end: Callable[[str], None]) -> None:
        """Begin a hook; ``on_end`` is called when it has ended, at once when it cannot be begun."""
        self._is_inside = hook.kind == "inside"
        try:
            child = self._spawn(hook)
        except BentoError as error:
            on_end(str(error))
            return
        self._child = child
        self._watcher.watch(child.fileno(), lambda: self._ended(child, on_end))
        for fd in (child.stdout_fd, child.stderr_fd):
            if fd is not None:
                self._watcher.watch(fd, self._drainer(child, fd))

    def _spawn(self, hook: Hook) -> Child:
        if self._is_inside:
            return self._spawn_inside(hook.command)
        if hook.kind == "sleep":
            child = self._drivers.spawn(["/bin/sleep", f"{hook.seconds:f}"], self._env())
        else:
            child = self._drivers.spawn(["/bin/sh", "-c", _IN_ROOT, hook.command], self._env())
        identity = self._drivers.processes.identify(child.pid)
        if identity is not None:
            with suppress(OSError):  # without it only a driver that takes over could not end this hook
                write_small(self._pid_file, f"{identity.pid} {identity.start_ticks}".encode())
        return child

    def _spawn_inside(self, command: str) -> Child:
        run = self._container.run
        if run is None or self._drivers.processes.is_frozen(run):
            raise WrongState("left out: the container is paused")
        runtime = self._drivers.runtime(run.runtime)
        env = [f"{name}={value}" for name, value in self._env().items()]
        return runtime.begin_exec(self._container.id, ["/bin/sh", "-c", command], env=env, pid_file=self._pid_file)

    def _env(self) -> dict[str, str]:
        return {
            "BENTO_CONTAINER_ID": self._container.id,
            "BENTO_CONTAINER_NAME": self._container.name,
            "BENTO_STOP_REASON": self._request.asked_by.value,
        }

    def _drainer(self, child: Child, fd: int) -> Callable[[], None]:
        """A hook that says more than a pipe holds must not wait for us."""

        def drain() -> None:
            if not child.drain(fd):
                self._watcher.unwatch(fd)

        return drain

    def _ended(self, child: Child, on_end: Callable[[str], None]) -> None:
        self._let_go(child)
        self._forget()
        try:
            done = child.finish(_END_LIMIT_S)
        except BentoError as error:
            on_end(str(error))
            return
        if done.returncode == 0:
            on_end("")
            return
        words = " ".join((done.stderr if done.stderr.strip() else done.stdout).split())
        said = "".join(letter if letter.isprintable() else "?" for letter in words)[-_OUTPUT_MAX:]
        how = f"signal {-done.returncode}" if done.returncode < 0 else f"exit status {done.returncode}"
        on_end(f"{how}: {said}" if said else how)

    def _let_go(self, child: Child) -> None:
        for fd in (child.fileno(), child.stdout_fd, child.stderr_fd):
            if fd is not None:
                self._watcher.unwatch(fd)
        self._child = None

    def _forget(self) -> None:
        with suppress(OSError):
            self._pid_file.unlink()

    def kill(self) -> None:
        """End the hook that runs, inside as well as here; its end is not reported. Idempotent."""
        child = self._child
        if child is None:
            self._kill_left()
            return
        if not self._is_inside:
            self._drivers.processes.kill_session(child.pid)
        self._let_go(child)
        child.kill()
        if self._is_inside:  # after the runtime, which can write the file no more
            self._kill_left()

    def _kill_left(self) -> None:
        """End what the pid file names, when it is still the same: begun by a driver that died, or by the runtime."""
        try:
            words = [int(word) for word in read_small(self._pid_file).split()]
        except (OSError, ValueError):
            return
        if len(words) == 2:
            fd = self._drivers.processes.watch(words[0], words[1])
            if fd is not None:
                self._drivers.processes.kill_session(words[0])
                os.close(fd)
        elif len(words) == 1 and self._container.run is not None and not self._container.run.shows_processes:
            self._kill_unseen(self._container.run, words[0])
        elif len(words) == 1 and self._is_member(words[0]):
            main = self._container.run.init if self._container.run else None
            self._drivers.processes.kill_session(words[0], spared=main.pid if main else 0)
        self._forget()

    def _kill_unseen(self, run: Run, pid: int) -> None:
        """The host does not see it: have it ended inside, with its process group. That is not waited for."""
        if pid <= 1:  # would mean all processes
            return
        self._end_killer()
        pid_file = self._pid_file.with_name(_KILLER_PID_FILE)
        words = ["/bin/sh", "-c", f"kill -KILL -{pid}"]
        with suppress(BentoError):  # else the container ends it
            self._killer = self._drivers.runtime(run.runtime).begin_exec(
                self._container.id, words, env=[], pid_file=pid_file
            )
            self._watcher.watch(self._killer.fileno(), self._end_killer)

    def _end_killer(self) -> None:
        killer, self._killer = self._killer, None
        if killer is not None:
            self._watcher.unwatch(killer.fileno())
            killer.kill()

    def _is_member(self, pid: int) -> bool:
        run = self._container.run
        found = self._drivers.processes.look(run, self._request.signal) if run else ()
        return any(process.pid == pid and not process.is_main for process in found)

    def close(self) -> None:
        """End the hook that this runner has begun. Idempotent."""
        if self._child is not None:
            self.kill()
        self._end_killer()

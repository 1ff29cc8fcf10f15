"""Ask PID 1 of a system container to end, for one stop: the triggers of ``bento.stop.methods`` carried out."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

from bento.errors import BentoError
from bento.stop.actions import RequestInit
from bento.stop.inputs import Identified, InitAnswered, Input
from bento.stop.methods import METHODS, Method, Trigger
from bento.units import signal_name

if TYPE_CHECKING:
    from bento.command import Child
    from bento.engine.base.drivers import Drivers
    from bento.engine.base.loop import Watcher
    from bento.model.container import Run

_SHELL = ("/bin/sh", "-c")
_ENDED_WITH_IT = (128 + 9, 128 + 15)
"""The init's own SIGTERM or SIGKILL to all: the command was ended by the shutdown it had asked for."""
_SAID_MOST = 200
_REAP_S = 1.0  # its end was seen


class InitRequester:
    """Carries out Identify and RequestInit. ``answer`` takes what could not be answered at once."""

    def __init__(
        self,
        drivers: Drivers,
        run: Run,
        container_id: str,
        *,
        watcher: Watcher,
        answer: Callable[[Input], None],
    ) -> None:
        self._drivers, self._run, self._container_id = drivers, run, container_id
        self._watcher, self._answer = watcher, answer
        self._child: Child | None = None

    def identify(self) -> Identified:
        """Look at PID 1."""
        return Identified(*self._drivers.processes.find_method(self._run))

    def ask(self, action: RequestInit, main_fd: int | None, command: str) -> InitAnswered | None:
        """Ask PID 1; None when the answer comes later. Nothing is raised: a failure is an answer."""
        name = action.method
        if main_fd is None:
            return InitAnswered(name, "PID 1 is gone")
        method = METHODS[name]
        try:
            match method.trigger:
                case Trigger.SIGNAL:
                    if action.is_patient and not self._is_ready(main_fd, method):
                        return InitAnswered(name, "it is still booting", retry=True)
                    return self._signal(name, main_fd, method.signal)
                case Trigger.INITCTL:
                    refusal = self._drivers.processes.ask_initctl(main_fd, self._run)
                    return InitAnswered(name, refusal.reason, refusal.may_pass) if refusal else InitAnswered(name)
                case Trigger.COMMAND:
                    return self._begin(name, command)
        except BentoError as error:
            return InitAnswered(name, error.message)

    def _is_ready(self, main_fd: int, method: Method) -> bool:
        return not method.ready_path or self._drivers.processes.has_path(main_fd, method.ready_path)

    def _signal(self, name: str, main_fd: int, number: int) -> InitAnswered:
        """Send it only to a PID 1 that receives it: it would be dropped, or end what is no such init."""
        processes = self._drivers.processes
        main = next((process for process in processes.look(self._run, number) if process.is_main), None)
        if main is None:
            return InitAnswered(name, "PID 1 is gone")
        if not main.disposition.receives:
            return InitAnswered(name, f"PID 1 does not receive {signal_name(number)}", retry=True)
        processes.send_signal(main_fd, number, wake=main.is_halted)
        return InitAnswered(name)

    def _begin(self, name: str, command: str) -> InitAnswered | None:
        if not command:
            return InitAnswered(name, "there is no stop command")
        self.close()
        pid_file = self._drivers.run_dir(self._container_id) / "asked.pid"
        runtime = self._drivers.runtime(self._run.runtime)
        child = runtime.begin_exec(self._container_id, [*_SHELL, command], env=[], pid_file=pid_file)
        self._child = child
        self._watcher.watch(child.fileno(), lambda: self._ended(name))
        return None

    def _ended(self, name: str) -> None:
        child, self._child = self._child, None
        if child is None:
            return
        self._watcher.unwatch(child.fileno())
        try:
            done = child.finish(_REAP_S)
        except BentoError as error:
            self._answer(InitAnswered(name, error.message))
            return
        if done.returncode in (0, *_ENDED_WITH_IT):
            self._answer(InitAnswered(name))
            return
        said = " ".join(done.stderr.split())[-_SAID_MOST:]
        self._answer(InitAnswered(name, f"the stop command ended with status {done.returncode}{said and f': {said}'}"))

    def close(self) -> None:
        """End a command that still runs, or rather the runtime's part of it outside. Idempotent."""
        child, self._child = self._child, None
        if child is not None:
            self._watcher.unwatch(child.fileno())
            child.kill()

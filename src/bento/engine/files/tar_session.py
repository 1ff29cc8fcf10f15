"""A tar that runs in a container, for one whose files are reached only from inside."""

from __future__ import annotations

import os
import select
from types import TracebackType
from typing import TYPE_CHECKING, Final, Self

from bento.engine.lifecycle import exec_
from bento.errors import BentoError, CommandNotFound, Conflict, MissingTool, NotFound, RuntimeFailed
from bento.model.exec import ExecOptions

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.model.container import Container

_READ_BYTES: Final = 1 << 16
_WORDS_BYTES: Final = 4096  # of what it says, the end
_CHANGES: Final = ("file changed as we read it", "File removed before we read it", "; padding with zeros")


class TarSession:
    """One exec of tar. Use it as a context: leaving it early ends tar, by closing its pipes.

    ``path`` is what it is about, for errors. Raises MissingTool when the container has none, WrongState.
    """

    def __init__(self, drivers: Drivers, container: Container, path: str, *words: str, has_input: bool = False) -> None:
        self._drivers, self._name, self._path = drivers, container.name, path
        options = ExecOptions(command=("tar", *words), env=("LC_ALL=C",), workdir="/", user="0:0", has_input=has_input)
        try:
            self._running = exec_.attached(drivers, container.id, options)
        except CommandNotFound:
            raise MissingTool(
                f"container {container.name} has no tar, without which its files cannot be reached while it runs",
                hint="stop it first",
            ) from None
        outputs = (self._running.stdout_fd, self._running.stderr_fd)
        self._open = {fd for fd in outputs if fd is not None}
        self._said = b""
        if self._running.stdin_fd is not None:
            os.set_blocking(self._running.stdin_fd, False)

    def read(self, size: int) -> bytes:
        """Return some of its output, b"" at its end. Blocks."""
        fd = self._running.stdout_fd
        while fd in self._open and not self._wait(fd, select.POLLIN):
            pass
        data = os.read(fd, size) if fd in self._open else b""
        if not data:
            self._open.discard(fd)
        return data

    def write(self, data: bytes) -> None:
        """Give it input. Blocks. Raises what made it end before it had all."""
        fd = self._running.stdin_fd
        view = memoryview(data)
        while view and fd is not None:
            try:
                if self._wait(fd, select.POLLOUT):
                    view = view[os.write(fd, view) :]
            except BrokenPipeError:
                self.finish()
                raise RuntimeFailed(f"the tar in container {self._name} has ended too early") from None

    def finish(self) -> None:
        """Wait for its end. Raises NotFound, Conflict, RuntimeFailed by what it has said."""
        self._running.end_input()
        while self._open:
            self._wait(-1, 0)
        code = exec_.wait(self._drivers, self._running)
        if code != 0 and not self._has_only_changed(code):
            raise self._failure(code)

    def _has_only_changed(self, code: int) -> bool:
        """Whether all there was to say is that files were written to meanwhile: GNU tar ends with 1 for that."""
        lines = self._said.decode(errors="replace").strip().splitlines()
        return code == 1 and bool(lines) and all(any(words in line for words in _CHANGES) for line in lines)

    def _failure(self, code: int) -> BentoError:
        lines = self._said.decode(errors="replace").strip().splitlines()
        # GNU tar ends with a line that says no more than that there were others.
        words = next((line for line in lines if line.startswith("tar:")), "") or f"it ended with status {code}"
        where = f"in container {self._name}: {self._path}"
        if "No such file" in words:
            return NotFound(f"no such file {where}")
        if "Not a directory" in words:
            return Conflict(f"not a directory {where}")
        return RuntimeFailed(f"the tar in container {self._name} says: {words.removeprefix('tar: ')}")

    def _wait(self, wanted_fd: int, event: int) -> bool:
        """Wait until a descriptor is ready, or something else is to be read, which is taken in; return which it was."""
        poller = select.poll()
        for fd in self._open - {wanted_fd}:
            poller.register(fd, select.POLLIN)
        if wanted_fd >= 0:
            poller.register(wanted_fd, event)
        ready = {fd for fd, _ in poller.poll()}
        for fd in ready & self._open - {wanted_fd}:
            data = os.read(fd, _READ_BYTES)
            if not data:
                self._open.discard(fd)
            elif fd == self._running.stderr_fd:
                self._said = (self._said + data)[-_WORDS_BYTES:]
        return wanted_fd in ready

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._running.close()

"""PID namespaces that containers share: the host's, or that of another container which runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from bento.engine.lifecycle import reconcile
from bento.engine.stop import joined
from bento.errors import UsageError, WrongState
from bento.model.container import Container

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers

_CONTAINER = "container:"


def resolve(drivers: Drivers, text: str) -> str:
    """Return what the spec keeps of ``--pid``. Raises UsageError, NotFound, WrongState for one that does not run."""
    if text in ("", "host"):
        return text
    if not text.startswith(_CONTAINER) or text == _CONTAINER:
        raise UsageError(f"bad PID namespace {text!r}", hint="use host, or container:NAME")
    other = reconcile.find(drivers, text.removeprefix(_CONTAINER))
    _check(other)
    return _CONTAINER + other.id


def container_of(pid: str) -> str:
    """Return the id of the container whose PID namespace a spec names, or ""."""
    return pid.removeprefix(_CONTAINER) if pid.startswith(_CONTAINER) else ""


@contextmanager
def namespaces(drivers: Drivers, container: Container) -> Iterator[list[dict[str, str]]]:
    """Give the entries for ``linux.namespaces`` by which a container shares a PID namespace, within the context.

    Raises NotFound, WrongState when the other container does not run (any more).
    """
    pid = container.spec.pid
    if not container_of(pid):
        yield []
        return
    other = reconcile.find(drivers, container_of(pid))
    _check(other)
    run = other.run
    path = f"/proc/{run.init.pid}/ns/pid" if run and run.init else ""
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        raise _gone(other) from None
    try:
        # Opened first, checked then: a number that is another process's by now is noticed (rule S3).
        if run is None or not reconcile.is_alive(drivers, run):
            raise _gone(other)
        joined.mark(drivers, other.id, container.id)
        yield [{"type": "pid", "path": f"/proc/{os.getpid()}/fd/{fd}"}]
    finally:
        os.close(fd)


def _check(other: Container) -> None:
    if not other.status.is_live or other.run is None or other.run.init is None:
        raise _gone(other)
    if not other.run.shows_processes:
        raise UsageError(f"container {other.name} has no PID namespace that could be shared: it is virtual")


def _gone(other: Container) -> WrongState:
    return WrongState(f"container {other.name} does not run: it has no PID namespace to share", hint="start it first")

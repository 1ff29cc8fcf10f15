"""Namespaces that containers share: the host's, or those of another container which runs."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from typing import TYPE_CHECKING, Final

from msgspec import Struct
from msgspec.structs import replace

from bento.engine.base.liveness import lives
from bento.engine.lifecycle import reconcile
from bento.engine.stop import joined
from bento.errors import KernelError, UsageError, WrongState
from bento.model.container import Container, ContainerSpec, Namespaces, ProcessIdentity
from bento.model.network import POD

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers
    from bento.model.pods import Pod

_CONTAINER: Final = "container:"
_IPC: Final = ("", "private", "shareable", "none", "host")
_FILES: Final = {"network": "net"}
"""What /proc calls a namespace, where that is not as runtimes do."""
_SHM: Final = "/dev/shm"


class Shared(Struct, frozen=True):
    """What a container gets of others: entries for ``linux.namespaces``, and a detached mount for its /dev/shm."""

    namespaces: list[dict[str, str]]
    shm_fd: int | None = None


def resolve(drivers: Drivers, asked: Namespaces) -> Namespaces:
    """Return what the spec keeps: ids for names. Raises UsageError, NotFound, WrongState for one that does not run."""
    return replace(asked, pid=_resolve_pid(drivers, asked.pid), ipc=_resolve_ipc(drivers, asked.ipc))


def _resolve_pid(drivers: Drivers, text: str) -> str:
    if text in ("", "host", "private") or text.startswith(POD):
        return "" if text == "private" else text
    if not container_of(text):
        raise UsageError(f"bad PID namespace {text!r}", hint="use host, private, or container:NAME")
    return _CONTAINER + _find(drivers, text).id


def _resolve_ipc(drivers: Drivers, text: str) -> str:
    if text in _IPC or text.startswith(POD):
        return text
    if not container_of(text):
        raise UsageError(f"bad IPC namespace {text!r}", hint="use private, shareable, none, host or container:NAME")
    return _CONTAINER + _find(drivers, text, is_ipc=True).id


def resolve_network(drivers: Drivers, text: str) -> tuple[str, Container | None]:
    """The same of ``--network``, which may also be a network, and the container; that need not run by now."""
    if not text.startswith(_CONTAINER):
        return text, None
    if not container_of(text):
        raise UsageError(f"bad network {text!r}", hint="use container:NAME")
    other = drivers.store.find(container_of(text))
    if other.spec.network == "host":
        raise UsageError(f"container {other.name} is on the host's network", hint="use --network host")
    if container_of(other.spec.network):
        raise UsageError(
            f"container {other.name} has no network of its own",
            hint=f"share that of the one it shares: --network {other.spec.network}",
        )
    return _CONTAINER + other.id, other


def container_of(mode: str) -> str:
    """Return the container whose namespace is named, or ""."""
    return mode.removeprefix(_CONTAINER) if mode.startswith(_CONTAINER) else ""


def givers(spec: ContainerSpec) -> set[str]:
    """Return the ids of the containers whose namespaces it shares."""
    modes = (spec.network, spec.namespaces.pid, spec.namespaces.ipc)
    return {giver for mode in modes if (giver := container_of(mode))}


def _find(drivers: Drivers, mode: str, *, is_ipc: bool = False) -> Container:
    other = reconcile.find(drivers, container_of(mode))
    if not other.status.is_live or other.run is None or other.run.init is None:
        raise _gone(other)
    if not other.run.shows_processes:
        raise UsageError(f"container {other.name} has no namespace that could be shared: it is virtual")
    if is_ipc and other.spec.namespaces.ipc != "shareable":
        raise UsageError(
            f"the shared memory of container {other.name} is its own", hint="create that one with --ipc shareable"
        )
    return other


@contextmanager
def shared(drivers: Drivers, container: Container) -> Iterator[Shared]:
    """Give what a container shares with other containers, or with its pod, within the context.

    Raises NotFound, WrongState when another container does not run (any more), or the pod is not ready (any more).
    """
    spec = container.spec
    pod = ready_pod(drivers, container) if spec.pod else None
    entries: list[dict[str, str]] = []
    shm_fd = None
    with ExitStack() as stack:
        namespaces = spec.namespaces
        modes = (
            ("user", namespaces.user),
            ("pid", namespaces.pid),
            ("ipc", namespaces.ipc),
            ("uts", namespaces.uts),
            ("network", spec.network),
        )
        for kind, mode in modes:
            if pod is not None and mode.startswith(POD):
                fd = _open_of_pod(drivers, pod, _FILES.get(kind, kind))
                stack.callback(os.close, fd)
                entries.append({"type": kind, "path": f"/proc/{os.getpid()}/fd/{fd}"})
                if kind == "ipc":
                    shm_fd = _found(drivers.pods.open_shm(pod.id), pod)
                    stack.callback(os.close, shm_fd)
            if not container_of(mode):
                continue
            other = _find(drivers, mode, is_ipc=kind == "ipc")
            fd, init = _open(drivers, other, kind)
            stack.callback(os.close, fd)
            entries.append({"type": kind, "path": f"/proc/{os.getpid()}/fd/{fd}"})
            if kind == "pid":
                joined.mark(drivers, other.id, container.id)
            elif kind == "ipc":
                shm_fd = _open_shm(drivers, other, init)
                stack.callback(os.close, shm_fd)
        yield Shared(entries, shm_fd)


def ready_pod(drivers: Drivers, container: Container) -> Pod:
    """Return the pod of a container. Raises WrongState unless it is ready, NotFound."""
    pod = drivers.store.get_pod(container.spec.pod)
    if not pod.is_ready:
        raise WrongState(f"pod {pod.name} is {pod.state.value}", hint=f"start it first: bento pod start {pod.name}")
    return pod


def _open_of_pod(drivers: Drivers, pod: Pod, kind: str) -> int:
    if kind == "pid":
        return _open_pid_of_pod(drivers, pod)
    pin = next((pin for pin in pod.pins if pin.kind == kind), None)
    return _found(drivers.pods.open(pod.id, pin) if pin is not None else None, pod)


def _open_pid_of_pod(drivers: Drivers, pod: Pod) -> int:
    try:
        fd = os.open(f"/proc/{pod.init.pid if pod.init else 0}/ns/pid", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return _found(None, pod)
    if not lives(drivers, pod.init):  # checked after it was opened, as below
        os.close(fd)
        return _found(None, pod)
    return fd


def _found(fd: int | None, pod: Pod) -> int:
    if fd is None:
        raise WrongState(f"pod {pod.name} has lost its namespaces", hint=f"start it again: bento pod start {pod.name}")
    return fd


def _open(drivers: Drivers, other: Container, kind: str) -> tuple[int, ProcessIdentity]:
    run = other.run
    if run is None or run.init is None:
        raise _gone(other)
    try:
        fd = os.open(f"/proc/{run.init.pid}/ns/{_FILES.get(kind, kind)}", os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        raise _gone(other) from None
    # Opened first, checked then: a number that is another process's by now is noticed (rule S3).
    if not reconcile.is_alive(drivers, run):
        os.close(fd)
        raise _gone(other)
    return fd, run.init


def _open_shm(drivers: Drivers, other: Container, init: ProcessIdentity) -> int:
    try:
        fd = drivers.processes.open_mount(init, _SHM)
    except KernelError as error:
        raise WrongState(f"container {other.name} has no {_SHM} to share: {error.message}") from error
    if fd is None:
        raise _gone(other)
    return fd


def _gone(other: Container) -> WrongState:
    return WrongState(f"container {other.name} does not run: it has no namespace to share", hint="start it first")

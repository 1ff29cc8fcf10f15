"""A container that is made into a pod: what it has of that, and what is the pod's alone to say."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from msgspec.structs import replace

from bento.engine.base.drivers import LOCK_TIMEOUT_S
from bento.errors import UsageError, WrongState
from bento.lazy import LazyModule
from bento.model.network import POD

if TYPE_CHECKING:
    from collections.abc import Iterator

    from bento.drivers.runtime.base import RuntimeDriver
    from bento.engine.base.drivers import Drivers
    from bento.model import pods
    from bento.model.container import ContainerSpec, Namespaces
    from bento.model.create import CreateOptions
    from bento.model.pods import NamespaceMode, Pod
else:  # most containers are in none
    pods = LazyModule("bento.model.pods")


def settle(drivers: Drivers, options: CreateOptions) -> tuple[CreateOptions, Pod | None]:
    """Return the options with what is the pod's, and the pod; None where none was named.

    Raises NotFound, UsageError for what is the pod's to say, WrongState unless it is ready.
    """
    own = options.namespaces
    if any(mode.startswith(POD) for mode in (options.network, own.pid, own.ipc, own.uts, own.user)):
        raise UsageError(f"bad namespace {POD!r}...", hint="name the pod: --pod")
    if not options.pod:
        if own.ids is not None:
            raise UsageError("ids are given for a user namespace without a pod", hint="use --userns auto")
        return options, None
    pod = drivers.store.find_pod(options.pod)
    _refuse(options, pod)
    _refuse_ids(own, pod)
    _refuse_unready(pod)
    settings = pod.settings
    namespaces = replace(
        own,
        pid=own.pid or _mode(pod, settings.pid),
        ipc=own.ipc or _mode(pod, settings.ipc),
        uts=own.uts or (_mode(pod, settings.uts) if pod.has_network else "host"),
        user=own.user if settings.ids is None else f"{POD}{pod.id}",
        ids=settings.ids,
    )
    sandbox = replace(
        options.sandbox,
        dns=options.sandbox.dns or settings.dns,
        dns_search=options.sandbox.dns_search or settings.dns_search,
        dns_options=options.sandbox.dns_options or settings.dns_options,
        extra_hosts=(*settings.extra_hosts, *options.sandbox.extra_hosts),
    )
    settled = replace(
        options,
        network=f"{POD}{pod.id}" if pod.has_network else "host",
        hostname=settings.hostname if namespaces.uts.startswith(POD) else options.hostname,
        namespaces=namespaces,
        sandbox=sandbox,
        runtime=options.runtime or settings.runtime,
    )
    return settled, pod


def _mode(pod: Pod, mode: NamespaceMode) -> str:
    if mode is pods.NamespaceMode.POD:
        return f"{POD}{pod.id}"
    return "host" if mode is pods.NamespaceMode.NODE else ""


def _refuse(options: CreateOptions, pod: Pod) -> None:
    for is_given, what in (
        (options.network or options.attachments, "--network"),
        (options.ports.published or options.ports.publish_all, "--publish"),
        (options.hostname, "--hostname"),
        (options.stop.drain, "--drain"),
    ):
        if is_given:
            raise UsageError(f"{what} does not go with --pod {pod.name}", hint="say it of the pod: bento pod create")


def _refuse_ids(own: Namespaces, pod: Pod) -> None:
    """Raise UsageError where other users are asked for than those of the pod."""
    ids = pod.settings.ids
    if own.user and ids is not None:
        raise UsageError(f"pod {pod.name} has a user namespace, which excludes --userns {own.user}", hint="omit it")
    if own.ids is not None and own.ids != ids:
        raise UsageError(
            f"the ids of the container are not those of the user namespace of pod {pod.name}", hint="give the same"
        )


def _refuse_unready(pod: Pod) -> None:
    if not pod.is_ready:
        raise WrongState(f"pod {pod.name} is {pod.state.value}", hint=f"start it first: bento pod start {pod.name}")


def placed(spec: ContainerSpec, pod: Pod | None) -> ContainerSpec:
    """Return the spec with its place in the pod."""
    return spec if pod is None else replace(spec, pod=pod.id, cgroup_parent=pod.settings.cgroup_parent)


@contextmanager
def held(drivers: Drivers, pod: Pod | None, runtime: RuntimeDriver, options: CreateOptions) -> Iterator[None]:
    """Have the pod stay until the record says that a container is in it.

    Raises UsageError for a runtime that cannot be in it, NotFound, WrongState: it has gone, or is not ready any more.
    """
    if pod is None:
        yield
        return
    if options.namespaces.pid.startswith(POD) and not runtime.shows_processes:
        raise UsageError(
            f"runtime {runtime.name} cannot share the PID namespace of pod {pod.name}", hint="use --pid private"
        )
    with drivers.locks.hold(pod.id, LOCK_TIMEOUT_S):
        _refuse_unready(drivers.store.get_pod(pod.id))
        yield

"""Pods: containers that share namespaces, a network and a parent cgroup, kept without a process of their own."""

from __future__ import annotations

from enum import Enum
from typing import Final

from msgspec import Struct

from bento.model.container import Place, ProcessIdentity
from bento.model.network import Connection, Port

POD: Final = "pod:"
"""What the network, and a namespace, of a container begins with that are its pod's; behind it is the pod's id."""


class PodState(str, Enum):
    """Where a pod is in its life. What is under way is finished by the next command that meets it, should it die."""

    CREATING = "creating"  # a killed creation is undone: there is no pod then
    READY = "ready"
    STOPPING = "stopping"
    NOT_READY = "not-ready"  # stopped, or lost to a reboot: nothing of it is held
    REMOVING = "removing"


class NamespaceMode(str, Enum):
    """Which namespace the containers of a pod are in; the words of the Container Runtime Interface.

    Its fourth, TARGET, is of one container alone: ``Namespaces.pid`` with "container:" and an id.
    """

    POD = "pod"  # the pod's
    CONTAINER = "container"  # each has its own
    NODE = "node"  # the host's


class PodSettings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a caller says of a pod and what is recorded of it alike.

    ``network``: as of a container: none, host (which is NODE), bridge, the name of a network, or "cni:" and one of the
    CNI directory. "": the first list of the configured CNI directory where it has any, else Bento's default network.
    The record has what came of it.
    """

    hostname: str = ""  # "": the pod's name
    network: str = ""
    pid: NamespaceMode = NamespaceMode.CONTAINER
    ipc: NamespaceMode = NamespaceMode.POD  # and /dev/shm
    uts: NamespaceMode = NamespaceMode.POD  # with the host's network always the host's
    ports: tuple[Port, ...] = ()
    dns: tuple[str, ...] = ()  # (), as the two below: what the host has
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    extra_hosts: tuple[tuple[str, str], ...] = ()  # (name, address), beside those of each container
    sysctls: dict[str, str] = {}  # of the namespaces that are the pod's
    shm_bytes: int | None = None  # of the pod's /dev/shm; None: the default
    cgroup_parent: str = ""  # below each controller, as "/kubepods/burstable/podUID"; "": where other containers are
    runtime: str = ""  # of its containers, unless one says another; "": the engine's default
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    front: dict[str, str] = {}  # what the API that made it keeps of it, for itself alone


class PodOptions(PodSettings, frozen=True, kw_only=True, omit_defaults=True):
    """What a caller says of a new pod."""

    name: str = ""  # "": two words, drawn


class Pin(Struct, frozen=True):
    """A namespace that is kept by a mount below the run root. ``kind`` as in /proc/PID/ns: net, ipc, uts."""

    kind: str
    inode: int


class PodStop(Struct, frozen=True, kw_only=True):
    """A stop under way: until when its containers may take. CLOCK_BOOTTIME, of the boot of the pod's ``place``."""

    deadline_boot_s: float | None  # None: they are not killed
    grace_s: float | None = None  # of each container; None: its own


class Pod(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The whole record.

    ``place``, ``pins``, ``init`` and ``connections`` are of the time since it was last made ready, and are gone, but
    for ``place``, when it is NOT_READY.
    """

    id: str  # 64 hexadecimal digits
    name: str
    created_unix_ns: int
    settings: PodSettings
    state: PodState = PodState.CREATING
    place: Place | None = None
    pins: tuple[Pin, ...] = ()
    init: ProcessIdentity | None = None  # of its PID namespace, where that is the pod's
    connections: tuple[Connection, ...] = ()  # as of a container's run, with the addresses and the ports
    stop: PodStop | None = None

    @property
    def is_ready(self) -> bool:
        """Whether containers can be started in it."""
        return self.state is PodState.READY

    @property
    def addresses(self) -> tuple[str, ...]:
        """Its own IP addresses, of its first network; () with the host's network, or none."""
        return tuple(address for one in self.connections[:1] for address in (one.address, one.address6) if address)

    @property
    def has_network(self) -> bool:
        """Whether it has a network namespace."""
        return self.settings.network != "host"

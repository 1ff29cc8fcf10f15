"""Pods: containers that share namespaces, a network and a parent cgroup, kept without a process of their own."""

from __future__ import annotations

from enum import Enum
from typing import Final

from msgspec import Struct

from bento.model.container import Place, ProcessIdentity
from bento.model.namespaces.mapping import IdMapping
from bento.model.network import POD, Connection, Port

__all__ = ["POD", "NamespaceMode", "Pin", "Pod", "PodOptions", "PodSettings", "PodState", "PodStop"]

CNI_FIRST: Final = "cni:"
"""A network of a pod: the first list of the CNI directory, where that has one, else the default network."""


class PodState(str, Enum):
    """Where a pod is in its life. What is under way is finished by the next command that meets it, should it die."""

    CREATING = "creating"  # a killed creation is undone: there is no pod then
    STARTING = "starting"  # was not ready; a killed start is undone
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

    ``network``: as of a container: none, host (which is NODE), bridge, the name of a network, or "cni:" and the name of
    one in the configured CNI directory. "cni:" alone: the first list there, by the name of its file, and without one
    the default network; "": that of containers. The record has what came of it.
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
    ids: IdMapping | None = None  # of a user namespace that is the pod's; None: users are the machine's
    cgroup_parent: str = ""  # below each controller, as "/kubepods/burstable/podUID"; "": where other containers are
    runtime: str = ""  # of its containers, unless one says another; "": the engine's default
    labels: dict[str, str] = {}
    annotations: dict[str, str] = {}
    cni_args: dict[str, str] = {}  # CNI_ARGS of the plugins, as K8S_POD_NAME
    front: dict[str, str] = {}  # what the API that made it keeps of it, for itself alone


class PodOptions(PodSettings, frozen=True, kw_only=True, omit_defaults=True):
    """What a caller says of a new pod."""

    name: str = ""  # "": two words, drawn


class Pin(Struct, frozen=True):
    """A namespace that is kept by a mount below the run root. ``kind`` as in /proc/PID/ns: net, ipc, uts, user."""

    kind: str
    inode: int


class PodStop(Struct, frozen=True, kw_only=True):
    """A stop under way: how long its containers may take. CLOCK_BOOTTIME, of the boot of the pod's ``place``."""

    deadline_boot_s: float | None = None  # for all of them together; None: each has its own grace
    is_endless: bool = False  # they are not killed
    helped_boot_s: float = 0.0  # when a process was last started that goes on with it


class Pod(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The whole record.

    ``place``, ``pins``, ``init``, ``connections`` and ``cgroups`` are of the time since it was last made ready, and are
    gone, but for ``place``, when it is NOT_READY and all was released.
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
    cgroups: tuple[str, ...] = ()  # directories that were not there before it, innermost first
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


class Readiness(Struct, frozen=True, kw_only=True):
    """Whether containers, and pods with a network, can be made here: why not, in a sentence, or "" where they can.

    ``runtimes``: the names of the OCI runtimes that there are. ``has_recursive_read_only``: whether a read-only bind
    mount can be read-only all the way down. ``mapping``: those of ``runtimes`` that have user namespaces here, and ""
    where the default one has.
    """

    runtime: str = ""
    network: str = ""
    runtimes: tuple[str, ...] = ()
    has_recursive_read_only: bool = False
    mapping: tuple[str, ...] = ()

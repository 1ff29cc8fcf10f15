"""A container as the store keeps it: what was asked for, what runs, how it ended."""

from enum import Enum
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from bento.model.health import Health, HealthStatus, OnUnhealthy
from bento.model.image import Healthcheck
from bento.model.namespaces.mapping import IdMapping
from bento.model.network import CNI, OF_OTHERS, Attachment, Connection, Port
from bento.model.resources import CgroupSettings, Device, Resources
from bento.model.stop import StopIntent, StopReport, StopSettings

LOG_DRIVERS: Final = ("k8s-file", "json-file", "local", "journald", "none")
"""The first is a file of Bento's own, and Docker's next two mean the same; journald is systemd's journal."""
FILE_DRIVERS: Final = LOG_DRIVERS[:3]
UNCONFINED: Final = "unconfined"
"""Instead of a seccomp profile: there is none."""
VOLUME: Final = "volume"
"""The kind of a mount that is a volume."""
IMAGE: Final = "image"
"""The kind of a mount that is an image, read-only."""
MERGE: Final = "merge"
STRICT: Final = "strict"
"""How groups are found: see ``NodeSettings``."""
PROPAGATIONS: Final = frozenset(
    {"private", "rprivate", "shared", "rshared", "slave", "rslave", "unbindable", "runbindable"}
)


class Status(str, Enum):
    """Where a container is in its life. PAUSED is never stored: the kernel's freezer says it."""

    CREATED = "created"
    STARTING = "starting"
    RUNNING = "running"
    PAUSED = "paused"
    STOPPING = "stopping"
    STOPPED = "stopped"
    RESTARTING = "restarting"  # nothing runs; its restart policy will start it again

    @property
    def is_live(self) -> bool:
        """Whether processes of the container may exist."""
        return self in (Status.STARTING, Status.RUNNING, Status.PAUSED, Status.STOPPING)

    @property
    def is_wanted(self) -> bool:
        """Whether it is live, or will be again by itself."""
        return self.is_live or self is Status.RESTARTING


class RestartPolicy(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What happens after an exit that no stop asked for. ``limit``: at most so many restarts; 0 is no limit."""

    name: str = "no"  # no | on-failure | always | unless-stopped
    limit: int = 0


class Mount(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A bind mount, a volume or a tmpfs (``-v``, ``--mount``, ``--tmpfs``), or an image; paths are absolute.

    ``source`` of an image is a name, in the record its id. Of a volume it is its name; "" asks ``create`` for an
    anonymous one. ``options``: of a bind mount its propagation, "bind" where what is mounted below is left out, nosuid,
    nodev, noexec, the last three of a volume, too; of a tmpfs those of mount(8).
    """

    kind: str  # "bind", "volume", "tmpfs" or "image"
    destination: str
    source: str = ""
    read_only: bool = False
    read_only_flat: bool = False  # of a bind mount that is read-only: what is mounted below it is as on the host
    options: tuple[str, ...] = ()
    reaches_host: bool = False  # of a bind mount: what is mounted below it in the container is there on the host, too
    make_source: bool = False  # of a bind mount: a directory is made where its source is missing
    no_copy: bool = False  # of a volume: what the image has at the destination is not copied into it
    chown: bool = False  # of a bind mount or a volume: each start gives all in it to the container's user
    anonymous: bool = False  # a volume that is this container's own
    sub_path: str = ""  # of an image: what of it is mounted; "" is all
    of_image: bool = False  # a volume that the image alone has asked for


class Ulimit(Struct, frozen=True, kw_only=True):
    """A resource limit (setrlimit(2)); ``name`` as in ``nofile``."""

    name: str
    soft: int
    hard: int


class Sandbox(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What was asked for beside the default sandbox, or instead of a part of it.

    ``seccomp``: "" is the machine's profile, "unconfined" none, else the path of a file, or a profile's text,
    which begins with {. ``shm_bytes``: None is the default. ``extra_hosts`` are (name, address).
    """

    cap_add: tuple[str, ...] = ()  # as CAP_CHOWN, or ALL
    cap_drop: tuple[str, ...] = ()
    no_new_privileges: bool = False
    seccomp: str = ""
    group_add: tuple[str, ...] = ()  # names, resolved in the root filesystem at start, or ids
    extra_hosts: tuple[tuple[str, str], ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()  # of resolv.conf(5), as "ndots:2"
    shm_bytes: int | None = None
    sysctls: dict[str, str] = {}
    devices: tuple[Device, ...] = ()
    cdi_devices: tuple[str, ...] = ()  # as "vendor.com/class=name": the Container Device Interface describes them
    device_rules: tuple[str, ...] = ()  # as "c 10:* rwm"
    privileged: bool = False  # all capabilities, all devices, no filter, nothing hidden
    shows_system_paths: bool = False  # what of /proc and /sys is hidden or read-only else
    apparmor: str = ""  # the name of a profile, or "unconfined"
    labels: tuple[str, ...] = ()  # of SELinux: "disable", or parts as "type:NAME"


def attached_to(network: str) -> tuple[Attachment, ...]:
    """Return what is asked of a network by its name alone; nothing of "none", "host", "container:", "pod:", "cni:"."""
    is_one = network not in ("none", "host") and not network.startswith((*OF_OTHERS, CNI))
    return (Attachment(network=network),) if is_one else ()


class Streams(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The standard streams of the program."""

    tty: bool = False  # they are a terminal
    stdin_open: bool = False  # it has an input that can be attached to
    stdin_once: bool = False  # that input ends with the first attachment that has it; a terminal's never does


class Files(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The root filesystem, and what is mounted below it.

    The record has the image's volumes among ``mounts``, and ids in the place of names in ``volumes_from``.
    """

    read_only: bool = False  # the root filesystem
    read_only_tmpfs: bool = False  # and with it: /run, /tmp and /var/tmp are in memory
    mounts: tuple[Mount, ...] = ()
    volumes_from: tuple[str, ...] = ()  # NAME or NAME:ro, of containers whose mounts it gets, too


class Ports(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The ports of the container. The record has the image's among ``exposed``."""

    published: tuple[Port, ...] = ()  # on the host
    publish_all: bool = False  # the ports exposed, too, on free ones of the host
    exposed: tuple[str, ...] = ()  # as "80/tcp"


class LogSettings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Where the output is kept, and how much of it."""

    driver: str = LOG_DRIVERS[0]  # "none": its output is not kept
    tag: str = ""  # in the journal, beside its id and its name
    max_bytes: int | None = None  # before a file grows beyond, there is a new one; 0: no limit; None: the engine's
    max_files: int | None = None  # that many are kept, the newest; None: one, or what the log driver has

    @property
    def limit_bytes(self) -> int:
        """Of a record: how large a file may grow; 0 is no limit."""
        return self.max_bytes or 0

    @property
    def file_count(self) -> int:
        """Of a record: how many files are kept."""
        return self.max_files or 1


class HealthSettings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """How its health is checked. The record has the image's check, with what was asked for in its place."""

    check: Healthcheck | None = None  # None: the image's, or none
    on_failure: OnUnhealthy = OnUnhealthy.NONE  # what is done with it when it is unhealthy

    @property
    def is_checked(self) -> bool:
        """Whether checks are carried out while it runs."""
        return self.check is not None and bool(self.check.argv)


class ProcessLimits(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Limits of each process, beside those that the cgroups of the container keep."""

    ulimits: tuple[Ulimit, ...] = ()
    oom_score_adj: int | None = None  # -1000 to 1000: the greater, the sooner it is killed when the host runs short


class Namespaces(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """Which namespaces it shares, and with what. The record has an id behind "container:".

    In a pod "" is the pod's mode, and the record of what shares the pod's has "pod:" and its id.
    """

    pid: str = ""  # "" and "private" are its own; "host", or "container:" and a name or id
    ipc: str = ""  # and /dev/shm, as ``pid``, or "none"; "shareable": its own, which others may have, too
    uts: str = ""  # "host", "private", or "": the host's with its network, unless a name was asked for
    cgroup: str = ""  # "host", or "private" and "": its own
    user: str = ""  # "host" and "": the machine's, or the pod's; "auto" or "auto:size=N": its own
    ids: IdMapping | None = None  # of a user namespace that is not the machine's; of options: what the pod's has to be


SD_NOTIFY: Final = ("container", "conmon", "healthy", "ignore")
"""What tells systemd that a container is ready: its program, its start, its health check, or nothing."""


class NodeSettings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What the agent of a cluster's node asks of a container, and no option of the command line says."""

    log_path: str = ""  # absolute: its output is kept there, and not in Bento's own file; the caller rotates it
    masked_paths: tuple[str, ...] | None = None  # what of /proc and /sys shows nothing; None: what does by default
    read_only_paths: tuple[str, ...] | None = None  # what of them is read-only; None: what is by default
    unified: dict[str, str] = {}  # files of version 2 of cgroups, as "memory.oom.group", and what is written to them
    ambient: tuple[str, ...] = ()  # capabilities that a program of any user holds and hands on; as CAP_CHOWN, or ALL
    hugepages: dict[str, int] = {}  # bytes of pages of a size, as "2MB"; of a record: those that the host can keep
    group_policy: str = ""  # "merge": /etc/group counts also where a group is asked for; "strict": never; "": only else
    front: dict[str, str] = {}  # what the API that made it keeps of it, for itself alone


class ContainerSettings(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """What a caller says of a container and what is recorded of it alike, in a group for each concern."""

    init: bool = False  # a small init in front of its program
    system: bool = False  # its program is an init, and gets what inits need
    auto_remove: bool = False  # it is deleted once it has ended
    restart: RestartPolicy = RestartPolicy()
    streams: Streams = Streams()
    files: Files = Files()
    attachments: tuple[Attachment, ...] = ()  # its networks in order, ``network`` the first; (): that alone
    ports: Ports = Ports()
    stop: StopSettings = StopSettings()
    health: HealthSettings = HealthSettings()
    log: LogSettings = LogSettings()
    resources: Resources = Resources()
    limits: ProcessLimits = ProcessLimits()
    namespaces: Namespaces = Namespaces()
    sandbox: Sandbox = Sandbox()
    node: NodeSettings = NodeSettings()
    cgroups: CgroupSettings = CgroupSettings()
    sdnotify: str = SD_NOTIFY[-1]  # one of these


class ContainerSpec(ContainerSettings, frozen=True, kw_only=True, omit_defaults=True):
    """What the user asked for, after the image's configuration was merged in."""

    image: str
    image_id: str
    layers: tuple[str, ...]  # lower directories, topmost first
    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[str, ...] = ()  # "K=V", later ones win
    workdir: str = "/"
    user: str = ""  # name|uid[:group|gid], resolved in the root filesystem at start
    hostname: str = ""
    network: str = (
        "none"  # "none", "host", "container:" or "pod:" and an id, "cni:" and a name, or the name of its first network
    )
    pod: str = ""  # the id of the pod that it is in
    cgroup_parent: str = ""  # its pod's: where its cgroups are, below the root of each hierarchy; "" is there
    labels: dict[str, str] = {}
    requires: tuple[str, ...] = ()  # ids of containers that are started before it and stopped after it
    runtime: str = ""  # name or path; "" is the engine's default, resolved at create
    requires_healthy: tuple[str, ...] = ()  # those of ``requires`` that are to be healthy before it is started
    notes: tuple[str, ...] = ()  # what is to be said of it in every run

    @property
    def networks(self) -> tuple[Attachment, ...]:
        """What it asks of each of its networks, in order."""
        return self.attachments or attached_to(self.network)

    @property
    def argv(self) -> tuple[str, ...]:
        """The process's arguments, before ``--init`` puts an init in front."""
        return self.entrypoint + self.command


class ProcessIdentity(Struct, frozen=True):
    """A process for as long as this boot lasts: a pid alone may be another process tomorrow."""

    pid: int
    start_ticks: int  # field 22 of /proc/PID/stat, clock ticks since boot
    boot_id: str
    pid_ns: int = 0  # inode of the PID namespace in which ``pid`` is its number; 0: not recorded


class Place(Struct, frozen=True, kw_only=True):
    """Where a run was started from: its pids, its times and its directories mean nothing elsewhere.

    ``root`` is how the directory was reached then; which one it is say device and inode: a copy is another one.
    """

    boot_id: str
    pid_ns: int  # inode of the PID namespace (pid_namespaces(7))
    time_ns: int  # of the time namespace (time_namespaces(7)); 0: this kernel has none
    root_dev: int
    root_ino: int
    root: str


class Run(Struct, frozen=True, kw_only=True):
    """One run of a container, from start to exit."""

    number: int
    runtime: str  # path of the runtime binary
    shows_processes: bool = True  # False: in a virtual machine or gVisor; ``init`` is the sandbox then
    init: ProcessIdentity | None = None  # None until the runtime has created it
    monitor: ProcessIdentity | None = None
    cgroups: dict[str, str] = {}  # controller ("" is v2) -> directory below /sys/fs/cgroup
    scope: str = ""  # the cgroup of the scope that systemd has made for it, from the root of the hierarchy; "": none
    connections: tuple[Connection, ...] = ()  # what has to be taken down; the first that is not internal has the ports
    idle_ports: tuple[Port, ...] = ()  # chosen and kept, and published by the next network that it is connected to
    place: Place | None = None  # None: of a version that did not record it
    shared: tuple[Connection, ...] = ()  # its pod's, whose network it has; that one takes them down
    started_unix_ns: int = 0
    started_boot_s: float = 0.0  # CLOCK_BOOTTIME

    @property
    def ports(self) -> tuple[Port, ...]:
        """Those that are published, with the host ports that were chosen; 0: at the container's own address."""
        return tuple(
            replace(port, host_port=0) if one.opens(port) else port for one in self.connections for port in one.ports
        )

    @property
    def proxied_ports(self) -> tuple[Port, ...]:
        """Those on the loopback of IPv6, also while there is no network that they are published by."""
        return tuple(port for port in (*self.ports, *self.idle_ports) if port.is_proxied)

    @property
    def has_names(self) -> bool:
        """Whether it is found by name."""
        return any(connection.names for connection in self.connections)

    @property
    def asks_resolver(self) -> bool:
        """Whether it finds others by name: not in a network stack of a runtime's own, which the resolver is not in."""
        return self.has_names and self.shows_processes


class Exit(Struct, frozen=True, kw_only=True):
    """How the last run ended. ``code`` None: it was not seen (the monitor died)."""

    code: int | None
    finished_unix_ns: int
    oom_killed: bool = False  # the kernel has killed a process of it for want of memory, maybe another than PID 1
    is_released: bool = True  # no process held the root filesystem any more
    note: str = ""


class StartFailure(Struct, frozen=True, kw_only=True):
    """Why the last start came to nothing. ``code``: what a shell would have exited with."""

    code: int
    message: str


class Container(Struct, frozen=True, kw_only=True):
    """The whole record."""

    id: str
    name: str
    created_unix_ns: int
    spec: ContainerSpec
    status: Status = Status.CREATED
    run: Run | None = None  # the current run, or the last one
    exit: Exit | None = None
    start_failure: StartFailure | None = None  # None: the last start did not fail
    restarts: int = 0  # by its policy, since a command last started it
    restart_boot_s: float | None = None  # when it is due, CLOCK_BOOTTIME
    restart_streak: int = 0  # of them, those after runs too short to be taken for recovered
    stop_asked: bool = False  # a stop was asked for in this run: no restart policy may restart it
    shut_down: bool = False  # and it was the machine's shutdown that asked: ``unless-stopped`` is started again with it
    intent: StopIntent | None = None  # the stop under way
    report: StopReport | None = None  # the last stop's
    health: Health | None = None  # of the current run, or the last one; None: no check is carried out
    notes: tuple[str, ...] = ()  # what was clamped or left out, and why

    @property
    def exit_code(self) -> int | None:
        """What the last run, or a start that failed since, has ended with; 0 before any, None when it was not seen."""
        if self.start_failure is not None:
            return self.start_failure.code
        return self.exit.code if self.exit is not None else 0

    @property
    def health_status(self) -> HealthStatus | None:
        """How it is; None: it has no check. One that does not run is unhealthy, whatever it was, as in Docker."""
        if self.health is None:
            return None
        return self.health.status if self.status.is_live else HealthStatus.UNHEALTHY

"""The bodies of requests about containers, field by field as Docker's API (1.44) has them.

Clients write null for whatever they have no value for; so every field may be None, which is the same as not given.
Fields that are not here are unknown to Bento and to Docker.
"""

from __future__ import annotations

from typing import Any

from msgspec import Struct

Words = list[str] | None
Map = dict[str, str] | None
Empties = dict[str, Any] | None
"""Names, each with an empty object: Go's way to write a set."""


class Health(Struct, kw_only=True):
    """Times are nanoseconds; 0 and [] leave it to the image."""

    Test: Words = None
    Interval: int | None = None
    Timeout: int | None = None
    StartPeriod: int | None = None
    StartInterval: int | None = None
    Retries: int | None = None


class Log(Struct, kw_only=True):
    """Where the output is kept."""

    Type: str | None = None
    Config: Map = None


class Restart(Struct, kw_only=True):
    """What happens after an exit."""

    Name: str | None = None
    MaximumRetryCount: int | None = None


class PortBinding(Struct, kw_only=True):
    """A place on the host; "" as a port is a free one."""

    HostIp: str | None = None
    HostPort: str | None = None


class BindWords(Struct, kw_only=True):
    """Of a bind mount."""

    Propagation: str | None = None
    NonRecursive: bool | None = None
    CreateMountpoint: bool | None = None
    ReadOnlyNonRecursive: bool | None = None
    ReadOnlyForceRecursive: bool | None = None


class DriverWords(Struct, kw_only=True):
    """What a volume that is made for a mount is made by."""

    Name: str | None = None
    Options: Map = None


class VolumeWords(Struct, kw_only=True):
    """Of a volume."""

    NoCopy: bool | None = None
    Labels: Map = None
    DriverConfig: DriverWords | None = None
    Subpath: str | None = None


class TmpfsWords(Struct, kw_only=True):
    """Of a filesystem in memory. ``Mode`` is a number."""

    SizeBytes: int | None = None
    Mode: int | None = None
    Options: list[list[str]] | None = None


class Mount(Struct, kw_only=True):
    """One of ``HostConfig.Mounts``, as ``--mount`` makes it."""

    Type: str | None = None
    Source: str | None = None
    Target: str | None = None
    ReadOnly: bool | None = None
    Consistency: str | None = None
    BindOptions: BindWords | None = None
    VolumeOptions: VolumeWords | None = None
    TmpfsOptions: TmpfsWords | None = None
    ClusterOptions: Empties = None


class Device(Struct, kw_only=True):
    """A device of the host."""

    PathOnHost: str | None = None
    PathInContainer: str | None = None
    CgroupPermissions: str | None = None


class DeviceRequest(Struct, kw_only=True):
    """Devices that a driver of Docker's is asked for."""

    Driver: str | None = None
    Count: int | None = None
    DeviceIDs: Words = None
    Capabilities: list[list[str]] | None = None
    Options: dict[str, str] | None = None


class DeviceRate(Struct, kw_only=True):
    """A rate, or a weight, of a block device."""

    Path: str | None = None
    Rate: int | None = None
    Weight: int | None = None


class Ulimit(Struct, kw_only=True):
    """A limit of setrlimit(2); -1 is unlimited."""

    Name: str | None = None
    Soft: int | None = None
    Hard: int | None = None


class Resources(Struct, kw_only=True):
    """Limits: a part of ``HostConfig``, and the body of an update."""

    NanoCpus: int | None = None
    CpuShares: int | None = None
    CpuPeriod: int | None = None
    CpuQuota: int | None = None
    CpuRealtimePeriod: int | None = None
    CpuRealtimeRuntime: int | None = None
    CpusetCpus: str | None = None
    CpusetMems: str | None = None
    CpuCount: int | None = None
    CpuPercent: int | None = None
    IOMaximumIOps: int | None = None
    IOMaximumBandwidth: int | None = None
    Memory: int | None = None
    MemorySwap: int | None = None
    MemoryReservation: int | None = None
    MemorySwappiness: int | None = None
    KernelMemory: int | None = None
    KernelMemoryTCP: int | None = None
    OomKillDisable: bool | None = None
    PidsLimit: int | None = None
    BlkioWeight: int | None = None
    BlkioWeightDevice: list[DeviceRate] | None = None
    BlkioDeviceReadBps: list[DeviceRate] | None = None
    BlkioDeviceWriteBps: list[DeviceRate] | None = None
    BlkioDeviceReadIOps: list[DeviceRate] | None = None
    BlkioDeviceWriteIOps: list[DeviceRate] | None = None
    Ulimits: list[Ulimit] | None = None
    Devices: list[Device] | None = None
    DeviceCgroupRules: Words = None
    DeviceRequests: list[DeviceRequest] | None = None
    CgroupParent: str | None = None
    RestartPolicy: Restart | None = None


class Host(Resources, kw_only=True):
    """What is asked of the host."""

    Annotations: Map = None
    AutoRemove: bool | None = None
    Binds: Words = None
    CapAdd: Words = None
    CapDrop: Words = None
    Capabilities: Words = None
    Cgroup: str | None = None
    CgroupnsMode: str | None = None
    ConsoleSize: list[int] | None = None
    ContainerIDFile: str | None = None
    Dns: Words = None
    DnsOptions: Words = None
    DnsSearch: Words = None
    ExtraHosts: Words = None
    GroupAdd: Words = None
    Init: bool | None = None
    IpcMode: str | None = None
    Isolation: str | None = None
    Links: Words = None
    LogConfig: Log | None = None
    MaskedPaths: Words = None
    Mounts: list[Mount] | None = None
    NetworkMode: str | None = None
    OomScoreAdj: int | None = None
    PidMode: str | None = None
    PortBindings: dict[str, list[PortBinding] | None] | None = None
    Privileged: bool | None = None
    PublishAllPorts: bool | None = None
    ReadonlyPaths: Words = None
    ReadonlyRootfs: bool | None = None
    Runtime: str | None = None
    SecurityOpt: Words = None
    ShmSize: int | None = None
    StorageOpt: Map = None
    Sysctls: Map = None
    Tmpfs: Map = None
    UTSMode: str | None = None
    UsernsMode: str | None = None
    VolumeDriver: str | None = None
    VolumesFrom: Words = None


class Ipam(Struct, kw_only=True):
    """Addresses that are asked for on a network."""

    IPv4Address: str | None = None
    IPv6Address: str | None = None
    LinkLocalIPs: Words = None


class Endpoint(Struct, kw_only=True):
    """What is asked of one network. What an answer has beside that is left alone."""

    IPAMConfig: Ipam | None = None
    Links: Words = None
    Aliases: Words = None
    MacAddress: str | None = None
    DriverOpts: Map = None


class Networking(Struct, kw_only=True):
    """The networks, by name."""

    EndpointsConfig: dict[str, Endpoint | None] | None = None


class Create(Struct, kw_only=True):
    """``POST /containers/create``."""

    Hostname: str | None = None
    Domainname: str | None = None
    User: str | None = None
    AttachStdin: bool | None = None
    AttachStdout: bool | None = None
    AttachStderr: bool | None = None
    ExposedPorts: Empties = None
    Tty: bool | None = None
    OpenStdin: bool | None = None
    StdinOnce: bool | None = None
    Env: Words = None
    Cmd: list[str] | str | None = None
    Healthcheck: Health | None = None
    ArgsEscaped: bool | None = None
    Image: str | None = None
    Volumes: Empties = None
    WorkingDir: str | None = None
    Entrypoint: list[str] | str | None = None
    NetworkDisabled: bool | None = None
    MacAddress: str | None = None
    OnBuild: Words = None
    Labels: Map = None
    StopSignal: str | None = None
    StopTimeout: int | None = None
    Shell: Words = None
    HostConfig: Host | None = None
    NetworkingConfig: Networking | None = None


class Update(Resources, kw_only=True):
    """``POST /containers/ID/update``."""

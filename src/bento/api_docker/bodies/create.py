"""The body of a create, to what the engine makes a container of.

What Bento has no equivalent of is never dropped in silence: where the container would be another one without it, that
is a UsageError, else a warning in the answer. Values that say no more than the default are nothing.
"""

from __future__ import annotations

from typing import Any, Final

from msgspec import Struct

from bento.api_docker.bodies.containers import Create, Health, Host, Log, Restart
from bento.api_docker.bodies.limits import read_process_limits, read_resources
from bento.api_docker.bodies.mounts import read_mounts
from bento.api_docker.bodies.networks import has_names, read_networks
from bento.api_docker.bodies.ports import read_ports
from bento.api_docker.bodies.sandbox import read_cgroups, read_namespaces, read_sandbox
from bento.errors import UsageError
from bento.model.container import (
    LOG_DRIVERS,
    Files,
    HealthSettings,
    LogSettings,
    RestartPolicy,
    Streams,
)
from bento.model.create import CreateOptions
from bento.model.image import Healthcheck
from bento.model.stop import StopSettings
from bento.parse.container import parse_hostname, parse_restart, parse_workdir
from bento.parse.logs import parse_log_driver, parse_log_options
from bento.parse.mounts import parse_volumes_from
from bento.units import parse_seconds, parse_signal

_LOG_FILE: Final = ("", "json-file", "local")  # what clients write for the daemon's default


class Asked(Struct, frozen=True):
    """What a create asks for, and what is said about it that is no error."""

    options: CreateOptions
    warnings: tuple[str, ...]


def read_create(body: Create, *, name: str) -> Asked:
    """Return what is asked for; ``name`` "" has one drawn. Raises UsageError."""
    host = body.HostConfig or Host()
    if not body.Image:
        raise UsageError("no image specified", hint="give Image in the body")
    _refuse(host)
    network, attachments = read_networks(body, host)
    options = CreateOptions(
        image=body.Image,
        command=_words(body.Cmd),
        name=name or None,
        entrypoint=_entrypoint(body.Entrypoint),
        env=tuple(body.Env or ()),
        workdir=parse_workdir(body.WorkingDir or ""),
        user=body.User or None,
        hostname=_hostname(body),
        runtime=host.Runtime or "",
        labels=body.Labels or {},
        init=bool(host.Init),
        auto_remove=bool(host.AutoRemove),
        restart=_restart(host.RestartPolicy),
        network=network,
        attachments=attachments,
        streams=Streams(tty=bool(body.Tty), stdin_open=bool(body.OpenStdin), stdin_once=bool(body.StdinOnce)),
        files=_files(body, host),
        ports=read_ports(body, host),
        stop=_stop(body),
        health=HealthSettings(check=_health(body.Healthcheck)),
        log=_log(host.LogConfig),
        resources=read_resources(host),
        limits=read_process_limits(host),
        namespaces=read_namespaces(host),
        sandbox=read_sandbox(host),
        cgroups=read_cgroups(host),
    )
    return Asked(options, tuple(_warnings(body, host)))


def _words(given: list[str] | str | None) -> tuple[str, ...]:
    return (given,) if isinstance(given, str) and given else tuple(given or ())


def _entrypoint(given: list[str] | str | None) -> tuple[str, ...] | None:
    """None keeps the image's; Docker's word for none at all is one that is empty."""
    words = _words(given)
    return () if words == ("",) or given == "" else words or None


def _hostname(body: Create) -> str | None:
    name = body.Hostname or ""
    return parse_hostname(f"{name}.{body.Domainname}" if body.Domainname and name else name) if name else None


def _restart(given: Restart | None) -> RestartPolicy:
    name = (given.Name if given else None) or "no"
    limit = (given.MaximumRetryCount if given else None) or 0
    return parse_restart(f"{name}:{limit}" if limit else name)


def _files(body: Create, host: Host) -> Files:
    for text in host.VolumesFrom or ():
        parse_volumes_from(text)
    return Files(
        read_only=bool(host.ReadonlyRootfs),
        mounts=read_mounts(body, host),
        volumes_from=tuple(host.VolumesFrom or ()),
    )


def _stop(body: Create) -> StopSettings:
    return StopSettings(
        signal=parse_signal(body.StopSignal) if body.StopSignal else None,
        timeout_s=None if body.StopTimeout is None else parse_seconds(body.StopTimeout, what="StopTimeout"),
    )


def _health(given: Health | None) -> Healthcheck | None:
    if given is None:
        return None
    said = Healthcheck(
        test=tuple(given.Test or ()),
        interval_ns=given.Interval or 0,
        timeout_ns=given.Timeout or 0,
        start_period_ns=given.StartPeriod or 0,
        start_interval_ns=given.StartInterval or 0,
        retries=given.Retries or 0,
    )
    times = (said.interval_ns, said.timeout_ns, said.start_period_ns, said.start_interval_ns, said.retries)
    if min(times) < 0:
        raise UsageError("a time of Healthcheck cannot be negative", hint="0 leaves it to the image")
    return said if said != Healthcheck() else None


def _log(given: Log | None) -> LogSettings:
    kind = (given.Type if given else None) or ""
    options = [f"{key}={value}" for key, value in ((given.Config if given else None) or {}).items()]
    driver = LOG_DRIVERS[0] if kind in _LOG_FILE[:1] else parse_log_driver(kind)
    return LogSettings(driver=driver, **parse_log_options(options))


def _refuse(host: Host) -> None:
    """Raise UsageError for what would make another container than the one that is asked for."""
    asked: dict[str, Any] = {
        "Links": (
            host.Links and not has_names(host),
            "put the containers on a network of their own: they find each other by name there",
        ),
        "StorageOpt": (host.StorageOpt, "layers have no limit of their own"),
        "CpuRealtimeRuntime": (host.CpuRealtimeRuntime, "use CpuQuota"),
        "CpuRealtimePeriod": (host.CpuRealtimePeriod, "use CpuPeriod"),
        "Cgroup": (host.Cgroup, "a container has cgroups of its own"),
    }
    for field, (value, hint) in asked.items():
        if value:
            raise UsageError(f"HostConfig.{field} is not supported", hint=hint)
    if (host.VolumeDriver or "local") != "local":
        raise UsageError(f"volume driver {host.VolumeDriver!r} is not supported", hint="use local")
    if (host.Isolation or "default") != "default":
        raise UsageError(f"isolation {host.Isolation!r} is not supported", hint="that is Windows' own")


def _warnings(body: Create, host: Host) -> list[str]:
    """Say of each thing without which the container is the same but for what nothing in it sees."""
    given = {
        "Annotations": host.Annotations,
        "CgroupParent": host.CgroupParent and not read_cgroups(host).parent,
        "KernelMemory": host.KernelMemory,
        "KernelMemoryTCP": host.KernelMemoryTCP,
        "Domainname (without a Hostname)": body.Domainname and not body.Hostname,
    }
    said = [f"{field} is not supported and was left out" for field, value in given.items() if value]
    return said

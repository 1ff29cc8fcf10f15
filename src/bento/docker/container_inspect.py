"""A container in ``inspect``: Docker's fields, with Bento's own beside them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

import msgspec

from bento.docker.host_config import bindings, host_config, mode
from bento.docker.network import endpoints
from bento.model.container import FILE_DRIVERS, PROPAGATIONS, Container, ContainerSpec, Mount, Status
from bento.model.health import Health
from bento.model.network import BRIDGE, CNI
from bento.model.stop import StopRules
from bento.model.stop_words import WORDS, shown_as
from bento.model.volume import DRIVER
from bento.oci.etc import hostname
from bento.stop.methods import choose
from bento.units import rfc3339, signal_name

_UNKNOWN_CODE = -1
_ETC_PATHS = {"ResolvConf": "resolv.conf", "Hostname": "hostname", "Hosts": "hosts"}
_NO_SANDBOX: dict[str, Any] = {
    "SandboxID": "",
    "SandboxKey": "",
    "HairpinMode": False,
    "LinkLocalIPv6Address": "",
    "LinkLocalIPv6PrefixLen": 0,
    "SecondaryIPAddresses": None,
    "SecondaryIPv6Addresses": None,
}
"""What Docker says of all networks together, and is not there in Bento."""
_OF_FIRST = (
    "EndpointID",
    "Gateway",
    "GlobalIPv6Address",
    "GlobalIPv6PrefixLen",
    "IPAddress",
    "IPPrefixLen",
    "IPv6Gateway",
    "MacAddress",
)


def inspect(
    container: Container,
    *,
    exec_ids: Sequence[str],
    log_path: str,
    bundle: str,
    platform: str,
    volume_paths: Mapping[str, str],
    network_ids: Mapping[str, str],
    is_short_of_memory: bool = False,
) -> dict[str, Any]:
    """Return a container as one element of ``inspect``'s array: Docker's fields, with ours beside them.

    ``exec_ids``: of the commands that run in it beside its own. ``bundle``: the directory of its own files.
    ``platform``: what this machine runs. ``volume_paths``: the directory of each of its volumes, by name.
    ``network_ids``: of its networks, by name.
    ``is_short_of_memory``: whether the kernel has killed for want of memory in the run that it is in.
    """
    spec, run = container.spec, container.run
    argv = spec.argv
    return {
        "Id": container.id,
        "Created": rfc3339(container.created_unix_ns),
        "Path": argv[0],
        "Args": list(argv[1:]),
        "State": _state(container, is_short_of_memory=is_short_of_memory),
        "Image": spec.image_id,
        "Name": container.name,
        "RestartCount": container.restarts,
        "Driver": "overlay",
        "Platform": platform.partition("/")[0],
        "GraphDriver": _graph_driver(container, bundle),
        **{f"{word}Path": f"{bundle}/{name}" if run else "" for word, name in _ETC_PATHS.items()},
        "ExecIDs": list(exec_ids) or None,
        "AppArmorProfile": spec.sandbox.apparmor,
        "LogPath": log_path if spec.log.driver in FILE_DRIVERS else "",
        "Config": _config(container),
        "HostConfig": host_config(spec),
        "Mounts": [_mount(mount, volume_paths) for mount in spec.files.mounts],
        "NetworkSettings": _network_settings(container, network_ids),
        "Pod": container.spec.pod,
        "Run": run.number if run else 0,
        "Monitor": {"Pid": run.monitor.pid} if run and run.monitor else None,
        "Cgroups": run.cgroups if run else {},
        "Stop": msgspec.to_builtins(container.report) if container.report else None,
        "Stopping": _stopping(container),
        "Notes": list(container.notes),
    }


def sizes(own_bytes: int, image_bytes: int | None) -> dict[str, Any]:
    """Return the fields of ``inspect -s``. An image that is not recorded, as this machine itself, has no known size."""
    return {"SizeRw": own_bytes, "SizeRootFs": None if image_bytes is None else own_bytes + image_bytes}


def _config(container: Container) -> dict[str, Any]:
    spec = container.spec
    return {
        "Hostname": hostname(container),
        "Domainname": "",
        "AttachStdout": True,  # it can be attached to at any time
        "AttachStderr": True,
        "AttachStdin": spec.streams.stdin_open and spec.streams.stdin_once,
        "Tty": spec.streams.tty,
        "OpenStdin": spec.streams.stdin_open,
        "StdinOnce": spec.streams.stdin_once,
        "OnBuild": None,
        "Shell": None,
        "MacAddress": spec.networks[0].mac if spec.networks else "",
        "NetworkDisabled": spec.network == "none",
        "User": spec.user,
        "Env": list(spec.env),
        "Cmd": list(spec.command),
        "Entrypoint": list(spec.entrypoint) or None,
        "Image": spec.image,
        "Volumes": {m.destination: {} for m in spec.files.mounts if m.anonymous} or None,
        "WorkingDir": spec.workdir,
        "Labels": spec.labels,
        "ExposedPorts": {port: {} for port in spec.ports.exposed},
        **({"Healthcheck": spec.health.check.words} if spec.health.check else {}),
        **_stop_words(spec),
    }


def _graph_driver(container: Container, bundle: str) -> dict[str, Any]:
    """Where its files are. They are mounted for the container alone: while it runs, they are seen through PID 1."""
    run = container.run
    is_live = container.status.is_live and run is not None and run.init is not None
    merged = {"MergedDir": f"/proc/{run.init.pid}/root"} if is_live and run and run.init else {}
    data = {"LowerDir": ":".join(container.spec.layers), **merged}
    return {"Name": "overlay", "Data": {**data, "UpperDir": f"{bundle}/upper", "WorkDir": f"{bundle}/work"}}


def _stop_words(spec: ContainerSpec) -> dict[str, Any]:
    """How it is stopped when a call says nothing else."""
    return {
        "StopSignal": signal_name(spec.stop.signal) if spec.stop.signal is not None else "SIGTERM",
        "StopTimeout": spec.stop.timeout_s,
        "StopMethod": choose(method=spec.stop.method or None, command=spec.stop.command, is_system=spec.system),
        "StopCommand": spec.stop.command,
        "StopDrain": spec.stop.drain,
        **_rule_words(spec.stop.rules),
    }


def _rule_words(rules: StopRules) -> dict[str, Any]:
    """What the container says of its stop; null is left to the configuration."""
    said = {shown_as(field): getattr(rules, field) for field in WORDS}
    return {key: value.value if isinstance(value, Enum) else value for key, value in said.items()}


def _mount(mount: Mount, volume_paths: Mapping[str, str]) -> dict[str, Any]:
    if mount.kind == "volume":
        named = {"Name": mount.source, "Source": volume_paths[mount.source], "Driver": DRIVER}
    else:
        named = {"Source": mount.source}
    propagation = next((o for o in mount.options if o in PROPAGATIONS), "rprivate") if mount.kind == "bind" else ""
    return {
        "Type": mount.kind,
        **named,
        "Destination": mount.destination,
        "Mode": ",".join(mode(mount)) if mount.kind != "tmpfs" else "",
        "RW": not mount.read_only,
        "Propagation": propagation,
    }


def _network_settings(container: Container, network_ids: Mapping[str, str]) -> dict[str, Any]:
    """Beside what is there of each network, that of the default one stands where scripts of old look for it.

    As in Docker, whose fields of all networks together are of the network "bridge" alone; and of a CNI network, which
    is a container's only one.
    """
    connections = container.run.connections if container.run and container.status.is_live else ()
    networks = endpoints(container, network_ids)
    is_cni = container.spec.network.startswith(CNI)
    first = networks.get(connections[0].network if connections and is_cni else BRIDGE) if connections else None
    none = {"IPPrefixLen": 0, "GlobalIPv6PrefixLen": 0}
    return (
        _NO_SANDBOX
        | {name: first[name] if first else none.get(name, "") for name in _OF_FIRST}
        | {
            "Bridge": connections[0].bridge if connections else "",
            "Ports": _ports(container) if connections else {},
            "Networks": networks,
        }
    )


def _ports(container: Container) -> dict[str, list[dict[str, str]] | None]:
    """One that is exposed and not published is there without an address: proxies take it for what is served."""
    published = bindings(container.run.ports if container.run else ())
    return dict.fromkeys(container.spec.ports.exposed) | published


def _state(container: Container, *, is_short_of_memory: bool) -> dict[str, Any]:
    status, run, ended = container.status, container.run, container.exit
    is_live = status.is_live and run is not None and run.init is not None
    failure, code = container.start_failure, container.exit_code
    return {
        "Status": status.value,
        "Running": status in (Status.RUNNING, Status.PAUSED, Status.STOPPING),
        "Paused": status is Status.PAUSED,
        "Restarting": status is Status.RESTARTING,
        "OOMKilled": is_short_of_memory or bool(ended and ended.oom_killed),
        "Dead": False,
        "Pid": run.init.pid if is_live and run and run.init else 0,
        "ExitCode": _UNKNOWN_CODE if code is None else code,
        "Error": failure.message if failure else ended.note if ended else "",
        "StartedAt": rfc3339(run.started_unix_ns if run else 0),
        "FinishedAt": rfc3339(ended.finished_unix_ns if ended else 0),
        **({"Health": _health(container, container.health)} if container.health else {}),
    }


def _health(container: Container, health: Health) -> dict[str, Any]:
    status = container.health_status
    return {
        "Status": status.value if status else "",
        "FailingStreak": health.failing_streak,
        "Log": [
            {
                "Start": rfc3339(result.start_unix_ns),
                "End": rfc3339(result.end_unix_ns),
                "ExitCode": result.exit_code,
                "Output": result.output,
            }
            for result in health.log
        ],
    }


def _stopping(container: Container) -> dict[str, Any] | None:
    """The stop under way, without its journal."""
    if container.intent is None:
        return None
    return {
        "AskedBy": container.intent.request.asked_by.value,
        "Signal": signal_name(container.intent.request.signal),
        "Method": container.intent.request.method,
        "DeadlineBoottime": container.intent.deadline_boot_s,
        "Run": container.intent.run,
    }

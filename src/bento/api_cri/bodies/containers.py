"""A container's configuration as the engine takes it."""

from __future__ import annotations

import posixpath
import re
from typing import Final

from bento.api_cri.bodies import front
from bento.api_cri.bodies.ids import read_ids
from bento.api_cri.bodies.mounts import read_cdi, read_devices, read_mounts
from bento.api_cri.bodies.resources import read_hugepages, read_resources, without_defaults
from bento.api_cri.bodies.security import read_security
from bento.api_cri.messages import Message, pb, signal_names
from bento.errors import UsageError
from bento.model.container import Files, NodeSettings, ProcessLimits, Streams
from bento.model.create import CreateOptions
from bento.model.stop import StopSettings
from bento.units import parse_signal

_NAME_MAX: Final = 128
_UNFIT: Final = re.compile(r"[^a-zA-Z0-9_.-]+")
_RANGED: Final = re.compile(r"(SIGRT(?:MIN|MAX))(PLUS|MINUS)(\d+)")


def read_container(config: Message, sandbox: Message, pod_id: str) -> CreateOptions:
    """Return what is asked of a container in a pod, with the configuration of that. Raises UsageError."""
    if not config.image.image:
        raise UsageError("no image is named", hint="fill in image.image")
    linux, is_said = config.linux, config.linux.HasField("security_context")
    security = read_security(linux.security_context, read_devices(config.devices), read_cdi(config))
    ids = security.namespaces.ids
    if ids != read_ids(sandbox.linux.security_context.namespace_options):
        raise UsageError("the user namespace is not that of the pod", hint="give both the same userns_options")
    return CreateOptions(
        image=config.image.image,
        pod=pod_id,
        name=_name(config.metadata, sandbox.metadata),
        entrypoint=tuple(config.command) or None,
        command=tuple(config.args),
        env=tuple(f"{each.key}={each.value}" for each in config.envs),
        workdir=config.working_dir or None,
        user=security.user,
        labels=dict(config.labels),
        streams=Streams(tty=config.tty, stdin_open=config.stdin, stdin_once=config.stdin_once),
        files=Files(read_only=security.read_only, mounts=read_mounts(config.mounts, ids)),
        stop=StopSettings(signal=read_signal(config.stop_signal)),
        resources=without_defaults(read_resources(linux.resources)),
        limits=ProcessLimits(oom_score_adj=linux.resources.oom_score_adj or None),
        namespaces=security.namespaces,
        sandbox=security.sandbox,
        node=NodeSettings(
            log_path=log_path(config, sandbox),
            masked_paths=security.masked_paths if is_said else None,
            read_only_paths=security.read_only_paths if is_said else None,
            unified=dict(linux.resources.unified),
            ambient=security.ambient,
            hugepages=read_hugepages(linux.resources),
            group_policy=security.group_policy,
            front=front.keep(_without_secrets(config)),
        ),
    )


def log_path(config: Message, sandbox: Message) -> str:
    """Return where the output is to be kept; "": where Bento keeps it."""
    if not config.log_path or not sandbox.log_directory:
        return ""
    path: str = posixpath.join(sandbox.log_directory, config.log_path)
    if not path.startswith("/"):
        raise UsageError(f"the log {path!r} is not at an absolute path")
    return path


def read_signal(number: int) -> int | None:
    """Return a signal, by the number that the interface has for it, as the kernel's; None: 0, which is none."""
    if not number:
        return None
    name = signal_names().get(number, "")
    if ranged := _RANGED.fullmatch(name):
        name = f"{ranged[1]}{'+' if ranged[2] == 'PLUS' else '-'}{ranged[3]}"
    try:
        return parse_signal(name)
    except UsageError:
        raise UsageError(f"unknown stop signal {number}", hint="see Signal in api.proto") from None


def signal_number(signal: int) -> int:
    """Return the number that the interface has for a signal of the kernel's; 0: it has none."""
    return next((number for number in signal_names() if read_signal(number) == signal), 0)


def _without_secrets(config: Message) -> Message:
    """Return what is to be given back later: the variables, which are often passwords, are elsewhere already."""
    kept = pb.ContainerConfig()
    kept.CopyFrom(config)
    kept.ClearField("envs")
    kept.ClearField("linux")
    return kept


def _name(container: Message, sandbox: Message) -> str | None:
    """Return the name that people see, as dockershim had it; None, so that one is drawn, where it would be too long."""
    if not container.name:
        raise UsageError("the container has no name", hint="fill in metadata.name")
    parts = ("k8s", container.name, sandbox.name, sandbox.namespace, sandbox.uid, str(container.attempt))
    name = "_".join(_UNFIT.sub("-", part) for part in parts)
    return name if len(name) <= _NAME_MAX else None

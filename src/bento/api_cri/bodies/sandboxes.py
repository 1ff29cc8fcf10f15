"""A pod's configuration as the engine takes it."""

from __future__ import annotations

import re
from typing import Final

from bento.api_cri.bodies import front
from bento.api_cri.bodies.ids import read_ids
from bento.api_cri.messages import Message, pb
from bento.errors import UsageError
from bento.model.network import Port
from bento.model.pods import CNI_FIRST, NamespaceMode, PodOptions

_NAME_MAX: Final = 128
_UNFIT: Final = re.compile(r"[^a-zA-Z0-9_.-]+")
_MODES: Final = {
    pb.POD: NamespaceMode.POD,
    pb.CONTAINER: NamespaceMode.CONTAINER,
    pb.NODE: NamespaceMode.NODE,
}
_PROTOCOLS: Final = {pb.TCP: "tcp", pb.UDP: "udp"}
_PORT_MAX: Final = 0xFFFF
_ANY: Final = ("0.0.0.0", "::")


def read_sandbox(config: Message, handler: str) -> PodOptions:
    """Return what is asked of a pod. ``handler``: its runtime. Raises UsageError."""
    if not config.metadata.name or not config.metadata.uid:
        raise UsageError("the pod has no name, or no uid", hint="fill in metadata")
    linux, dns = config.linux, config.dns_config
    options = linux.security_context.namespace_options
    for kind in ("pid", "ipc", "network"):
        if getattr(options, kind) not in _MODES:
            raise UsageError(f"the {kind} namespace of a pod cannot be that of a container", hint="give POD or NODE")
    is_on_host = options.network == pb.NODE
    return PodOptions(
        name=_name(config.metadata),
        hostname=config.hostname,
        network="host" if is_on_host else CNI_FIRST,
        pid=_MODES[options.pid],
        ipc=_MODES[options.ipc],
        ids=read_ids(options),
        ports=() if is_on_host else tuple(_port(each) for each in config.port_mappings if each.host_port),
        dns=tuple(dns.servers),
        dns_search=tuple(dns.searches),
        dns_options=tuple(dns.options),
        sysctls=dict(linux.sysctls),
        cgroup_parent=linux.cgroup_parent,
        runtime=handler,
        labels=dict(config.labels),
        annotations=dict(config.annotations),
        cni_args=_cni_args(config.metadata),
        front=front.keep(config, handler),
    )


def _port(mapping: Message) -> Port:
    if mapping.protocol not in _PROTOCOLS:
        raise UsageError("ports of SCTP are not published", hint="publish ports of TCP and UDP")
    for number in (mapping.host_port, mapping.container_port):
        if not 0 < number <= _PORT_MAX:
            raise UsageError(f"bad port {number}", hint="give 1 to 65535")
    return Port(
        container_port=mapping.container_port,
        host_port=mapping.host_port,
        host_ip="" if mapping.host_ip in _ANY else mapping.host_ip,
        protocol=_PROTOCOLS[mapping.protocol],
    )


def _cni_args(metadata: Message) -> dict[str, str]:
    """Return what plugins of clusters ask for (CNI's CONVENTIONS.md). The values cannot end what they stand in."""
    known = {"K8S_POD_NAMESPACE": metadata.namespace, "K8S_POD_NAME": metadata.name, "K8S_POD_UID": metadata.uid}
    return {"IgnoreUnknown": "1"} | {key: _UNFIT.sub("-", value) for key, value in known.items()}


def _name(metadata: Message) -> str:
    """Return the name that people see; "", so that one is drawn, where it would be too long."""
    parts = ("k8s", metadata.name, metadata.namespace, metadata.uid, str(metadata.attempt))
    name = "_".join(_UNFIT.sub("-", part) for part in parts)
    return name if len(name) <= _NAME_MAX else ""

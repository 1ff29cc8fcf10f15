"""Pods as messages."""

from __future__ import annotations

import msgspec

from bento.api_cri.bodies import front
from bento.api_cri.messages import Message, pb
from bento.model.pods import Pod


def state(pod: Pod) -> int:
    """Return the state of a pod."""
    return int(pb.SANDBOX_READY if pod.is_ready else pb.SANDBOX_NOTREADY)


def listed(pod: Pod) -> Message:
    """Return a pod as a list has it."""
    config = front.sandbox_config(pod.settings.front)
    return pb.PodSandbox(
        id=pod.id,
        metadata=config.metadata,
        state=state(pod),
        created_at=pod.created_unix_ns,
        labels=config.labels,
        annotations=config.annotations,
        runtime_handler=front.runtime_handler(pod.settings.front),
    )


def status(pod: Pod) -> Message:
    """Return all that is said of a pod."""
    config = front.sandbox_config(pod.settings.front)
    found = pb.PodSandboxStatus(
        id=pod.id,
        metadata=config.metadata,
        state=state(pod),
        created_at=pod.created_unix_ns,
        labels=config.labels,
        annotations=config.annotations,
        runtime_handler=front.runtime_handler(pod.settings.front),
        linux=pb.LinuxPodSandboxStatus(
            namespaces=pb.Namespace(options=config.linux.security_context.namespace_options)
        ),
    )
    addresses = pod.addresses if pod.is_ready else ()
    found.network.ip = addresses[0] if addresses else ""
    found.network.additional_ips.extend(pb.PodIP(ip=address) for address in addresses[1:])
    return found


def info(pod: Pod) -> str:
    """Return the whole record, for people."""
    return msgspec.json.encode(pod).decode()

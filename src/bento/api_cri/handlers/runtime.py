"""The runtime as a whole: Version, Status, RuntimeConfig, UpdateRuntimeConfig."""

from __future__ import annotations

import msgspec

import bento
from bento.api_cri.context import Context
from bento.api_cri.messages import Message, pb

NAME = "bento"
_KUBELET_VERSION = "0.1.0"
"""Of the kubelet's side of the interface: it has never been another one (kuberuntime_manager.go)."""


async def version(context: Context, request: Message) -> Message:
    """Say what this is, and which version of the interface the client speaks."""
    return pb.VersionResponse(
        version=_KUBELET_VERSION,
        runtime_name=NAME,
        runtime_version=bento.__version__,
        runtime_api_version=context.version,
    )


async def status(context: Context, request: Message) -> Message:
    """Say whether containers, and pods with a network, can be had, and what of the interface there is to be had."""
    readiness = await context.engines.ask(lambda engine: engine.readiness())
    conditions = [
        pb.RuntimeCondition(
            type=name,
            status=not error,
            reason=f"{name.removesuffix('Ready')}NotReady" if error else "",
            message=error,
        )
        for name, error in (("RuntimeReady", readiness.runtime), ("NetworkReady", readiness.network))
    ]
    handlers = [
        pb.RuntimeHandler(
            name=name,
            features=pb.RuntimeHandlerFeatures(
                recursive_read_only_mounts=readiness.has_recursive_read_only, user_namespaces=name in readiness.mapping
            ),
        )
        for name in ("", *readiness.runtimes)
    ]
    reply = pb.StatusResponse(
        status=pb.RuntimeStatus(conditions=conditions),
        runtime_handlers=handlers,
        features=pb.RuntimeFeatures(supplemental_groups_policy=True),
    )
    if request.verbose:
        reply.info["config"] = msgspec.json.encode(context.settings, enc_hook=str).decode()
    return reply


async def runtime_config(context: Context, request: Message) -> Message:
    """Say that cgroups are named by their paths below each controller, whatever made them."""
    return pb.RuntimeConfigResponse(linux=pb.LinuxRuntimeConfiguration(cgroup_driver=pb.CGROUPFS))


async def update_runtime_config(context: Context, request: Message) -> Message:
    """Take the addresses of the node's pods: they are the business of the CNI configuration, which has them, too."""
    return pb.UpdateRuntimeConfigResponse()

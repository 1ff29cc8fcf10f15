"""The calls that are answered, by their names in the interface. The others are Unimplemented."""

from __future__ import annotations

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

from bento.api_cri.context import Context
from bento.api_cri.handlers import containers, events, execs, images, metrics, runtime, sandboxes, stats, streams
from bento.api_cri.messages import Message

METHODS: Final[dict[str, Callable[[Context, Message], Awaitable[Message]]]] = {
    "Version": runtime.version,
    "Status": runtime.status,
    "RuntimeConfig": runtime.runtime_config,
    "UpdateRuntimeConfig": runtime.update_runtime_config,
    "RunPodSandbox": sandboxes.run,
    "StopPodSandbox": sandboxes.stop,
    "RemovePodSandbox": sandboxes.remove,
    "PodSandboxStatus": sandboxes.status,
    "ListPodSandbox": sandboxes.list_all,
    "UpdatePodSandboxResources": sandboxes.update_resources,
    "CreateContainer": containers.create,
    "StartContainer": containers.start,
    "StopContainer": containers.stop,
    "RemoveContainer": containers.remove,
    "ListContainers": containers.list_all,
    "ContainerStatus": containers.status,
    "UpdateContainerResources": containers.update_resources,
    "ReopenContainerLog": containers.reopen_log,
    "ExecSync": execs.exec_sync,
    "Exec": streams.run_exec,
    "Attach": streams.attach,
    "PortForward": streams.port_forward,
    "ContainerStats": stats.container,
    "ListContainerStats": stats.containers,
    "PodSandboxStats": stats.sandbox,
    "ListPodSandboxStats": stats.sandboxes,
    "ListMetricDescriptors": metrics.descriptors,
    "ListPodSandboxMetrics": metrics.sandboxes,
    "ListImages": images.list_images,
    "ImageStatus": images.image_status,
    "PullImage": images.pull_image,
    "RemoveImage": images.remove_image,
    "ImageFsInfo": images.image_fs_info,
}

STREAMS: Final[dict[str, Callable[[Context, Message], AsyncIterator[Message]]]] = {
    "GetContainerEvents": events.follow,
}
"""Those whose answer is a stream of messages."""

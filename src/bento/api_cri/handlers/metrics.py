"""Metrics of pods and their containers, for those that collect them from the kubelet."""

from __future__ import annotations

import os

from bento import clock
from bento.api_cri.bodies import front
from bento.api_cri.context import Context
from bento.api_cri.messages import Message, pb
from bento.api_cri.shapes import metrics
from bento.errors import NotFound
from bento.model.container import Container
from bento.model.pods import Pod
from bento.model.stats import Usage
from bento.wiring import Engine


async def descriptors(context: Context, request: Message) -> Message:
    """Say what metrics there are."""
    return pb.ListMetricDescriptorsResponse(descriptors=metrics.descriptors())


async def sandboxes(context: Context, request: Message) -> Message:
    """Return the metrics of all pods."""

    def look(engine: Engine) -> Message:
        found = [_of_pod(engine, pod) for pod in engine.pods() if front.is_ours(pod.settings.front)]
        return pb.ListPodSandboxMetricsResponse(pod_metrics=found)

    return await context.engines.ask(look)


def _of_pod(engine: Engine, pod: Pod) -> Message:
    containers = {each.id: each for each in engine.pod_containers(pod.id) if front.is_ours(each.spec.node.front)}
    seen = []
    for one in engine.stats_sampler(list(containers)).sample() if containers else ():
        if one.now is not None and (made := _seen(engine, pod, containers[one.id], one.now)) is not None:
            seen.append(made)
    return metrics.sandbox(pod, seen, clock.wall_ns())


def _seen(engine: Engine, pod: Pod, container: Container, now: Usage) -> metrics.Seen | None:
    try:
        files, processes = engine.own_files(container.id), engine.process_usage(container.id)
    except NotFound:  # it was removed meanwhile
        return None
    if processes is None:
        return None
    disk = os.statvfs(files.path)
    return metrics.Seen(
        container=container,
        pod=pod,
        usage=now,
        files=files,
        disk_bytes=disk.f_blocks * disk.f_frsize,
        inodes=disk.f_files,
        free_inodes=disk.f_ffree,
        processes=processes,
    )

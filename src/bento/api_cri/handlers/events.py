"""GetContainerEvents: what happens to containers and to pods, as it happens, each with all of its pod.

As other runtimes have it, whose pods are containers of their own: a pod's own events have its id as that of the
container. The kubelet passes over what has no pod, and forgets one at the event of its end.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Final

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from bento.api_cri.bodies import front
from bento.api_cri.context import Context
from bento.api_cri.handlers import finding
from bento.api_cri.messages import Message, pb
from bento.api_cri.shapes import sandboxes as shapes
from bento.errors import NotFound
from bento.model.event import CONTAINER, POD, Event
from bento.wiring import Engine

_KINDS: Final = {
    (CONTAINER, "create"): pb.CONTAINER_CREATED_EVENT,
    (CONTAINER, "start"): pb.CONTAINER_STARTED_EVENT,
    (CONTAINER, "die"): pb.CONTAINER_STOPPED_EVENT,
    (CONTAINER, "destroy"): pb.CONTAINER_DELETED_EVENT,
    (POD, "create"): pb.CONTAINER_CREATED_EVENT,
    (POD, "start"): pb.CONTAINER_STARTED_EVENT,
    (POD, "stop"): pb.CONTAINER_STOPPED_EVENT,
    (POD, "remove"): pb.CONTAINER_DELETED_EVENT,
}


async def follow(context: Context, request: Message) -> AsyncIterator[Message]:
    """Yield the events from now on, until the client leaves, or is too slow to take them."""
    with context.events.subscribe(lambda event: (event.type, event.action) in _KINDS) as events:
        known = _Known()
        await context.engines.ask(known.learn)
        while (event := await events.next()) is not None:
            answer = await context.engines.ask(lambda engine, event=event: known.answer(engine, event))  # type: ignore[misc]  # its own
            if answer is not None:
                yield answer
    raise GRPCError(Status.RESOURCE_EXHAUSTED, "events are missing: list what there is, and ask again")


class _Known:
    """What the interface has made, as it was last seen: of what is gone no record tells."""

    def __init__(self) -> None:
        self._pod_of: dict[str, str] = {}  # by container
        self._pods: dict[str, Message] = {}

    def learn(self, engine: Engine) -> None:
        """Look at all that there is."""
        for pod in engine.pods():
            if front.is_ours(pod.settings.front):
                self._pods[pod.id] = shapes.status(pod)
        for each in engine.containers(all=True):
            if front.is_ours(each.spec.node.front):
                self._pod_of[each.id] = each.spec.pod

    def answer(self, engine: Engine, event: Event) -> Message | None:
        """Return an event as the interface has it; None: it is of what the interface has not made."""
        pod_id = event.actor if event.type == POD else self._pod(engine, event.actor)
        answer = pb.ContainerEventResponse(
            container_id=event.actor,
            container_event_type=_KINDS[event.type, event.action],
            created_at=event.unix_ns,
        )
        try:
            pod = engine.pod(pod_id)
            if not front.is_ours(pod.settings.front):
                return None
            self._pods[pod_id] = shapes.status(pod)
            config = front.sandbox_config(pod.settings.front)
            answer.containers_statuses.extend(
                finding.described(engine, each, config)
                for each in engine.pod_containers(pod_id)
                if front.is_ours(each.spec.node.front)
            )
        except NotFound:
            if pod_id not in self._pods:
                return None
            self._pods[pod_id].state = pb.SANDBOX_NOTREADY
        answer.pod_sandbox_status.CopyFrom(self._pods[pod_id])
        if answer.container_event_type == pb.CONTAINER_DELETED_EVENT:
            (self._pods if event.type == POD else self._pod_of).pop(event.actor, None)
        return answer

    def _pod(self, engine: Engine, container_id: str) -> str:
        """Return the pod of a container, "" where it is none of the interface's."""
        if container_id not in self._pod_of:
            try:
                found = engine.get(container_id)
            except NotFound:
                return ""
            if not front.is_ours(found.spec.node.front):
                return ""
            self._pod_of[container_id] = found.spec.pod
        return self._pod_of[container_id]

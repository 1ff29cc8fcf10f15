"""GetContainerEvents: what happens to containers, as it happens, each with the state of its pod."""

from __future__ import annotations

from collections.abc import AsyncIterator
from functools import partial
from typing import Final

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from bento.api_cri.bodies import front
from bento.api_cri.context import Context
from bento.api_cri.handlers import finding
from bento.api_cri.messages import Message, pb
from bento.api_cri.shapes import sandboxes as shapes
from bento.errors import NotFound
from bento.model.event import CONTAINER, Event
from bento.wiring import Engine

_KINDS: Final = {
    "create": pb.CONTAINER_CREATED_EVENT,
    "start": pb.CONTAINER_STARTED_EVENT,
    "die": pb.CONTAINER_STOPPED_EVENT,
    "destroy": pb.CONTAINER_DELETED_EVENT,
}


async def follow(context: Context, request: Message) -> AsyncIterator[Message]:
    """Yield the events from now on, until the client leaves, or is too slow to take them."""
    with context.events.subscribe(lambda event: event.type == CONTAINER and event.action in _KINDS) as events:
        pods = await context.engines.ask(_pods_of_containers)
        while (event := await events.next()) is not None:
            answer = await context.engines.ask(partial(_answer, event=event, pods=pods))
            if answer is not None:
                yield answer
    raise GRPCError(Status.RESOURCE_EXHAUSTED, "events are missing: list what there is, and ask again")


def _pods_of_containers(engine: Engine) -> dict[str, str]:
    """Return the pods of all containers that the interface has made: of one that is gone no record tells."""
    return {each.id: each.spec.pod for each in engine.containers(all=True) if front.is_ours(each.spec.node.front)}


def _answer(engine: Engine, event: Event, pods: dict[str, str]) -> Message | None:
    try:
        found = engine.get(event.actor)
        if not front.is_ours(found.spec.node.front):
            return None
        pods[found.id] = found.spec.pod
    except NotFound:
        pass
    pod_id = pods.get(event.actor)
    if pod_id is None:
        return None
    if event.action == "destroy":
        del pods[event.actor]
    answer = pb.ContainerEventResponse(
        container_id=event.actor, container_event_type=_KINDS[event.action], created_at=event.unix_ns
    )
    try:
        pod = engine.pod(pod_id)
        config = front.sandbox_config(pod.settings.front)
        answer.pod_sandbox_status.CopyFrom(shapes.status(pod))
        answer.containers_statuses.extend(
            finding.described(engine, each, config)
            for each in engine.pod_containers(pod_id)
            if front.is_ours(each.spec.node.front)
        )
    except NotFound:  # removed meanwhile
        pass
    return answer

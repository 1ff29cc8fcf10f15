"""``POST /containers/ID/wait``: its headers come at once, its body when the container has ended.

Clients wait for the headers before they start what they wait for.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from bento.api_docker.http.call import Call
from bento.api_docker.http.replies import Streamed, line
from bento.engine.events.waiting import CONDITIONS, NEXT_EXIT, NOT_RUNNING, REMOVED
from bento.errors import NotFound, UsageError
from bento.model.container import Container
from bento.model.event import UNKNOWN_CODE


async def wait(call: Call) -> Streamed:
    """Answer once the condition holds."""
    condition = call.query.text("condition") or NOT_RUNNING
    if condition not in CONDITIONS:
        raise UsageError(f'invalid condition: "{condition}"', hint=f"use {', '.join(CONDITIONS)}")
    container = await call.ask(lambda engine: engine.get(call.ref))
    return Streamed(chunks=_answer(call, container, condition))


async def _answer(call: Call, container: Container, condition: str) -> AsyncIterator[bytes]:
    code = await _code(call, container, condition)
    if code is None:
        yield line({"StatusCode": 125, "Error": {"Message": "how the container has ended was not seen"}})
    else:
        yield line({"StatusCode": code})


async def _code(call: Call, before: Container, condition: str) -> int | None:
    """Return the exit code, once the condition holds; None: it is not known."""
    with call.services.events.subscribe(
        lambda event: event.actor == before.id and event.action in ("die", "destroy")
    ) as events:
        try:
            now = await call.ask(lambda engine: engine.get(before.id))
        except NotFound:
            return before.exit_code  # removed before it could be followed
        has_ended = not now.status.is_live
        if has_ended and (condition == NOT_RUNNING or (condition == NEXT_EXIT and now.run != before.run)):
            return now.exit_code
        code = now.exit_code
        while (event := await events.next()) is not None:
            if event.action == "die":
                said = int(event.attributes["exitCode"])
                code = None if said == UNKNOWN_CODE else said
            if event.action == "destroy" or condition != REMOVED:
                return code
    return None

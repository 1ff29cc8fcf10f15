"""What is seen of containers that run: processes, what they take; and what is changed of their limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Final

from bento import clock
from bento.api_docker.bodies.containers import Update
from bento.api_docker.bodies.limits import read_resources
from bento.api_docker.http.call import Call
from bento.api_docker.http.replies import Reply, Streamed, json, line
from bento.docker import stats as stats_words
from bento.docker import top as top_words
from bento.engine.views.stats import Sampler
from bento.errors import UsageError
from bento.model.create import UpdateOptions
from bento.parse.container import parse_restart

_INTERVAL_S: Final = 1.0


async def top(call: Call) -> Reply:
    """``GET /containers/ID/top``."""
    options = call.query.text("ps_args").split()
    return json(top_words.document(await call.act(lambda engine: engine.top(call.ref, options))))


async def stats(call: Call) -> Streamed:
    """``GET /containers/ID/stats``: a line each second; one with ``stream=0``, at once with ``one-shot=1``."""
    query = call.query
    is_stream, one_shot = query.flag("stream", default=True), query.flag("one-shot")
    sampler = await call.ask(lambda engine: engine.stats_sampler([call.ref]))
    return Streamed(chunks=_samples(call, sampler, is_stream=is_stream, one_shot=one_shot))


async def _samples(call: Call, sampler: Sampler, *, is_stream: bool, one_shot: bool) -> AsyncIterator[bytes]:
    due_mono_s = clock.mono_s()
    is_first = True
    while found := await call.ask(lambda engine: sampler.sample()):
        # The first one has nothing to be compared with: what asks for one alone gets the second.
        if is_stream or one_shot or not is_first or found[0].now is None:
            yield line(stats_words.document(found[0]))
            if not is_stream:
                return
        is_first = False
        due_mono_s = max(due_mono_s + _INTERVAL_S, clock.mono_s())
        await asyncio.sleep(max(0.0, due_mono_s - clock.mono_s()))


async def update(call: Call) -> Reply:
    """``POST /containers/ID/update``."""
    body = await call.read(Update)
    policy = None
    if body.RestartPolicy is not None and body.RestartPolicy.Name:
        limit = body.RestartPolicy.MaximumRetryCount or 0
        policy = parse_restart(f"{body.RestartPolicy.Name}:{limit}" if limit else body.RestartPolicy.Name)
    options = UpdateOptions(resources=read_resources(body), restart=policy)
    if options == UpdateOptions():
        raise UsageError("nothing to change was given")
    await call.act(lambda engine: engine.update(call.ref, options))
    return json({"Warnings": []})


async def prune(call: Call) -> Reply:
    """``POST /containers/prune``."""
    filters = call.query.filters()
    pruned = await call.act(lambda engine: engine.prune_containers(filters=filters))
    return json({"ContainersDeleted": list(pruned.containers) or None, "SpaceReclaimed": pruned.freed_bytes})

"""What is seen of containers that run: processes, what they take; and what is changed of their limits."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import aclosing
from typing import Final

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
    return Streamed(chunks=_all(call, sampler) if is_stream else _one(call, sampler, one_shot=one_shot))


async def _all(call: Call, sampler: Sampler) -> AsyncIterator[bytes]:
    [container_id] = sampler.ids
    async with aclosing(call.services.sampling.follow(container_id, sampler)) as samples:
        async for sample in samples:
            yield line(stats_words.document(sample))


async def _one(call: Call, sampler: Sampler, *, one_shot: bool) -> AsyncIterator[bytes]:
    found = await call.ask(lambda engine: sampler.sample())
    if found and found[0].now is not None and not one_shot:  # the first one has nothing to be compared with
        await asyncio.sleep(_INTERVAL_S)
        found = await call.ask(lambda engine: sampler.sample())
    if found:
        yield line(stats_words.document(found[0]))


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

"""Builds, by the classic builder's endpoint: each in a process of its own, which ends when its client leaves."""

from __future__ import annotations

from bento.api_docker.bodies.builds import read_build
from bento.api_docker.handlers.runs import run
from bento.api_docker.http.call import Call
from bento.api_docker.http.replies import Reply, Streamed, json
from bento.api_docker.jobs import Build
from bento.errors import UsageError


async def build(call: Call) -> Streamed:
    """``POST /build``: the body is the context, a tar archive, plain or compressed."""
    asked = read_build(call.query, call.header("x-registry-config"))
    return await run(call, Build(options=asked.options, quiet=asked.quiet, auths=asked.auths), has_body=True)


async def prune(call: Call) -> Reply:
    """``POST /build/prune``: all that builds have kept."""
    query = call.query
    if query.filters() or query.number("keep-storage"):
        raise UsageError("what builds have kept goes as a whole", hint="omit filters and keep-storage")
    freed_bytes = await call.act(lambda engine: engine.prune_builder())
    return json({"CachesDeleted": None, "SpaceReclaimed": freed_bytes})

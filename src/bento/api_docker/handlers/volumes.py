"""Volumes."""

from __future__ import annotations

from bento.api_docker.bodies.resources import VolumeCreate, check_volume
from bento.api_docker.http.call import Call
from bento.api_docker.http.replies import NO_CONTENT, Reply, json
from bento.errors import NotFound
from bento.wiring import Engine


async def list_(call: Call) -> Reply:
    """``GET /volumes``."""
    filters = call.query.filters()

    def look(engine: Engine) -> list[dict[str, object]]:
        return [engine.describe_volume(volume) for volume in engine.volumes(filters=filters)]

    return json({"Volumes": await call.ask(look), "Warnings": None})


async def inspect(call: Call) -> Reply:
    """``GET /volumes/NAME``."""
    return json(await call.ask(lambda engine: engine.inspect_volume(call.ref)))


async def create(call: Call) -> Reply:
    """``POST /volumes/create``; one of that name that is there is returned as it is."""
    body = await call.read(VolumeCreate)
    check_volume(body)

    def make(engine: Engine) -> dict[str, object]:
        made = engine.create_volume(body.Name or "", labels=body.Labels, options=body.DriverOpts)
        return engine.describe_volume(made)

    return json(await call.act(make), 201)


async def remove(call: Call) -> Reply:
    """``DELETE /volumes/NAME``; with ``force`` one that is not there is no error."""
    try:
        await call.act(lambda engine: engine.remove_volume(call.ref))
    except NotFound:
        if not call.query.flag("force"):
            raise
    return NO_CONTENT


async def prune(call: Call) -> Reply:
    """``POST /volumes/prune``: the anonymous ones, with ``all=true``, and for clients before 1.42, all."""
    filters = call.query.filters()
    is_all = call.version < (1, 42) or any(text in ("all=true", "all=1") for text in filters)
    others = tuple(text for text in filters if not text.startswith("all="))
    pruned = await call.act(lambda engine: engine.prune_volumes(all=is_all, filters=others))
    return json({"VolumesDeleted": list(pruned.names), "SpaceReclaimed": pruned.freed_bytes})

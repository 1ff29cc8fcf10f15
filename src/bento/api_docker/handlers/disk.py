"""``GET /system/df``: what everything takes of the disk."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from bento.api_docker.http.call import Call
from bento.api_docker.http.replies import Reply, json
from bento.docker import disk, image_api
from bento.errors import UsageError
from bento.model.disk import DiskUsage
from bento.wiring import Engine

_Part = Callable[[Engine, DiskUsage], dict[str, Any]]


async def usage(call: Call) -> Reply:
    """``GET /system/df``. ``type``: container, image, volume, build-cache; none: all of them."""
    asked = call.query.texts("type") or list(_PARTS)
    for kind in asked:
        if kind not in _PARTS:
            raise UsageError(f"unknown object type: {kind}", hint=f"use {', '.join(_PARTS)}")

    def look(engine: Engine) -> dict[str, Any]:
        found = engine.disk_usage()
        document: dict[str, Any] = {"LayersSize": found.images_bytes} if "image" in asked else {}
        for kind in dict.fromkeys(asked):
            document |= _PARTS[kind](engine, found)
        return document

    return json(await call.act(look))


def _containers(engine: Engine, found: DiskUsage) -> dict[str, Any]:
    documents = engine.summaries([each.container for each in found.containers])
    taken = [{"SizeRw": each.size_bytes} for each in found.containers]
    return {"Containers": [document | own for document, own in zip(documents, taken, strict=True)]}


def _volumes(engine: Engine, found: DiskUsage) -> dict[str, Any]:
    return {"Volumes": disk.volumes(found, [engine.describe_volume(volume) for volume in engine.volumes()])}


_PARTS: dict[str, _Part] = {
    "container": _containers,
    "image": lambda _, found: {"Images": [image_api.summary(each) for each in found.images]},
    "volume": _volumes,
    "build-cache": lambda engine, _: {
        "BuildCache": disk.build_cache(engine.builder_bytes(), engine.builder_used_unix_ns())
    },
}

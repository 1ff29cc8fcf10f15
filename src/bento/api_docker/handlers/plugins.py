"""Plugins, of which Bento has none."""

from __future__ import annotations

from bento.api_docker.http.call import Call
from bento.api_docker.http.replies import Reply, failure, json


async def list_(call: Call) -> Reply:
    """``GET /plugins``."""
    return json([])


async def inspect(call: Call) -> Reply:
    """``GET /plugins/NAME/json``: the last try of ``docker inspect``."""
    return failure(f"plugin {call.ref!r} not found", 404)

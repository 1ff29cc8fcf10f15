"""The engine itself: ping, version, info."""

from __future__ import annotations

import os
import platform

from bento import __version__
from bento.api_docker.http.call import Call
from bento.api_docker.http.replies import Reply, json, text
from bento.api_docker.http.router import API_VERSION, MIN_VERSION
from bento.docker import engine_api
from bento.oci.platform import host_platform

_NOT_CACHED = (("Cache-Control", "no-cache, no-store, must-revalidate"), ("Pragma", "no-cache"))


async def ping(call: Call) -> Reply:
    """``GET /_ping``, and HEAD: what every client asks first. The version is in the headers of every answer."""
    return text("OK", headers=(*_NOT_CACHED, ("Swarm", "inactive")))


async def version(call: Call) -> Reply:
    """``GET /version``."""
    host, own = os.uname(), str(host_platform()).split("/")
    api, least = (f"{major}.{minor}" for major, minor in (API_VERSION, MIN_VERSION))
    document = engine_api.version(
        engine=__version__,
        api=api,
        least_api=least,
        kernel=host.release,
        architecture=own[1],
        os_type=own[0],
        python=platform.python_version(),
    )
    return json(document)


async def info(call: Call) -> Reply:
    """``GET /info``."""
    return json(await call.ask(lambda engine: engine.info()))

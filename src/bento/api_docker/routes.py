"""The table of endpoints: a row for each, and the function that answers it. CONTRIBUTING.md says how to add one.

The first row that fits answers: of two that fit the same path the longer one comes first.
"""

from __future__ import annotations

from typing import Final

from bento.api_docker.handlers import (
    attach,
    builds,
    containers,
    disk,
    events,
    execs,
    files,
    images,
    logs,
    networks,
    plugins,
    system,
    transfers,
    views,
    volumes,
    waiting,
)
from bento.api_docker.http.replies import failure
from bento.api_docker.http.router import Route

_SYSTEM = (
    Route("GET", "/_ping", system.ping),
    Route("HEAD", "/_ping", system.ping),
    Route("GET", "/version", system.version),
    Route("GET", "/info", system.info),
    Route("GET", "/events", events.events),
    Route("GET", "/system/df", disk.usage),
)
_CONTAINERS = (
    Route("GET", "/containers/json", containers.list_),
    Route("POST", "/containers/create", containers.create),
    Route("GET", "/containers/{ref}/json", containers.inspect),
    Route("POST", "/containers/{ref}/start", containers.start),
    Route("POST", "/containers/{ref}/stop", containers.stop),
    Route("POST", "/containers/{ref}/restart", containers.restart),
    Route("POST", "/containers/{ref}/kill", containers.kill),
    Route("POST", "/containers/{ref}/pause", containers.pause),
    Route("POST", "/containers/{ref}/unpause", containers.unpause),
    Route("POST", "/containers/{ref}/rename", containers.rename),
    Route("GET", "/containers/{ref}/top", views.top),
    Route("GET", "/containers/{ref}/stats", views.stats),
    Route("POST", "/containers/{ref}/update", views.update),
    Route("POST", "/containers/prune", views.prune),
    Route("HEAD", "/containers/{ref}/archive", files.stat),
    Route("GET", "/containers/{ref}/archive", files.get_archive),
    Route("PUT", "/containers/{ref}/archive", files.put_archive),
    Route("GET", "/containers/{ref}/changes", files.changes),
    Route("GET", "/containers/{ref}/export", files.export),
    Route("POST", "/commit", files.commit),
    Route("POST", "/containers/{ref}/attach", attach.attach),
    Route("GET", "/containers/{ref}/attach/ws", attach.attach_by_websocket),
    Route("POST", "/containers/{ref}/resize", attach.resize),
    Route("GET", "/containers/{ref}/logs", logs.logs),
    Route("POST", "/containers/{ref}/wait", waiting.wait),
    Route("DELETE", "/containers/{ref}", containers.remove),
    Route("GET", "/bento/containers/{ref}/stop-report", containers.stop_report),
)

_EXECS = (
    Route("POST", "/containers/{ref}/exec", execs.create),
    Route("POST", "/exec/{ref}/start", execs.start),
    Route("POST", "/exec/{ref}/resize", execs.resize),
    Route("GET", "/exec/{ref}/json", execs.inspect),
)

_IMAGES = (
    Route("GET", "/images/json", images.list_),
    Route("POST", "/images/create", transfers.create),
    Route("GET", "/images/search", images.search),
    Route("POST", "/images/load", transfers.load),
    Route("GET", "/images/get", transfers.save),
    Route("POST", "/images/prune", images.prune),
    Route("GET", "/images/{ref*}/json", images.inspect),
    Route("GET", "/images/{ref*}/history", images.history),
    Route("GET", "/images/{ref*}/get", transfers.save),
    Route("POST", "/images/{ref*}/push", transfers.push),
    Route("POST", "/images/{ref*}/tag", images.tag),
    Route("DELETE", "/images/{ref*}", images.remove),
    Route("GET", "/distribution/{ref*}/json", transfers.distribution),
    Route("POST", "/auth", transfers.auth),
    Route("POST", "/build", builds.build),
    Route("POST", "/build/prune", builds.prune),
)
_NETWORKS = (
    Route("GET", "/networks", networks.list_),
    Route("POST", "/networks/create", networks.create),
    Route("POST", "/networks/prune", networks.prune),
    Route("GET", "/networks/{ref}", networks.inspect),
    Route("POST", "/networks/{ref}/connect", networks.connect),
    Route("POST", "/networks/{ref}/disconnect", networks.disconnect),
    Route("DELETE", "/networks/{ref}", networks.remove),
)
_VOLUMES = (
    Route("GET", "/volumes", volumes.list_),
    Route("POST", "/volumes/create", volumes.create),
    Route("POST", "/volumes/prune", volumes.prune),
    Route("GET", "/volumes/{ref}", volumes.inspect),
    Route("DELETE", "/volumes/{ref}", volumes.remove),
)
_PLUGINS = (
    Route("GET", "/plugins", plugins.list_),
    Route("GET", "/plugins/{ref*}/json", plugins.inspect),
)

ROUTES: Final = (*_SYSTEM, *_CONTAINERS, *_EXECS, *_IMAGES, *_NETWORKS, *_VOLUMES, *_PLUGINS)

# The status and the first words are those of a daemon of Docker's that is in no swarm: clients take them for that.
_NO_SWARM: Final = failure(
    "This node is not a swarm manager: Bento has no swarm, and runs the containers of one machine", 503
)
_NO_PLUGINS: Final = failure("Bento has no plugins: drivers are bridge for networks and local for volumes", 501)
_NO_BUILDKIT: Final = failure(
    "Bento builds by buildah, and not by BuildKit: use the classic builder (DOCKER_BUILDKIT=0)", 501
)
LEFT_OUT: Final = {
    **dict.fromkeys(("/swarm", "/nodes", "/services", "/tasks", "/secrets", "/configs"), _NO_SWARM),
    "/plugins": _NO_PLUGINS,
    "/session": _NO_BUILDKIT,
    "/grpc": _NO_BUILDKIT,
}
"""Beginnings of paths that Docker has and Bento does not, on purpose, and how they are answered."""

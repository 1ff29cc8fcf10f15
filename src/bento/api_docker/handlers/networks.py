"""Networks, and the containers on them."""

from __future__ import annotations

from bento.api_docker.bodies.networks import read_endpoint
from bento.api_docker.bodies.resources import Connect, Disconnect, NetworkCreate, read_network
from bento.api_docker.http.call import Call
from bento.api_docker.http.replies import NO_CONTENT, Reply, json
from bento.docker import network as network_words
from bento.errors import Conflict, NotPermitted, UsageError


async def list_(call: Call) -> Reply:
    """``GET /networks``. The containers on each are said by its inspect alone, as in Docker."""
    filters = call.query.filters()
    found = await call.ask(lambda engine: engine.networks(filters=filters))
    return json([network_words.describe(network) for network in found])


async def inspect(call: Call) -> Reply:
    """``GET /networks/ID``."""
    return json(await call.ask(lambda engine: engine.inspect_network(call.ref)))


async def create(call: Call) -> Reply:
    """``POST /networks/create``."""
    options = read_network(await call.read(NetworkCreate))
    made = await call.act(lambda engine: engine.create_network(options))
    return json({"Id": made.id, "Warning": ""}, 201)


async def connect(call: Call) -> Reply:
    """``POST /networks/ID/connect``: a container in any state."""
    body = await call.read(Connect)
    container = _container(body.Container)
    asked = read_endpoint(call.ref, body.EndpointConfig) if body.EndpointConfig is not None else None
    await call.act(lambda engine: engine.connect_network(call.ref, container, asked))
    return Reply()


async def disconnect(call: Call) -> Reply:
    """``POST /networks/ID/disconnect``."""
    body = await call.read(Disconnect)
    container, force = _container(body.Container), bool(body.Force)
    await call.act(lambda engine: engine.disconnect_network(call.ref, container, force=force))
    return Reply()


def _container(ref: str | None) -> str:
    if not ref:
        raise UsageError("no container named", hint="give Container in the body")
    return ref


async def remove(call: Call) -> Reply:
    """``DELETE /networks/ID``. One that cannot go is 403 in Docker, and not a conflict."""
    try:
        await call.act(lambda engine: engine.remove_network(call.ref))
    except Conflict as error:
        raise NotPermitted(error.message, hint=error.hint) from error
    return NO_CONTENT


async def prune(call: Call) -> Reply:
    """``POST /networks/prune``."""
    filters = call.query.filters()
    pruned = await call.act(lambda engine: engine.prune_networks(filters=filters))
    return json({"NetworksDeleted": list(pruned.networks) or None})

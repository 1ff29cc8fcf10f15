"""Images: what is here, what it is called, and what goes."""

from __future__ import annotations

from bento.api_docker.http.call import Call
from bento.api_docker.http.replies import Reply, failure, json
from bento.docker import image_api
from bento.errors import UsageError
from bento.wiring import Engine


async def list_(call: Call) -> Reply:
    """``GET /images/json``."""
    filters = call.query.filters()
    found = await call.ask(lambda engine: engine.image_usage(filters=filters))
    return json([image_api.summary(usage) for usage in found])


async def inspect(call: Call) -> Reply:
    """``GET /images/NAME/json``."""
    return json(image_api.inspected(await call.ask(lambda engine: engine.inspect_image(call.ref))))


async def history(call: Call) -> Reply:
    """``GET /images/NAME/history``."""

    def look(engine: Engine) -> list[dict[str, object]]:
        names = engine.inspect_image(call.ref)["RepoTags"]
        return image_api.history(engine.history(call.ref), names)

    return json(await call.ask(look))


async def tag(call: Call) -> Reply:
    """``POST /images/NAME/tag``."""
    repository, tag = call.query.text("repo"), call.query.text("tag")
    if not repository:
        raise UsageError("no name to give: give ?repo=")
    await call.act(lambda engine: engine.tag_image(call.ref, f"{repository}:{tag}" if tag else repository))
    return Reply(status=201)


async def remove(call: Call) -> Reply:
    """``DELETE /images/NAME``."""
    force = call.query.flag("force")
    return json(image_api.removed(await call.act(lambda engine: engine.remove_image(call.ref, force=force))))


async def prune(call: Call) -> Reply:
    """``POST /images/prune``: those without names, with ``dangling=false`` all that no container needs."""
    filters = call.query.filters()
    is_all = any(text in ("dangling=false", "dangling=0") for text in filters)
    others = tuple(text for text in filters if not text.startswith("dangling="))
    pruned = await call.act(lambda engine: engine.prune_images(all=is_all, filters=others))
    deleted = [entry for image in pruned.images for entry in image_api.removed(image)]
    return json({"ImagesDeleted": deleted or None, "SpaceReclaimed": pruned.freed_bytes})


async def search(call: Call) -> Reply:
    """``GET /images/search``, which Bento leaves out."""
    return failure(
        "there is no search: registries have no common way to be searched, and Docker Hub's is its own "
        "(use the registry's web page; skopeo list-tags docker://NAME lists the tags of an image)",
        501,
    )

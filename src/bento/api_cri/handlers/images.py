"""ImageService: ListImages, ImageStatus, PullImage, RemoveImage, ImageFsInfo."""

from __future__ import annotations

import msgspec

from bento.api_cri.bodies import images as bodies
from bento.api_cri.context import Context
from bento.api_cri.handlers import finding, jobs
from bento.api_cri.messages import Message, pb
from bento.api_cri.shapes import images as shapes
from bento.api_cri.shapes import usage
from bento.errors import NotFound
from bento.model.image import Image
from bento.serving.fetching import Fetch
from bento.wiring import Engine


async def list_images(context: Context, request: Message) -> Message:
    """Return all images, or the one that is asked for."""
    name = request.filter.image.image

    def look(engine: Engine) -> list[Image]:
        if not name:
            return engine.images()
        found = finding.image(engine, name)
        return [found] if found is not None else []

    found = await context.engines.ask(look)
    return pb.ListImagesResponse(images=[shapes.image(each, context.pinned_images) for each in found])


async def image_status(context: Context, request: Message) -> Message:
    """Return an image; nothing where it is not here."""
    name = bodies.named(request.image)
    found = await context.engines.ask(lambda engine: finding.image(engine, name))
    reply = pb.ImageStatusResponse()
    if found is not None:
        reply.image.CopyFrom(shapes.image(found, context.pinned_images))
        if request.verbose:
            reply.info["info"] = msgspec.json.encode(found).decode()
    return reply


async def pull_image(context: Context, request: Message) -> Message:
    """Fetch an image. It is broken off when the client leaves, or its time is over."""
    task = Fetch(name=bodies.named(request.image), access=bodies.access(request.auth))
    return pb.PullImageResponse(image_ref=(await jobs.waited_for(context, task)).id)


async def remove_image(context: Context, request: Message) -> Message:
    """Remove an image with all its names, by any of them. One that is not here is no error."""
    name = bodies.named(request.image)

    def remove(engine: Engine) -> None:
        found = finding.image(engine, name)
        if found is None:
            return
        try:
            engine.remove_image(found.id, all_names=True)
        except NotFound:  # another call was quicker
            return

    await context.engines.act(remove)
    return pb.RemoveImageResponse()


async def image_fs_info(context: Context, request: Message) -> Message:
    """Return what images, and what containers, take of the disk."""
    images, containers = await context.engines.ask(lambda engine: engine.filesystems())
    return pb.ImageFsInfoResponse(
        image_filesystems=[usage.filesystem(images)], container_filesystems=[usage.filesystem(containers)]
    )

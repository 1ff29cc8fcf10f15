"""Images as messages."""

from __future__ import annotations

from collections.abc import Collection

from bento.api_cri.messages import Message, pb
from bento.model import reference
from bento.model.image import Image


def image(found: Image, pinned: Collection[str]) -> Message:
    """Return an image. ``pinned``: full names of those that are not to be collected."""
    made = pb.Image(
        id=found.id,
        repo_tags=[name for name in found.names if "@" not in name],
        repo_digests=digests(found),
        size=max(1, found.size_bytes),
        pinned=not set(found.names).isdisjoint(pinned),
    )
    user = found.config.user.partition(":")[0]
    if user.isascii() and user.isdigit():
        made.uid.value = int(user)
    elif user:
        made.username = user
    made.spec.image = found.id
    return made


def digests(found: Image) -> list[str]:
    """Return the names by digest: those that it was fetched by, else its repositories with the digest that it has."""
    named = [name for name in found.names if "@" in name]
    known = {reference.repository(name) for name in named}
    tagged = dict.fromkeys(reference.repository(name) for name in found.names if "@" not in name)
    return named + [f"{name}@{found.digest}" for name in tagged if name not in known and found.digest]


def called(found: Image, asked: Message) -> str:
    """Return what the image of a container is called: as it was asked for, where it has that name, else by its first.

    A kubelet asks by the id alone, and shows this name to people. "": the image has none.
    """
    for name in (asked.user_specified_image, asked.image):
        if (full := reference.complete(name)) in found.names:
            return full
    return found.names[0] if found.names else ""

"""Containers and pods of the interface: what it has made, and nothing else that the engine has."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from contextlib import suppress
from typing import Final

from bento.api_cri.bodies import front
from bento.api_cri.messages import Message, pb
from bento.api_cri.shapes import containers as shapes
from bento.engine.base.find_image import HOST_REFS
from bento.errors import NotFound, UsageError
from bento.model.container import Container
from bento.model.image import Image
from bento.model.pods import Pod, PodState
from bento.wiring import Engine

_NAME_MAX: Final = 119  # with what makes it another one, 128


def container(engine: Engine, ref: str) -> Container:
    """Return a container by its id, or the beginning of that. Raises NotFound, also for what others have made."""
    if not ref:
        raise UsageError("no container is named", hint="fill in container_id")
    found = engine.get(ref)
    if not found.id.startswith(ref) or not front.is_ours(found.spec.node.front):
        raise NotFound(f"no such container: {ref}")
    return found


def pod(engine: Engine, ref: str) -> Pod:
    """Return a pod by its id, or the beginning of that. Raises NotFound, also for what others have made."""
    if not ref:
        raise UsageError("no pod is named", hint="fill in pod_sandbox_id")
    found = engine.pod(ref)
    if not found.id.startswith(ref) or not front.is_ours(found.settings.front):
        raise NotFound(f"no such pod: {ref}")
    return found


def image(engine: Engine, name: str) -> Image | None:
    """Return an image by its name or id; what can be no name finds none.

    Nor does the name or id of the machine's own root filesystem: a pod's author names images, and is not to have that.
    """
    if name in HOST_REFS:
        return None
    try:
        return engine.image(name)
    except (NotFound, UsageError):
        return None


def free_pod_name(engine: Engine, name: str) -> str:
    """Return a name for a new pod: another one where that of a pod that is over is the same, as dockershim did.

    A kubelet whose static pod comes back may count its attempts from 0 again, before it has removed the old one.
    """
    with suppress(NotFound):
        found = engine.pod(name)
        if found.name == name and found.state is PodState.NOT_READY:
            return _varied(name)
    return name


def free_container_name(engine: Engine, name: str) -> str:
    """Return a name for a new container: another one where that of a container that has ended is the same."""
    with suppress(NotFound):
        found = engine.get(name)
        if found.name == name and shapes.state(found) == pb.CONTAINER_EXITED:
            return _varied(name)
    return name


def _varied(name: str) -> str:
    return f"{name[:_NAME_MAX]}_{secrets.token_hex(4)}"


def described(engine: Engine, found: Container, sandbox: Message) -> Message:
    """Return all that is said of a container, wherever it is said. ``sandbox``: the configuration of its pod."""
    return shapes.status(found, sandbox, engine.container_user(found.id), image(engine, found.spec.image_id))


def is_selected(labels: Mapping[str, str], selector: Mapping[str, str]) -> bool:
    """Whether labels have all that are asked for."""
    return all(labels.get(key) == value for key, value in selector.items())

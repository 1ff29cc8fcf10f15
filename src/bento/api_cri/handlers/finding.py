"""Containers and pods of the interface: what it has made, and nothing else that the engine has."""

from __future__ import annotations

from collections.abc import Mapping

from bento.api_cri.bodies import front
from bento.errors import NotFound, UsageError
from bento.model.container import Container
from bento.model.image import Image
from bento.model.pods import Pod
from bento.wiring import Engine


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
    """Return an image by its name or id; what can be no name finds none."""
    try:
        return engine.image(name)
    except (NotFound, UsageError):
        return None


def is_selected(labels: Mapping[str, str], selector: Mapping[str, str]) -> bool:
    """Whether labels have all that are asked for."""
    return all(labels.get(key) == value for key, value in selector.items())

"""Images as Docker's API has them: the list, a history, what a removal has done, and how far a transfer is."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any, Final

from bento.docker.image import MISSING
from bento.model import reference
from bento.model.disk import ImageUsage, RemovedImage
from bento.model.image import HistoryStep, Image
from bento.model.transfer import TransferProgress
from bento.oci.remote_image import RemoteImage

_PHASES: Final = {
    "waiting": "Pulling fs layer",
    "present": "Already exists",
    "moving": "Downloading",
    "moved": "Download complete",
    "unpacking": "Extracting",
    "done": "Pull complete",
}
_PUSHED: Final = {"waiting": "Preparing", "present": "Layer already exists", "moving": "Pushing", "moved": "Pushed"}


def summary(usage: ImageUsage) -> dict[str, Any]:
    """Return an image as an element of ``GET /images/json``."""
    image = usage.image
    return {
        "Id": image.id,
        "ParentId": "",
        **_names(image),
        "Created": image.created_unix_ns // 10**9,
        "Size": image.size_bytes,
        "VirtualSize": image.size_bytes,
        "SharedSize": usage.shared_bytes,
        "Labels": image.config.labels,
        "Containers": len(usage.containers),
    }


def _names(image: Image) -> dict[str, list[str]]:
    named = [(name, *reference.split(name)) for name in image.names]
    digests = {f"{repository}@{digest or image.digest}" for _, repository, _, digest in named if digest or image.digest}
    return {
        "RepoTags": [reference.familiar(name) for name, _, tag, _ in named if tag],
        "RepoDigests": sorted(digests),
    }


def inspected(document: Mapping[str, Any]) -> dict[str, Any]:
    """Return what ``inspect`` of an image says with the fields that older clients read."""
    return {
        "Parent": "",
        "Container": "",
        "ContainerConfig": document["Config"],  # docker-compose 1 reads its volumes before it makes a container again
        "DockerVersion": "",
        "VirtualSize": document["Size"],
        "Metadata": {"LastTagTime": "0001-01-01T00:00:00Z"},
        **document,
    }


def history(steps: Iterable[HistoryStep], names: list[str]) -> list[dict[str, Any]]:
    """Return the answer to ``GET /images/NAME/history``. ``names``: of the image, which its last step has."""
    return [
        {
            "Id": step.image_id or MISSING,
            "Created": step.created_unix_ns // 10**9,
            "CreatedBy": step.created_by,
            "Tags": names or None if step.image_id else None,
            "Size": step.size_bytes,
            "Comment": step.comment,
        }
        for step in steps
    ]


def removed(found: RemovedImage) -> list[dict[str, str]]:
    """Return what became of an image, as a removal answers it."""
    lost = [{"Untagged": reference.familiar(name)} for name in found.untagged]
    return lost + ([{"Deleted": found.deleted}] if found.deleted else [])


def progress(report: TransferProgress, *, is_push: bool = False) -> dict[str, Any]:
    """Return a line of a transfer."""
    words = (_PUSHED if is_push else _PHASES).get(report.phase, report.phase)
    detail: dict[str, int] = {}
    if report.phase == "moving" and report.total_bytes:
        detail = {"current": report.done_bytes, "total": report.total_bytes}
    return {"status": words, "progressDetail": detail, "id": report.digest.partition(":")[2][:12]}


def failure(message: str) -> dict[str, Any]:
    """Return the line of an error in the middle of an answer."""
    return {"errorDetail": {"message": message}, "error": message}


def distribution(found: RemoteImage) -> dict[str, Any]:
    """Return the answer to ``GET /distribution/NAME/json``."""
    return {
        "Descriptor": {"mediaType": found.media_type, "digest": found.digest, "size": found.size_bytes},
        "Platforms": [
            {"architecture": each.architecture, "os": each.os} | ({"variant": each.variant} if each.variant else {})
            for each in found.platforms
        ],
    }

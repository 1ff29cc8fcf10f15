"""What a caller says of a new container."""

from __future__ import annotations

from msgspec import Struct

from bento.model.container import ContainerSettings, RestartPolicy
from bento.model.resources import Resources


class CreateOptions(ContainerSettings, frozen=True, kw_only=True):
    """What a caller says of a new container; None and empty leave it to the image, then to the default.

    ``entrypoint`` () clears the image's, None keeps it.
    """

    image: str  # a name or id, or "host"
    image_name: str = ""  # what the record calls the image; "": as ``image``
    command: tuple[str, ...] = ()  # instead of the image's, after the entry point
    name: str | None = None  # None: two words, drawn
    entrypoint: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()  # "K=V"; "K" unsets the image's
    workdir: str | None = None  # absolute
    user: str | None = None  # name|uid[:group|gid]
    hostname: str | None = None  # None: the short id
    network: str = ""  # "": bridge when ports are published, else none
    pod: str = ""  # name or id of the pod that it is made into, whose network and namespaces it has
    labels: dict[str, str] = {}
    runtime: str = ""  # name or path; "": the engine's
    requires: tuple[str, ...] = ()  # names or ids; with ":healthy" behind it, the start waits for that


class UpdateOptions(Struct, frozen=True, kw_only=True):
    """What is to change of a container: limits, of which those that are None or "" stay, and its restart policy.

    Not to be changed are ``memory_swappiness``, ``oom_kill_disable``, and what is said of single devices.
    """

    resources: Resources = Resources()
    restart: RestartPolicy | None = None

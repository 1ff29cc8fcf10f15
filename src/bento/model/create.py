"""What a caller says of a new container."""

from __future__ import annotations

from bento.model.container import ContainerSettings, Mount, RestartPolicy
from bento.model.image import Healthcheck
from bento.model.network import Port
from bento.model.resources import Resources


class CreateOptions(ContainerSettings, frozen=True, kw_only=True):
    """What a caller says of a new container; None and empty leave it to the image, then to the default.

    ``stop_timeout_s`` is in seconds. ``entrypoint`` () clears the image's, None keeps it.
    """

    image: str  # a name or id, or "host"
    command: tuple[str, ...] = ()  # instead of the image's, after the entry point
    name: str | None = None  # None: two words, drawn
    entrypoint: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()  # "K=V"; "K" unsets the image's
    workdir: str | None = None  # absolute
    user: str | None = None  # name|uid[:group|gid]
    hostname: str | None = None  # None: the short id
    network: str = ""  # "": bridge when ports are published, else none
    ports: tuple[Port, ...] = ()  # published
    expose: tuple[str, ...] = ()  # beside the image's, as "80/tcp"
    pid: str = ""  # "", "host", or "container:" and a name or id
    ipc: str = ""  # "", "private", "shareable", "none", "host", or "container:" and a name or id
    mounts: tuple[Mount, ...] = ()
    volumes_from: tuple[str, ...] = ()  # NAME or NAME:ro, of containers whose mounts it gets, too
    labels: dict[str, str] = {}
    log_max_bytes: int | None = None  # None: the engine's; 0: no limit
    log_max_files: int | None = None  # None: one, or what the log driver has
    runtime: str = ""  # name or path; "": the engine's
    requires: tuple[str, ...] = ()  # names or ids; with ":healthy" behind it, the start waits for that
    healthcheck: Healthcheck | None = None  # what is not given of it is the image's


class UpdateOptions(Resources, frozen=True, kw_only=True):
    """What is to change of a container: limits, of which those that are None or "" stay, and its restart policy.

    Not to be changed are ``memory_swappiness``, ``oom_kill_disable``, and what is said of single devices.
    """

    restart: RestartPolicy | None = None

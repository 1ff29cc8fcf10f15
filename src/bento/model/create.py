"""What a caller says of a new container."""

from __future__ import annotations

from msgspec import Struct

from bento.model.container import Mount, RestartPolicy, Sandbox, Ulimit
from bento.model.network import Port
from bento.model.stop import Hook, StopRules


class CreateOptions(Struct, frozen=True, kw_only=True):
    """What a caller says of a new container; None and empty leave it to the image, then to the default.

    ``stop_timeout_s`` is in seconds. ``entrypoint`` () clears the image's, None keeps it.
    """

    image: str
    command: tuple[str, ...] = ()
    name: str | None = None
    entrypoint: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()  # "K=V"; "K" unsets the image's
    workdir: str | None = None
    user: str | None = None
    hostname: str | None = None
    network: str = ""  # "": bridge when ports are published, else none
    ports: tuple[Port, ...] = ()
    expose: tuple[str, ...] = ()  # beside the image's, as "80/tcp"
    publish_all: bool = False  # those exposed, too, on free ports
    drain: bool = False
    pid: str = ""  # "", "host", or "container:" and a name or id
    pids_limit: int | None = None
    memory_bytes: int | None = None
    cpus: float | None = None
    read_only: bool = False
    sandbox: Sandbox = Sandbox()
    init: bool = False
    mounts: tuple[Mount, ...] = ()
    volumes_from: tuple[str, ...] = ()  # NAME or NAME:ro, of containers whose mounts it gets, too
    ulimits: tuple[Ulimit, ...] = ()
    labels: dict[str, str] = {}
    stop_signal: int | None = None
    stop_timeout_s: float | None = None
    system: bool = False
    stop_method: str | None = None
    stop_command: str = ""
    stop_rules: StopRules = StopRules()
    auto_remove: bool = False
    restart: RestartPolicy = RestartPolicy()
    log_driver: str = "k8s-file"  # or "none": its output is not kept
    log_max_bytes: int | None = None  # None: the engine's; 0: no limit
    requires: tuple[str, ...] = ()  # names or ids
    pre_stop: tuple[Hook, ...] = ()
    post_stop: tuple[Hook, ...] = ()
    hook_timeout_s: float | None = None
    runtime: str = ""

"""An image: a stack of root filesystem layers and the defaults of the containers made from it."""

from typing import Final

from msgspec import Struct

from bento.model.reference import familiar

NO_NAME = "<none>"
"""What Docker shows of an image that has lost its last name."""


CMD: Final = "CMD"
CMD_SHELL: Final = "CMD-SHELL"
NO_CHECK: Final = "NONE"


class Healthcheck(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """A health check as it was given: ``test`` begins with CMD, CMD-SHELL or NONE; times are nanoseconds.

    0 and () are not given.
    """

    test: tuple[str, ...] = ()
    interval_ns: int = 0
    timeout_ns: int = 0
    start_period_ns: int = 0
    start_interval_ns: int = 0
    retries: int = 0

    @property
    def argv(self) -> tuple[str, ...]:
        """What is run inside; () where there is no check."""
        kind, *words = self.test or ("",)
        if kind == CMD_SHELL and words:
            return ("/bin/sh", "-c", *words)
        return tuple(words) if kind == CMD else ()

    @property
    def words(self) -> dict[str, object]:
        """What is given of it, in the words of Docker."""
        said: dict[str, object] = {
            "Test": list(self.test),
            "Interval": self.interval_ns,
            "Timeout": self.timeout_ns,
            "StartPeriod": self.start_period_ns,
            "StartInterval": self.start_interval_ns,
            "Retries": self.retries,
        }
        return {name: value for name, value in said.items() if value}


class ImageConfig(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The part of an OCI image configuration that a container inherits."""

    entrypoint: tuple[str, ...] = ()
    command: tuple[str, ...] = ()
    env: tuple[str, ...] = ()
    workdir: str = ""
    user: str = ""
    stop_signal: str = ""
    labels: dict[str, str] = {}
    exposed_ports: tuple[str, ...] = ()
    volumes: tuple[str, ...] = ()
    healthcheck: Healthcheck | None = None


class HistoryEntry(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """One step of how an image was built; a step without files has no layer of its own."""

    created_unix_ns: int = 0
    created_by: str = ""
    author: str = ""
    comment: str = ""
    is_empty_layer: bool = False


class Image(Struct, frozen=True, kw_only=True):
    """One image of this engine.

    ``id`` is the digest of its configuration, as in Docker. ``names`` are full ones, sorted; none: it dangles.
    ``layers`` are directories, topmost first, each once. ``diff_ids``, ``layer_digests`` and ``layer_sizes_bytes`` have
    one entry for each layer of the image, lowest first, as in OCI: the digest of its archive uncompressed and as it
    came, and what its files hold. ``digest`` is that of the manifest, and "" for an image of an older Bento, which kept
    no blobs.
    """

    id: str
    names: tuple[str, ...] = ()
    digest: str = ""
    layers: tuple[str, ...]
    diff_ids: tuple[str, ...] = ()
    layer_digests: tuple[str, ...] = ()
    layer_sizes_bytes: tuple[int, ...] = ()
    config: ImageConfig
    architecture: str = ""
    os: str = "linux"
    variant: str = ""
    author: str = ""
    created_unix_ns: int
    size_bytes: int
    history: tuple[HistoryEntry, ...] = ()

    @property
    def blobs(self) -> tuple[str, ...]:
        """The digests of all blobs that make it up."""
        return (self.digest, self.id, *self.layer_digests) if self.digest else ()

    @property
    def name(self) -> str:
        """What to call it: its first name as people write it; its short id when it has none."""
        return familiar(self.names[0]) if self.names else self.id.removeprefix("sha256:")[:12]


class HistoryStep(Struct, frozen=True, kw_only=True):
    """One step of how an image was built.

    ``image_id`` is that of the image for the last step, and "" for others: what they made has no name of its own.
    ``diff_id`` "": it made no layer.
    """

    image_id: str = ""
    created_unix_ns: int = 0
    created_by: str = ""
    comment: str = ""
    author: str = ""
    size_bytes: int = 0
    diff_id: str = ""

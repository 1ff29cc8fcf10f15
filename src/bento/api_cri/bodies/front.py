"""What the interface keeps of what it has made: the configuration as it came, beside the record of the engine.

Labels, annotations, names and attempts are given back unchanged, whatever the engine makes of them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Mapping
from contextlib import suppress
from functools import lru_cache
from typing import Final

from google.protobuf.message import DecodeError

from bento.api_cri.messages import Message, pb

_KEY: Final = "cri"
_HANDLER: Final = "handler"
_KEPT: Final = 4096
"""So many are kept decoded: lists are asked for every second."""


def keep(config: Message, handler: str = "") -> dict[str, str]:
    """Return a configuration as the record of the engine keeps it."""
    said = {_KEY: base64.b64encode(config.SerializeToString(deterministic=True)).decode()}
    return said | ({_HANDLER: handler} if handler else {})


def is_ours(front: Mapping[str, str]) -> bool:
    """Whether the interface has made this container, or this pod."""
    return _KEY in front


def container_config(front: Mapping[str, str]) -> Message:
    """Return the configuration of a container, which is not to be changed; an empty one for what is not ours."""
    return _container(front.get(_KEY, ""))


def sandbox_config(front: Mapping[str, str]) -> Message:
    """Return the configuration of a pod, which is not to be changed; an empty one for what is not ours."""
    return _sandbox(front.get(_KEY, ""))


def runtime_handler(front: Mapping[str, str]) -> str:
    """Return the name of the runtime that a pod was asked for with; "" is the default."""
    return front.get(_HANDLER, "")


@lru_cache(_KEPT)
def _container(text: str) -> Message:
    return _decoded(pb.ContainerConfig(), text)


@lru_cache(_KEPT)
def _sandbox(text: str) -> Message:
    return _decoded(pb.PodSandboxConfig(), text)


def _decoded(message: Message, text: str) -> Message:
    with suppress(binascii.Error, DecodeError):  # it is a record of ours that was damaged: what there is of it counts
        message.ParseFromString(base64.b64decode(text, validate=True))
    return message

"""Words that both halves of the conversation with a server of Docker's API have."""

from __future__ import annotations

from typing import Any

from support.comparing import Recorder

IMAGE = "box:latest"


def create(ask: Recorder, label: str, name: str, *command: str, **fields: Any) -> None:
    """Make a container of the image, without a network unless ``fields`` says other."""
    body = {"Image": IMAGE, "Cmd": command, "Labels": {"a": "b"}, "HostConfig": {"NetworkMode": "none"}} | fields
    ask(label, "POST", f"/containers/create?name={name}", body)

"""The body of a commit: what the image is to say, in place of what the container was made with."""

from __future__ import annotations

import msgspec
from msgspec import Struct


class CommitConfig(Struct, kw_only=True):
    """The fields of ``Config`` that a commit changes; the image has the others from its own image."""

    User: str | None = None
    ExposedPorts: dict[str, object] | None = None
    Env: list[str] | None = None
    Cmd: list[str] | None = None
    Volumes: dict[str, object] | None = None
    WorkingDir: str | None = None
    Entrypoint: list[str] | None = None
    Labels: dict[str, str] | None = None
    StopSignal: str | None = None


def read_changes(body: CommitConfig) -> list[str]:
    """Return what was given as instructions of a Dockerfile."""
    found = [f"{word} {text}" for word, text in (("USER", body.User), ("WORKDIR", body.WorkingDir)) if text]
    found += [f"STOPSIGNAL {body.StopSignal}"] if body.StopSignal else []
    found += [f"EXPOSE {port}" for port in body.ExposedPorts or ()]
    found += [f"VOLUME {_array([path])}" for path in body.Volumes or ()]
    found += [f"ENV {name}={_json(value)}" for name, _, value in (text.partition("=") for text in body.Env or ())]
    found += [f"LABEL {key}={_json(value)}" for key, value in (body.Labels or {}).items()]
    found += [f"ENTRYPOINT {_array(body.Entrypoint)}"] if body.Entrypoint else []
    return found + ([f"CMD {_array(body.Cmd)}"] if body.Cmd else [])


def _array(words: list[str]) -> str:
    return msgspec.json.encode(words).decode()


def _json(value: str) -> str:
    """Return a word in quotes; what looks like a variable in it is none."""
    return msgspec.json.encode(value).decode().replace("$", "\\$")

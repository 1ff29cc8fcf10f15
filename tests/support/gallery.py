"""The gallery: how each of its containers is made, and what a check is to find of it."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec

from support.servers import SERVERS, Server


class Shown(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One of them. ``server`` and ``command`` "" and (): it is the server of the same name."""

    found: tuple[str, ...]  # the ids
    server: str = ""
    command: tuple[str, ...] = ()
    before: tuple[str, ...] = ()  # what is in front of the command: a wrapper
    flags: tuple[str, ...] = ()  # of ``bento check``
    files: dict[str, str] = {}
    in_ci: bool = False  # CI checks it, too: on this machine's own root


_TABLE: Final = Path(__file__).with_suffix(".toml")
GALLERY: Final[dict[str, Shown]] = msgspec.toml.decode(_TABLE.read_bytes(), type=dict[str, Shown])


def server_of(name: str) -> Server:
    """Return what is run, with the wrapper in front of it."""
    shown = GALLERY[name]
    if shown.command:
        return Server(command=(*shown.before, *shown.command), files=shown.files)
    server = SERVERS[shown.server or name]
    return msgspec.structs.replace(server, command=(*shown.before, *server.command), files=server.files | shown.files)

"""A process that was brought into a running container: an exec session."""

from __future__ import annotations

from msgspec import Struct

from bento.model.container import ProcessIdentity
from bento.model.terminal import WindowSize


class ExecOptions(Struct, frozen=True, kw_only=True):
    """What is asked of an exec. None leaves it to the container."""

    command: tuple[str, ...]
    id: str = ""  # of the session, one of ``bento.units.new_id``, for a caller that must know it before; "": drawn
    env: tuple[str, ...] = ()  # "K=V", on top of the container's; "K" unsets it
    workdir: str | None = None  # absolute, inside; must exist
    user: str | None = None  # name|uid[:group|gid], looked up in the container's files
    has_input: bool = False  # attached: what the caller writes is its stdin; else that is empty
    tty: bool = False  # its standard streams are a terminal
    size: WindowSize | None = None  # of that terminal when it begins
    privileged: bool = False  # with every capability that there is to give


class ExecSession(Struct, frozen=True, kw_only=True):
    """One exec session, as its directory in the run root keeps it."""

    id: str
    container_id: str
    command: tuple[str, ...]
    started_unix_ns: int
    process: ProcessIdentity | None = None  # None until it runs
    monitor: ProcessIdentity | None = None

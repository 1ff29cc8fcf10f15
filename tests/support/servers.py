"""Debian's servers, each with a configuration of a few lines and work in flight, for the tests of what signals do.

A server runs as PID 1 in the network of the tests, with /s a directory of the test's. In its command and files
``@PORT@`` is a free port; ``@SLOW@`` one at which the test answers, for proxies. What answers itself makes /s/taken
when it has taken a request, and answers it when /s/go is there.
"""

from __future__ import annotations

from pathlib import Path
from typing import Final

import msgspec


class Server(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """One way to run a program. The name of the program is that of its file in the table; "": that of the server."""

    command: tuple[str, ...]
    program: str = ""
    work: str = "http"  # or "fastcgi"; "session": its greeting is read; "idle": only a port; "": not even that
    files: dict[str, str] = {}  # in /s
    once: str = ""  # for a shell, in a container of its own before: what it makes is in /s
    setup: str = ""  # for a shell, which then executes the command
    ready: str = ""  # a regular expression for its log; "": its port answers
    hello: str = ""  # what a session says first, in Latin-1
    flags: tuple[str, ...] = ()  # of ``bento run``
    in_ci: tuple[str, ...] = ()  # the signals that CI tries: it is among the packages that the tests install
    starts_s: float = 30.0
    otherwise: dict[str, str] = {}  # by signal: the effect, where run like this it is another than the table says


_TABLE: Final = Path(__file__).with_suffix(".toml")
SERVERS: Final[dict[str, Server]] = {
    name: msgspec.structs.replace(server, program=server.program or name)
    for name, server in msgspec.toml.decode(_TABLE.read_bytes(), type=dict[str, Server]).items()
}

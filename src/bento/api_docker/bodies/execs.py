"""The bodies of requests about exec sessions (Docker's API 1.44)."""

from __future__ import annotations

from msgspec import Struct

from bento.errors import UsageError
from bento.model.exec import ExecOptions
from bento.model.terminal import WindowSize
from bento.parse import detach_keys


class ExecCreate(Struct, kw_only=True):
    """``POST /containers/ID/exec``."""

    AttachStdin: bool | None = None
    AttachStdout: bool | None = None
    AttachStderr: bool | None = None
    DetachKeys: str | None = None
    Tty: bool | None = None
    Env: list[str] | None = None
    Cmd: list[str] | None = None
    Privileged: bool | None = None
    User: str | None = None
    WorkingDir: str | None = None
    ConsoleSize: list[int] | None = None


class ExecStart(Struct, kw_only=True):
    """``POST /exec/ID/start``."""

    Detach: bool | None = None
    Tty: bool | None = None
    ConsoleSize: list[int] | None = None


def read_exec(body: ExecCreate, exec_id: str) -> ExecOptions:
    """Return what is to be run. Raises UsageError."""
    if not body.Cmd:
        raise UsageError("No exec command specified")
    return ExecOptions(
        id=exec_id,
        command=tuple(body.Cmd),
        env=tuple(body.Env or ()),
        workdir=body.WorkingDir or None,
        user=body.User or None,
        has_input=bool(body.AttachStdin),
        tty=bool(body.Tty),
        size=read_size(body.ConsoleSize),
        privileged=bool(body.Privileged),
    )


def read_size(given: list[int] | None) -> WindowSize | None:
    """Return the size of a terminal, given as rows and columns; None: not given. Raises UsageError."""
    if not given or given == [0, 0]:
        return None
    if len(given) != 2 or not all(0 <= number <= 0xFFFF for number in given):
        raise UsageError(f"bad ConsoleSize {given}", hint="give [ROWS, COLUMNS]")
    return WindowSize(given[0], given[1])


def read_keys(given: str | None) -> bytes:
    """Return the keys by which a client leaves. Raises UsageError."""
    return detach_keys.parse(given or detach_keys.DEFAULT)

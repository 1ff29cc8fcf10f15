"""What is to be streamed, as the calls Exec, Attach and PortForward of CRI ask for it (api.proto, v1)."""

from __future__ import annotations

from msgspec import Struct

from bento.errors import UsageError


class ExecRequest(Struct, frozen=True, kw_only=True):
    """A command to be run in a container that runs. ``container_id``: its whole id, as the engine has it."""

    container_id: str
    command: tuple[str, ...]
    tty: bool = False
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False


class AttachRequest(Struct, frozen=True, kw_only=True):
    """The streams of a container that runs. ``tty``: whether the container has a terminal, as the client takes it."""

    container_id: str
    tty: bool = False
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False


class PortForwardRequest(Struct, frozen=True, kw_only=True):
    """Connections to ports on the loopback interface of a pod. ``ports``: those that the caller has named, if any."""

    sandbox_id: str
    ports: tuple[int, ...] = ()


Request = ExecRequest | AttachRequest | PortForwardRequest


def check(request: Request) -> None:
    """Refuse what makes no sense, in the words of the other runtimes. Raises UsageError."""
    match request:
        case ExecRequest() | AttachRequest():
            if not request.container_id:
                raise UsageError("missing required container_id")
            if request.tty and request.stderr:
                raise UsageError("tty and stderr cannot both be true", hint="a terminal has one stream of output")
            if not (request.stdin or request.stdout or request.stderr):
                raise UsageError("one of stdin, stdout, or stderr must be set")
            if isinstance(request, ExecRequest) and not request.command:
                raise UsageError("no command to run")
        case PortForwardRequest():
            if not request.sandbox_id:
                raise UsageError("missing required pod_sandbox_id")
            for port in request.ports:
                if not 0 < port < 65536:
                    raise UsageError(f"bad port {port}", hint="give 1 to 65535")

"""The errors of Bento: one root, one class per kind of answer the caller can give.

A class says where the remedy lies. ``code`` is a stable slug for machines, ``exit_code`` what the
command line exits with, ``http_status`` what a server answers. The message says what is
wrong in one line; ``hint`` says what to do about it.
"""

from __future__ import annotations

import errno
import os
from contextlib import suppress


class BentoError(Exception):
    """Root of everything Bento raises on purpose; itself only for what came from another process unnamed."""

    code = "error"
    exit_code = 1
    http_status = 500

    def __init__(self, message: str, *, hint: str = "") -> None:
        super().__init__(message)
        self.message = message
        self.hint = hint

    def __str__(self) -> str:
        return f"{self.message} ({self.hint})" if self.hint else self.message


class UsageError(BentoError):
    """The request itself is malformed: a bad flag, name, signal, number or path."""

    code = "usage"
    exit_code = 2
    http_status = 400


class NotFound(BentoError):
    """No container or image answers to that name or id."""

    code = "not-found"
    http_status = 404


class Conflict(BentoError):
    """The name is taken, the thing is in use, or another process is working on it."""

    code = "conflict"
    http_status = 409


class Elsewhere(Conflict):
    """Containers run that can be looked after only where they were started from. Nothing was changed.

    ``where``: in words. ``is_copy``: they are of the root that this one was copied from.
    """

    code = "elsewhere"

    def __init__(self, names: tuple[str, ...], where: str, *, is_copy: bool = False, hint: str = "") -> None:
        others = f" and {len(names) - 3} others" if len(names) > 3 else ""
        subject = f"container {names[0]} was" if len(names) == 1 else f"containers {', '.join(names[:3])}{others} were"
        super().__init__(f"{subject} started {where}: nothing was changed", hint=hint)
        self.names, self.where, self.is_copy = names, where, is_copy


class PortTaken(Conflict):
    """A port of the host that is to be published is taken."""

    code = "port-taken"

    def __init__(
        self, message: str, *, port: object = None, hint: str = "publish another, or end that program"
    ) -> None:
        super().__init__(message, hint=hint)
        self.port = port


class WrongState(BentoError):
    """The container's state does not allow this; nothing was changed."""

    code = "wrong-state"
    http_status = 409


class AlreadyStopped(WrongState):
    """A stop of what does not run. Callers that only need the end may take it for success, as CRI does."""

    code = "already-stopped"
    http_status = 304


class NotPermitted(BentoError):
    """The caller lacks a privilege that the operation needs."""

    code = "not-permitted"
    http_status = 403


class MissingTool(BentoError):
    """A program Bento relies on is missing, too old, or does not work on this host."""

    code = "missing-tool"


class StorageUnusable(BentoError):
    """The root directory cannot hold containers: wrong filesystem, full, or read-only."""

    code = "storage-unusable"
    http_status = 507


class StateCorrupt(BentoError):
    """The database or a record in it cannot be trusted. Nothing was changed.

    ``record_id``: of the container or image, or the name of the volume, whose record cannot be read; ``document``: what
    it holds.
    """

    code = "state-corrupt"

    def __init__(self, message: str, *, record_id: str = "", document: bytes = b"", hint: str = "") -> None:
        super().__init__(message, hint=hint)
        self.record_id, self.document = record_id, document


class KernelError(BentoError):
    """A system call failed where Bento did not expect it to."""

    code = "kernel"

    def __init__(self, call: str, errno: int, reason: str, *, path: str = "", hint: str = "") -> None:
        where = f" {path}" if path else ""
        super().__init__(f"{call}{where}: {reason}", hint=hint)
        self.call = call
        self.errno = errno
        self.path = path


class RuntimeFailed(BentoError):
    """The OCI runtime or the monitor refused or died; the message carries its own words."""

    code = "runtime-failed"


class CommandNotFound(RuntimeFailed):
    """The container's command does not exist in its root filesystem."""

    code = "command-not-found"
    exit_code = 127
    http_status = 400


class CommandNotExecutable(RuntimeFailed):
    """The container's command exists but cannot be executed."""

    code = "command-not-executable"
    exit_code = 126
    http_status = 400


class TransportFailed(BentoError):
    """An image could not be brought from, or to, where it is kept: a registry, an archive, another engine's store."""

    code = "transport-failed"
    http_status = 502


class ForeignEngineFailed(BentoError):
    """Another engine, which runs the container that was named, does not answer, or refuses."""

    code = "foreign-engine"
    http_status = 502


class BuildFailed(BentoError):
    """A step of a build has failed, or its Containerfile makes no sense to the builder."""

    code = "build-failed"
    http_status = 500


class BadImage(BentoError):
    """What was to become an image is damaged, is none, or is for another platform than the one asked for."""

    code = "bad-image"
    http_status = 422


class DeadlineExceeded(BentoError):
    """Something that is not the container's own shutdown took longer than it may."""

    code = "deadline-exceeded"
    http_status = 504


class Unhealthy(BentoError):
    """A container was to become healthy, and has become unhealthy, or has ended."""

    code = "unhealthy"
    http_status = 409


class UnitsFailed(BentoError):
    """systemd could not be asked, did not answer in time, or refused."""

    code = "units-failed"


class StuckProcess(BentoError):
    """SIGKILL did not end the container within the kill limit, or its clean-up is stuck. A later stop goes on."""

    code = "stuck-process"


class CleanupFailed(BentoError):
    """The container has ended, but something of it could not be released."""

    code = "cleanup-failed"


def as_bento_error(error: BentoError | OSError) -> BentoError:
    """Return an operating system's error as one of ours."""
    if isinstance(error, BentoError):
        return error
    what = os.fspath(error.filename) if error.filename else ""
    if error.errno in (errno.EMFILE, errno.ENFILE):
        said = error.strerror or str(error)
        return KernelError("the system", error.errno, said, path=str(what), hint="raise the limit: see ulimit -n")
    if error.errno == errno.ENOSPC:
        return StorageUnusable(f"the disk is full{f': {what}' if what else ''}", hint="make room, then try again")
    return KernelError("the system", error.errno or 0, error.strerror or str(error), path=str(what))


def is_shortage(error: OSError | BentoError) -> bool:
    """Whether this process lacks descriptors or memory: what could not be read may be there all the same."""
    return isinstance(error, OSError | KernelError) and error.errno in (errno.EMFILE, errno.ENFILE, errno.ENOMEM)


def forget_calls(cause: BaseException) -> None:
    """Have what was interrupted, as by Ctrl-C, let go of what it has, such as locks: then it can be tidied up."""
    trace = cause.__traceback__
    while trace is not None:
        with suppress(RuntimeError):  # it is under way
            trace.tb_frame.clear()
        trace = trace.tb_next


class InternalError(BentoError):
    """A defect of Bento itself."""

    code = "internal"

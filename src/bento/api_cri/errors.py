"""Errors of the engine as statuses of gRPC, by which the kubelet decides what to do."""

from __future__ import annotations

from typing import Final

from grpclib.const import Status
from grpclib.exceptions import GRPCError

from bento.errors import (
    BadImage,
    BentoError,
    Conflict,
    DeadlineExceeded,
    InternalError,
    NotFound,
    NotPermitted,
    PortTaken,
    StorageUnusable,
    TransportFailed,
    UsageError,
    WrongState,
)

_STATUSES: Final[tuple[tuple[type[BentoError], Status], ...]] = (
    (NotFound, Status.NOT_FOUND),
    (UsageError, Status.INVALID_ARGUMENT),
    (PortTaken, Status.ALREADY_EXISTS),
    (WrongState, Status.FAILED_PRECONDITION),
    (Conflict, Status.FAILED_PRECONDITION),
    (NotPermitted, Status.PERMISSION_DENIED),
    (DeadlineExceeded, Status.DEADLINE_EXCEEDED),
    (TransportFailed, Status.UNAVAILABLE),
    (BadImage, Status.INVALID_ARGUMENT),
    (StorageUnusable, Status.RESOURCE_EXHAUSTED),
    (InternalError, Status.INTERNAL),
)
_BY_CODE: Final = {kind.code: status for kind, status in _STATUSES}
_TOO_MANY: Final = "too-many"


def as_status(error: BentoError) -> GRPCError:
    """Return an error as the end of a call."""
    found = next((status for kind, status in _STATUSES if isinstance(error, kind)), Status.UNKNOWN)
    if error.code == _TOO_MANY:
        found = Status.RESOURCE_EXHAUSTED
    return GRPCError(found, str(error))


def of_code(code: str, message: str) -> GRPCError:
    """Return an error that another process has met, by its code, as the end of a call."""
    return GRPCError(_BY_CODE.get(code, Status.UNKNOWN), message)

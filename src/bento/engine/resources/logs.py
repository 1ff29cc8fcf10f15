"""Where a container's output is kept, and how much of it: what is recorded, and what is made ready for a run."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

from msgspec.structs import replace

from bento.errors import StorageUnusable, UsageError, WrongState
from bento.files import log_files
from bento.model.container import FILE_DRIVERS, Container, ContainerSpec, LogSettings
from bento.parse.logs import FILES_MAX, parse_log_driver
from bento.units import check_log_size

if TYPE_CHECKING:
    from bento.config import Settings
    from bento.engine.base.drivers import Drivers

_CHUNK_BYTES: Final = 1 << 16
_OF_LOCAL: Final = (20 << 20, 5)
"""What Docker's driver local keeps: files of 20 MiB, five of them."""
_ANNOUNCEMENTS: Final = "log-rotation"
_MAX_SIZE_HINT: Final = "add --log-opt max-size=10m"


def settle(asked: LogSettings, settings: Settings) -> LogSettings:
    """Return what is to be recorded of a new container's log, with its size, 0 for no limit, and its files.

    Raises UsageError for what does not go together.
    """
    driver, asked_bytes, asked_files = asked.driver, asked.max_bytes, asked.max_files
    if parse_log_driver(driver) not in FILE_DRIVERS:
        if asked_bytes is not None or asked_files is not None:
            why = "a log that is not kept has no size" if driver == "none" else "the journal has limits of its own"
            raise UsageError(why, hint=f"omit max-size and max-file, or the log driver {driver}")
        if driver == "none" and asked.tag:
            raise UsageError("a log that is not kept has no tag", hint="omit tag, or the log driver none")
        return replace(asked, max_bytes=0, max_files=1)
    if asked.tag:
        raise UsageError("a tag is for the journal", hint="omit tag, or add --log-driver journald")
    own_bytes, own_files = _OF_LOCAL if driver == "local" else (0, 1)
    size_bytes = (settings.log_max_bytes or own_bytes) if asked_bytes is None else asked_bytes
    files = asked_files or (own_files if size_bytes else 1)
    check_log_size(max(0, size_bytes))
    if files > FILES_MAX:
        raise UsageError(f"a log of {files} files", hint=f"{FILES_MAX} are the most; a larger max-size needs fewer")
    if files > 1 and not size_bytes:
        raise UsageError("max-file says nothing without max-size: one file grows without end", hint=_MAX_SIZE_HINT)
    return replace(asked, max_bytes=size_bytes, max_files=files)


def notes(asked: LogSettings) -> tuple[str, ...]:
    """Return what is to be said of the log driver of a new container."""
    if asked.driver not in FILE_DRIVERS[1:]:
        return ()
    return (f"the log driver {asked.driver} is a file of Bento's own here, which bento logs reads",)


def callers_own(text: str) -> Path:
    """Return the path of a log that the caller of the engine looks after, with its directory made.

    Raises StorageUnusable.
    """
    path = Path(text)
    try:
        path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
    except OSError as error:
        raise StorageUnusable(f"{path.parent}: {error.strerror}", hint="choose another place for the log") from None
    return path


def reopen(drivers: Drivers, container: Container) -> None:
    """Have a log that the caller looks after be written to a new file. Raises WrongState."""
    path = container.spec.node.log_path
    if not path:
        raise WrongState(f"the log of container {container.name} is Bento's own", hint="it is rotated by --log-opt")
    if not container.status.is_live:
        raise WrongState(f"container {container.name} does not run: nothing writes its log")
    drivers.monitor.reopen_log(drivers.run_dir(container.id), Path(path))


def of_launch(spec: ContainerSpec, path: Path) -> dict[str, Any]:
    """Return what a launch is told of the log, which is made ready; ``path``: Bento's own. Raises StorageUnusable."""
    if spec.log.driver not in FILE_DRIVERS:
        return {"log_path": None, "is_logged_to_journal": spec.log.driver == "journald", "log_tag": spec.log.tag}
    if spec.node.log_path:
        return {"log_path": callers_own(spec.node.log_path)}
    room_bytes = make_room(path, spec.log.limit_bytes, spec.log.file_count)
    return {"log_path": path, "log_max_bytes": room_bytes}


def make_room(path: Path, limit_bytes: int, files: int = 1) -> int:
    """Return after how many bytes of a new run its monitor is to begin the log anew; 0: never.

    Monitors do not count what earlier runs have left in the file: what that is beyond half of the limit is cut, oldest
    lines first; or, where the log may be of several files, it is one of those. Raises OSError.
    """
    if files > 1:
        fd = os.open(path.parent, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            return log_files.prepare(fd, files, limit_bytes)
        finally:
            os.close(fd)
    try:
        size_bytes = path.stat().st_size
    except FileNotFoundError:
        return limit_bytes
    if limit_bytes and size_bytes > limit_bytes // 2:
        size_bytes = _keep_last(path, limit_bytes // 2)
    return limit_bytes - size_bytes if limit_bytes else 0


def _keep_last(path: Path, most_bytes: int) -> int:
    """Put the last whole lines of a log in its place; return how many bytes they are."""
    beside = path.with_name(f"{path.name}.tmp")
    with path.open("rb") as old, beside.open("wb") as new:
        os.fchmod(new.fileno(), 0o600)
        old.seek(-most_bytes - 1, os.SEEK_END)
        old.readline(_CHUNK_BYTES)  # the end of a line, or of the one before
        while chunk := old.read(_CHUNK_BYTES):
            new.write(chunk)
        kept_bytes = new.tell()
    beside.replace(path)
    return kept_bytes


def keep(drivers: Drivers, container: Container) -> None:
    """Have the log of a container that was just created be rotated, where it is of several files.

    Raises StorageUnusable.
    """
    if container.spec.log.file_count > 1 and container.run is not None and container.run.monitor is not None:
        bundle = drivers.storage.bundle(container.id)
        files, monitor = container.spec.log.file_count, container.run.monitor
        drivers.monitor.keep_log(drivers.run_root / _ANNOUNCEMENTS, bundle, files, monitor)


def resume(drivers: Drivers, container_id: str) -> None:
    """Start the process that rotates logs again where it was killed; this container's is one of them. Idempotent."""
    drivers.monitor.resume_logs(drivers.run_root / _ANNOUNCEMENTS, drivers.storage.bundle(container_id).parent)


def forget(drivers: Drivers, container_id: str) -> None:
    """Remove what a process for rotation that was killed has left of a container that is deleted. Idempotent."""
    (drivers.run_root / _ANNOUNCEMENTS / container_id).unlink(missing_ok=True)

"""The exec sessions of containers: a directory each below the container's in the run root, as long as they last.

What the kernel says counts: a session is there as long as its process, or its monitor, lives. At its end the monitor
renames its directory, whatever has become of the process that began it, and so leaves word of how it ended. That is
taken once, and logged, by the one that waited for the session, or by what is next to follow or read the events, to
begin a session in the container, or to record its end; whichever renames it again is the one to log it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

import msgspec
from msgspec import Struct
from msgspec.structs import replace

from bento import log
from bento.engine.base import holdup
from bento.engine.base.liveness import lives
from bento.errors import BentoError, Conflict, StorageUnusable, StuckProcess
from bento.files.smallfile import read_number, read_small, write_small
from bento.files.tree import remove_tree
from bento.model.container import ProcessIdentity
from bento.model.event import UNKNOWN_CODE, Deed
from bento.model.exec import ExecSession
from bento.model.stop import StopIntent
from bento.stop.states import Phase
from bento.units import SIGKILL

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers

_RECORD = "session.json"
_ENDED = ".ended"
_TAKEN = ".taken"
_BEGIN_LIMIT_S = 10.0
_OPEN = frozenset({Phase.REQUESTED, Phase.DRAINING, Phase.HOOKING, Phase.GRACE})


class _Hold(Struct, frozen=True):
    at_exit_s: float | None = None


class _Journal(Struct, frozen=True):
    """Of the machine's state, what is of interest here."""

    phase: Phase
    hold: _Hold = _Hold()


def door_is_open(intent: StopIntent | None) -> bool:
    """Whether a container that is being stopped takes another process (rule S16).

    It does until its PID 1 is held at its exit, or its stop begins to kill.
    """
    if intent is None:
        return True
    journal = msgspec.json.decode(intent.journal, type=_Journal)
    return journal.phase in _OPEN and journal.hold.at_exit_s is None


@contextmanager
def none_begins(drivers: Drivers, container_id: str, *, is_kill: bool = False) -> Iterator[None]:
    """Hold the lock under which processes are brought in: what was on the way in is there when it is had.

    Blocks, for 10 s at most: a runtime that hangs must not keep a stop from killing. ``is_kill``: the deadline has
    come, and a holder that stands still is ended.
    """
    lock = None
    with suppress(Conflict, StuckProcess):
        if is_kill:
            lock = holdup.hold(drivers, container_id, container_id[:12], log.warning, limit_s=_BEGIN_LIMIT_S)
        else:
            lock = drivers.locks.hold(container_id, _BEGIN_LIMIT_S)
    try:
        yield
    finally:
        if lock is not None:
            lock.release()


def all_in(drivers: Drivers, container_id: str) -> Path:
    """Return the directory that holds those of one container."""
    return drivers.run_dir(container_id) / "exec"


def directory(drivers: Drivers, session: ExecSession) -> Path:
    """Return the directory of one session."""
    return all_in(drivers, session.container_id) / session.id


def ended_directory(drivers: Drivers, session: ExecSession) -> Path:
    """Return what the monitor renames it to at the session's end."""
    return directory(drivers, session).with_name(session.id + _ENDED)


def write(drivers: Drivers, session: ExecSession) -> None:
    """Make the directory of a new session, before anything is started. Raises StorageUnusable."""
    path = directory(drivers, session)
    try:
        path.mkdir(mode=0o700, parents=True)
        write_small(path / _RECORD, msgspec.json.encode(session))
    except OSError as error:
        raise StorageUnusable(f"cannot write {path}: {error.strerror}", hint="is the run root full?") from error


def complete(drivers: Drivers, session: ExecSession) -> None:
    """Add the identities of its process and its monitor. It may have ended, and its directory be gone, or going.

    Nothing new is put there: its monitor, which removes it, would find it not empty in the end.
    """
    with suppress(OSError):  # without it they are known by their pid files
        fd = os.open(directory(drivers, session) / _RECORD, os.O_WRONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC)
        try:
            os.truncate(fd, os.write(fd, msgspec.json.encode(session)))
        finally:
            os.close(fd)


def end(drivers: Drivers, session: ExecSession) -> None:
    """End what a launch that failed may have left: its monitor, its process, and the directory. Idempotent."""
    found = _completed(drivers, session, directory(drivers, session))
    for identity in (found.monitor, found.process):
        fd = drivers.processes.open(identity) if identity else None
        if fd is not None:
            drivers.processes.send_signal(fd, SIGKILL, wake=False)
            os.close(fd)
    remove_tree(directory(drivers, session))
    remove_tree(ended_directory(drivers, session))


def take(drivers: Drivers, session: ExecSession) -> bool:
    """Take what is left of a session whose end is known, and delete it. False: its end has been taken already."""
    taken = directory(drivers, session).with_name(session.id + _TAKEN)
    for path in (directory(drivers, session), ended_directory(drivers, session)):
        with suppress(OSError):
            path.rename(taken)
            _remove_taken(taken)
            return True
    return False


def take_ended(drivers: Drivers, container_id: str, *, is_over: bool = False) -> list[Deed]:
    """Take what the sessions of a container have left that have ended, and return what is to be logged of it.

    ``is_over``: the container has ended, and so have all of them; of what had no monitor any more the code is unknown.
    """
    deeds = []
    for name in _names(drivers, container_id):
        session_id = name.removesuffix(_ENDED)
        if name.endswith(_TAKEN) or (session_id == name and not is_over):
            continue
        taken = all_in(drivers, container_id) / (session_id + _TAKEN)
        try:
            (all_in(drivers, container_id) / name).rename(taken)
        except OSError:  # it was taken just now
            continue
        status = drivers.monitor.exit_status(taken, container_id)
        if status is not None or session_id == name:  # else it had not got to run
            attributes = {"execID": session_id, "exitCode": str(UNKNOWN_CODE if status is None else status.code)}
            at_ns = status.at_unix_ns if status is not None else 0
            deeds.append(Deed(action="exec_die", attributes=attributes, unix_ns=at_ns))
        _remove_taken(taken)
    return deeds


def _remove_taken(path: Path) -> None:
    with suppress(BentoError):  # it goes with the container's
        remove_tree(path)


def has_ended(drivers: Drivers, container_id: str, session_id: str) -> bool:
    """Whether a session has left word of its end, which was not taken yet."""
    return os.path.lexists(all_in(drivers, container_id) / (session_id + _ENDED))


def not_ended(drivers: Drivers, container_id: str) -> list[str]:
    """Return the ids of the sessions that have left no word of their end."""
    return [name for name in _names(drivers, container_id) if not name.endswith((_ENDED, _TAKEN))]


def live(drivers: Drivers, container_id: str) -> list[ExecSession]:
    """Return the sessions of a container whose process, or monitor, lives, oldest first."""
    found = []
    for name in not_ended(drivers, container_id):
        path = all_in(drivers, container_id) / name
        try:
            session = msgspec.json.decode(read_small(path / _RECORD), type=ExecSession)
        except (OSError, msgspec.DecodeError):  # it is just ending
            continue
        session = _completed(drivers, session, path)
        if lives(drivers, session.process) or lives(drivers, session.monitor):
            found.append(session)
    return sorted(found, key=lambda session: session.started_unix_ns)


def left_over(drivers: Drivers, container_id: str) -> list[Path]:
    """Return the directories of sessions that have ended, and which nothing will take. Slow.

    The caller holds the container's operation lock: else some may just be beginning.
    """
    alive = {session.id for session in live(drivers, container_id)}
    names = sorted(name for name in _names(drivers, container_id) if not name.endswith(_ENDED))
    return [all_in(drivers, container_id) / name for name in names if name not in alive]


def _names(drivers: Drivers, container_id: str) -> list[str]:
    try:
        return os.listdir(all_in(drivers, container_id))
    except OSError:
        return []


def _completed(drivers: Drivers, session: ExecSession, path: Path) -> ExecSession:
    """Fill in, from the pid files, what the process that began the session did not get to write."""
    if session.process is not None and session.monitor is not None:
        return session
    process, monitor = (_identify(drivers, session, path / name) for name in ("pidfile", "conmon.pid"))
    return replace(session, process=session.process or process, monitor=session.monitor or monitor)


def _identify(drivers: Drivers, session: ExecSession, path: Path) -> ProcessIdentity | None:
    pid = read_number(path)
    return drivers.processes.identify(pid, mark=session.container_id) if pid is not None else None

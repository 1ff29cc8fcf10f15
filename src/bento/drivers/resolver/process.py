"""The resolver as a process of its own, and how it is told of members.

What was put is in files as well, one for each member in ``resolver`` below the run root, beside the socket by which the
process is told. Whatever finds nothing that listens there starts a process and puts all members again; a lock on the
directory keeps that to one at a time. The process ends with the last member, which it knows by a pidfd.

Nothing waits for a process that begins: its sockets are made here, and those of each member as well (``sockets``). What
is sent to them waits in them. The process is in no cgroup, session or working directory of the command that has started
it, has none of its descriptors, and runs without rights.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

import msgspec

from bento import command, packets
from bento.attendants import ANSWERS_WITHIN_S, Attendant, Unanswered, exchange, send
from bento.drivers.resolver.base import Member
from bento.errors import KernelError, RuntimeFailed, StorageUnusable, UsageError
from bento.files.smallfile import read_small, remove_small, write_small
from bento.kernel.process import pidfd
from bento.lazy import LazyModule

if TYPE_CHECKING:
    from bento.drivers.resolver import sockets
else:  # a stop makes none
    sockets = LazyModule("bento.drivers.resolver.sockets")

_MODULE: Final = "bento.drivers.resolver.server.main"
_ID_DIGITS: Final = 64


class _Kept(msgspec.Struct, frozen=True):
    """What the file of a member has: also the port that its name server has in the place of 53."""

    member: Member
    port: int = 0


class ResolverProcess:
    """Implements ``ResolverDriver`` below a run root. Safe between processes; keeps nothing in memory."""

    def __init__(self, run_root: Path) -> None:
        self._directory = run_root / "resolver"
        self._process = Attendant(_MODULE, self._directory, "control", "the resolver of names")

    def put(self, member: Member) -> None:
        """See ``ResolverDriver.put``."""
        words = _sentence(member)
        process_fd = pidfd.open_verified(member.process)
        if process_fd is None:
            return
        try:
            sockets.check(process_fd)
            os.makedirs(self._directory, 0o700, exist_ok=True)
            with self._locked():
                self._put(member, words, process_fd)
        except OSError as error:
            raise StorageUnusable(f"{self._directory}: {error.strerror}", hint="choose another --run-root") from error
        finally:
            os.close(process_fd)

    def drop(self, container_id: str) -> None:
        """See ``ResolverDriver.drop``."""
        if remove_small(self._file(container_id)):
            with suppress(Unanswered):  # without its file it is not put again
                self._process.say(("drop", container_id))

    def forget(self, container_id: str) -> None:
        """See ``ResolverDriver.forget``."""
        remove_small(self._file(container_id))

    def resume(self) -> None:
        """See ``ResolverDriver.resume``."""
        if self._ids() and not self.is_alive():
            with self._locked():
                if not self.is_alive():
                    self._start()

    def is_alive(self) -> bool:
        """See ``ResolverDriver.is_alive``."""
        return self._process.is_alive()

    def end(self) -> None:
        """See ``ResolverDriver.end``."""
        self._process.end()

    def known(self) -> dict[str, Member]:
        """See ``ResolverDriver.known``."""
        return {container_id: kept.member for container_id in self._ids() if (kept := self._read(container_id))}

    def leftovers(self) -> list[str]:
        """See ``ResolverDriver.leftovers``."""
        return [container_id for container_id in self._ids() if not self._lives(container_id)]

    # -- members -----------------------------------------------------------------------------------

    def _put(self, member: Member, words: Sequence[str], process_fd: int) -> None:
        before = self._read(member.container_id)
        if before is not None and before.member.process != member.process:
            before = None  # of another run
        kept = _Kept(member, before.port if before else 0)
        self._write(kept)
        try:
            connection = self._process.reach()
            try:
                # It has the sockets, unless it has been started since.
                if before is None or exchange(connection, words):
                    self._hand_over(connection, kept, process_fd, waits=True)
            finally:
                os.close(connection)
        except Unanswered:
            self._start()

    def _hand_over(self, connection: int, kept: _Kept, process_fd: int, *, waits: bool) -> None:
        """Put a member with its sockets. Under the lock, because it is those made last that are redirected to."""
        with sockets.opened(process_fd, kept.port) as (fds, port):
            if port != kept.port:
                self._write(_Kept(kept.member, port))
            words = _sentence(kept.member)
            if not waits:
                send(connection, words, (*fds, process_fd))
            elif reason := exchange(connection, words, (*fds, process_fd)):
                self.forget(kept.member.container_id)
                raise RuntimeFailed(f"the resolver of names refuses a member: {reason}")

    def _file(self, container_id: str) -> Path:
        return self._directory / container_id

    def _ids(self) -> list[str]:
        try:
            return sorted(name for name in os.listdir(self._directory) if len(name) == _ID_DIGITS)
        except FileNotFoundError:
            return []

    def _read(self, container_id: str) -> _Kept | None:
        try:
            return msgspec.json.decode(read_small(self._file(container_id)), type=_Kept)
        except (OSError, msgspec.DecodeError):
            return None

    def _write(self, kept: _Kept) -> None:
        write_small(self._file(kept.member.container_id), msgspec.json.encode(kept))

    def _lives(self, container_id: str) -> bool:
        kept = self._read(container_id)
        fd = pidfd.open_verified(kept.member.process) if kept else None
        if fd is not None:
            os.close(fd)
        return fd is not None

    # -- the process -------------------------------------------------------------------------------

    def _start(self) -> None:
        """Start a process, in the place of one that stands still, and put all members. Under the lock."""
        ours, theirs = map(command.above_standard, packets.pair(limit_s=ANSWERS_WITHIN_S))
        try:
            self._process.start((str(theirs),), (theirs,))
            os.close(theirs)
            theirs = -1  # or nothing would tell that it has ended
            self._put_all(ours)  # with the end of this connection, it begins to resolve
        except Unanswered:
            raise RuntimeFailed("the resolver of names does not start") from None
        finally:
            for fd in (ours, theirs):
                if fd >= 0:
                    os.close(fd)

    def _put_all(self, connection: int) -> None:
        for container_id in self._ids():
            kept = self._read(container_id)
            process_fd = pidfd.open_verified(kept.member.process) if kept else None
            if kept is None or process_fd is None:
                self.forget(container_id)
                continue
            try:
                with suppress(KernelError):  # it has ended since
                    self._hand_over(connection, kept, process_fd, waits=False)
            finally:
                os.close(process_fd)

    @contextmanager
    def _locked(self) -> Iterator[None]:
        fd = os.open(self._directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX)
            yield
        finally:
            os.close(fd)


def _sentence(member: Member) -> tuple[str, ...]:
    """Return a member in the words of ``server.main``. Raises UsageError."""
    words = ["put", member.container_id, f"{member.process.pid}/{member.process.start_ticks}"]
    words += [f"server={server}" for server in member.servers]
    words += ["cut-off="] if member.is_cut_off else []
    for place in member.places:
        words.append(f"network={place.network}")
        said = {"name": place.names, "address": place.addresses, "subnet": place.subnets, "link": place.links}
        words += [f"{key}={value}" for key, values in said.items() for value in values]
    if any("\0" in word for word in words):
        raise UsageError("a name has a NUL in it", hint="leave it out")
    return tuple(words)

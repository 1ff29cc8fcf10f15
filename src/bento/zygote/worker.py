"""The worker that a zygote keeps waiting beside its child, for what outlives a command: a stop, a restart, a removal.

A fork of the child would do, as on the plain way, but half of its time it copies the pages that it writes to. This one
is there before, and takes the next job with its pages where nothing of the last one is left in it.

    worker                                   child, whose command has a job to be done
    one end of a socket pair, into a queue   ->
                                             <- the job, what it is to be done as, and where it is reported
    ``yes``: it has begun                    ->

The queue is read by one child at most, and where there is nothing in it the worker is at work, or has ended. Until
``yes`` was sent nothing is done. After that there is no second way, and nothing reaches the worker from the command.
"""

from __future__ import annotations

import gc
import os
import select
from collections.abc import Callable
from contextlib import suppress
from typing import Final, NoReturn

from msgspec import Struct, msgpack

from bento import log, own, packets
from bento.engine.base import worker
from bento.engine.base.worker import Emit
from bento.kernel.process import surroundings
from bento.kernel.process.leftovers import Held, held
from bento.kernel.process.surroundings import Differs, Surroundings, take_over
from bento.serving import jobs
from bento.zygote.environment import take_environment

KEPT_S: Final = 60.0
"""So long one that has done a job waits for the next: it has more memory of its own than a new one."""
_FREE, _YES = b"free", b"yes"
_PATIENCE_MS: Final = 1000
_PACKET_BYTES: Final = 1 << 17
_JOB_FDS: Final = 2  # the working directory, and where it is reported


class Handed(Struct, frozen=True, array_like=True):
    """A job, a line of ``bento.serving.jobs``, and what the command has from its caller."""

    caller: Surroundings
    environ: dict[bytes, bytes]
    job: bytes


_HANDED: Final = msgpack.Decoder(Handed)


def queue() -> tuple[int, int]:
    """Return the children's end of a queue of workers, which does not wait, and the workers' end."""
    ours, theirs = packets.pair()
    os.set_blocking(ours, False)
    return ours, theirs


def forget(queued: int) -> None:
    """Take from the queue what a worker that has ended has put there."""
    while (connection := _free(queued)) >= 0:
        os.close(connection)


def hand_over(queued: int, caller: Surroundings, job: bytes) -> int | None:
    """Have a worker begin with a job; return a descriptor of what it reports. None: none has begun, nor will."""
    packet = msgpack.encode(Handed(caller, dict(os.environb), job))
    while (connection := _free(queued)) >= 0:
        try:
            return _begun(connection, packet)
        except OSError:  # it has ended, or the packet is too large
            continue
        finally:
            os.close(connection)
    return None


def _free(queued: int) -> int:
    """Return a connection to a worker that waits, or has ended meanwhile; -1: there is none."""
    try:
        _, fds, _ = packets.receive(queued, len(_FREE), 1)
    except OSError:
        return -1
    return fds[0] if fds else -1


def _begun(connection: int, packet: bytes) -> int:
    """Raises OSError where it does not begin."""
    reports, writer = os.pipe2(os.O_CLOEXEC)
    place = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        packets.send(connection, packet, (place, writer))
        poller = select.poll()
        poller.register(connection, select.POLLIN)
        if not poller.poll(_PATIENCE_MS):
            packets.end_reading(connection)  # from here on it cannot say that it begins, and does not
        if os.read(connection, len(_YES)) == _YES:
            return reports
    except OSError:
        os.close(reports)
        raise
    finally:
        os.close(place)
        os.close(writer)
    os.close(reports)
    raise ConnectionResetError("the worker refuses")


class Worker:
    """The process that waits. ``queued``: its end of the queue. ``sync``: what is to be done after a job."""

    def __init__(self, queued: int, sync: Callable[[], None]) -> None:
        os.setsid()
        self._queued, self._sync = queued, sync
        self._around = surroundings.of(os.getpid())
        self._name = self._around.files[surroundings.NAME]
        self._before: Held | None = None  # the first job

    def be(self) -> NoReturn:
        """Carry out jobs, and end the process: with 0 unless it cannot be used at all."""
        status = 1
        try:
            worker.leave_streams()
            gc.freeze()
            gc.enable()
            while self._turn():
                pass
            status = 0
        except (Differs, OSError):  # the command finds another way, and the next one a new worker
            status = 0
        finally:
            os._exit(status)

    def _turn(self) -> bool:
        """Wait for a job, and do it; return whether another one may be taken. Raises OSError, Differs."""
        connection, theirs = packets.pair()
        packets.send(self._queued, _FREE, (theirs,))
        os.close(theirs)
        handed, fds = self._next(connection)
        if handed is None:
            os.close(connection)
            return True
        place, writer = fds
        self._become(handed)
        os.fchdir(place)
        os.close(place)
        packets.send(connection, _YES)
        os.close(connection)
        return self._carry_out(jobs.decode(handed.job), writer)

    def _next(self, connection: int) -> tuple[Handed | None, list[int]]:
        """Return a job, and its descriptors; None: the command has left. Ends the process with the zygote."""
        poller = select.poll()
        poller.register(connection, select.POLLIN)
        poller.register(self._queued, 0)  # when nothing is left that could read it
        ready = dict(poller.poll(None if self._before is None else KEPT_S * 1000))
        if connection not in ready:
            os._exit(0)
        packet, fds, is_whole = packets.receive(connection, _PACKET_BYTES, _JOB_FDS)
        if not packet:
            return None, []
        if not is_whole or len(fds) != _JOB_FDS:
            raise ConnectionResetError("it is cut off")
        return _HANDED.decode(packet), fds

    def _become(self, handed: Handed) -> None:
        """Become what the caller of the command is. Raises Differs.

        One that is another's already stays that: what it has done is done by what that had, such as its limits.
        """
        if self._before is None:
            take_over(self._around, handed.caller)
            self._around = handed.caller
        elif self._around != handed.caller:
            raise Differs("another caller")
        else:
            surroundings.call_itself(self._around.files[surroundings.NAME])
        take_environment(handed.environ)

    def _carry_out(self, job: jobs.Job, writer: int) -> bool:
        def work(emit: Emit) -> None:
            worker.have_own_limits()
            self._before = self._before or held(os.getpid(), without=writer)
            log.set_level(job.settings["log_level"])
            log.forget_warnings()
            jobs.carry_out(job, emit)

        own.mark(job.run_root)  # a file that stays open
        worker.carry_out(work, writer)
        is_clean = held(os.getpid(), without=writer) == self._before
        os.close(writer)  # which is the end for the command
        self._sync()
        os.chdir("/")
        with suppress(OSError):
            surroundings.call_itself(self._name)
        return is_clean

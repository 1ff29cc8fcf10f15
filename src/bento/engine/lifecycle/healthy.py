"""Waiting until a container is healthy: ``--wait``, ``--requires NAME:healthy``."""

from __future__ import annotations

import math
import os
import select
from contextlib import suppress
from typing import TYPE_CHECKING

from bento import clock
from bento.engine.lifecycle import reconcile
from bento.errors import DeadlineExceeded, KernelError, Unhealthy
from bento.model.container import Container, Status
from bento.model.health import HealthStatus

if TYPE_CHECKING:
    from bento.engine.base.drivers import Drivers

_SAID_MAX = 200
_LOOK_AGAIN_S = 1.0  # while no process is there, or not yet, that carries out the checks


def wait_until_healthy(drivers: Drivers, container_id: str, timeout_s: float | None = None) -> Container:
    """Return the container once it is healthy; one without a check once it runs. Blocks, woken by the kernel.

    Raises Unhealthy when it has become so, or has ended; DeadlineExceeded after ``timeout_s`` seconds (None: there is
    no limit); NotFound when it was removed.
    """
    deadline_s = math.inf if timeout_s is None else clock.mono_s() + timeout_s
    number: int | None = None
    while True:
        arrivals = None
        with suppress(KernelError):  # nothing runs; before the look, lest a change is missed
            arrivals = drivers.watch_arrivals(drivers.run_dir(container_id))
        try:
            now = reconcile.find(drivers, container_id)
            number = number or (now.run.number if now.run else 0)
            if _is_healthy(now, number):
                return now
            left_s = deadline_s - clock.mono_s()
            if left_s <= 0:
                raise DeadlineExceeded(
                    f"container {now.name} has not become healthy in time",
                    hint=f"its checks: bento inspect -f '{{{{json .State.Health.Log}}}}' {now.name}",
                )
            _sleep(drivers, now, arrivals.fileno() if arrivals else None, left_s)
        finally:
            if arrivals is not None:
                arrivals.close()


def _is_healthy(now: Container, number: int) -> bool:
    """Raises Unhealthy where it will not be in this run."""
    if not now.status.is_live or now.run is None or now.run.number != number:
        code = "" if now.exit_code is None else f" (exit code {now.exit_code})"
        raise Unhealthy(f"container {now.name} has ended before it was healthy{code}", hint=f"bento logs {now.name}")
    if now.health_status is HealthStatus.UNHEALTHY:
        last = now.health.log[-1].output if now.health and now.health.log else ""
        said = ": ".join(filter(None, (f"container {now.name} is unhealthy", " ".join(last.split())[:_SAID_MAX])))
        raise Unhealthy(said, hint=f"bento logs {now.name}")
    if now.health_status is None:
        return now.status in (Status.RUNNING, Status.PAUSED)
    return now.health_status is HealthStatus.HEALTHY


def _sleep(drivers: Drivers, now: Container, arrivals_fd: int | None, left_s: float) -> None:
    """Sleep until its health may have changed, it has ended, or the process that carries out its checks has."""
    keeper = drivers.locks.keeper()
    owners = (now.run.init if now.run else None, keeper.process if keeper else None)
    fds = [fd for owner in owners if owner is not None and (fd := drivers.processes.open(owner)) is not None]
    try:
        poller = select.poll()
        for fd in (*fds, arrivals_fd):
            if fd is not None:
                poller.register(fd, select.POLLIN)
        is_sure = len(fds) == len(owners) and arrivals_fd is not None
        pause_s = min(left_s, 3600.0 if is_sure else _LOOK_AGAIN_S)
        poller.poll(math.ceil(pause_s * 1000))
    finally:
        for fd in fds:
            os.close(fd)

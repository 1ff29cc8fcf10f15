"""Restart policies: whether, and when, a container that has ended is started again (rule S4). Pure.

The answer is part of the very transaction that records the end: there is no moment in which a container that will be
started again looks stopped, and a stop that comes between finds what it has to call off.
"""

from __future__ import annotations

from msgspec.structs import replace

from bento.model.container import Container, Exit, RestartPolicy, Status
from bento.stop.methods import REBOOT_CODE

FIRST_PAUSE_S = 0.1  # doubled each time
LONGEST_PAUSE_S = 60.0
RECOVERED_S = 10.0  # up for so long: the next pause is the first one again


def pause_s(
    policy: RestartPolicy, code: int | None, *, restarts: int, streak: int, is_stop_asked: bool
) -> float | None:
    """Return how long to wait before a restart, or None for no restart.

    ``code``: the exit code, None when it was not seen. ``restarts``: how many there were; ``streak``: how many in a row
    after short runs.
    """
    if is_stop_asked or policy.name == "no":
        return None
    if policy.name == "on-failure" and code == 0:
        return None
    if policy.limit and restarts >= policy.limit:
        return None
    return min(FIRST_PAUSE_S * 2.0 ** min(streak, 32), LONGEST_PAUSE_S)


def after_end(container: Container, ended: Exit, *, up_s: float, now_boot_s: float) -> Container:
    """Return a container that has stopped as it is, or waiting for its restart. ``up_s``: how long it was up."""
    policy = RestartPolicy(name="always") if _wants_reboot(container, ended) else container.spec.restart
    streak = 0 if up_s >= RECOVERED_S else container.restart_streak
    wait_s = pause_s(
        policy,
        ended.code,
        restarts=container.restarts,
        streak=streak,
        is_stop_asked=container.stop_asked,
    )
    if wait_s is None:
        return container
    return replace(
        container,
        status=Status.RESTARTING,
        restarts=container.restarts + 1,
        restart_streak=streak + 1,
        restart_boot_s=now_boot_s + wait_s,
    )


def _wants_reboot(container: Container, ended: Exit) -> bool:
    """Whether the init of a system container has asked for a reboot (rule S10)."""
    return container.spec.system and ended.code == REBOOT_CODE


def left_s(container: Container, now_boot_s: float) -> float:
    """Return how long the restart still has to wait; negative when it is overdue.

    A time further off than the longest pause was written before the machine was started anew.
    """
    left = (container.restart_boot_s or 0.0) - now_boot_s
    return left if left <= LONGEST_PAUSE_S else 0.0

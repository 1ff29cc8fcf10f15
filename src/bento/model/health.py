"""What is known of a container's health: how its checks have ended, and what follows from that."""

from enum import Enum

from msgspec import Struct


class HealthStatus(str, Enum):
    """As Docker has it. A container without a check has none of these."""

    STARTING = "starting"  # no check has decided yet
    HEALTHY = "healthy"
    UNHEALTHY = "unhealthy"


class OnUnhealthy(str, Enum):
    """What is done with a container that has become unhealthy (``--health-on-failure``, as in Podman)."""

    NONE = "none"
    KILL = "kill"  # its restart policy still applies
    RESTART = "restart"
    STOP = "stop"


class HealthResult(Struct, frozen=True, kw_only=True):
    """How one check has ended. ``exit_code``: -1 where it could not be begun, or took too long."""

    start_unix_ns: int
    end_unix_ns: int
    exit_code: int
    output: str = ""


class Health(Struct, frozen=True, kw_only=True, omit_defaults=True):
    """The health of one run. ``log``: the last results, oldest first."""

    status: HealthStatus = HealthStatus.STARTING
    failing_streak: int = 0
    log: tuple[HealthResult, ...] = ()

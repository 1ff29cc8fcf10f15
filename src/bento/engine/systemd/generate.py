"""``generate systemd``: a unit by which systemd starts, watches and restarts one container, and Bento stops it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bento.engine.lifecycle import reconcile
from bento.engine.lifecycle.shutdown import quoted
from bento.errors import UsageError
from bento.model.container import SD_NOTIFY

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bento.engine.base.drivers import Drivers
    from bento.model.container import Container

RESTARTS: Final = ("no", "on-failure", "always")
_START_S: Final = 90
_STOP_S: Final = 90


def systemd(drivers: Drivers, ref: str, restart: str) -> str:
    """Return the text of the unit. ``restart``: one of ``RESTARTS``.

    Raises NotFound; UsageError where Bento itself would restart or delete the container.
    """
    container = reconcile.find(drivers, ref)
    if (policy := container.spec.restart.name) != "no":
        raise UsageError(
            f"container {container.name} is restarted by Bento (--restart {policy}): never by both",
            hint=f"bento update --restart no {container.name}, then generate --restart",
        )
    if container.spec.auto_remove:
        raise UsageError(
            f"container {container.name} was made with --rm: it would be gone after its first stop",
            hint="make it without --rm",
        )
    return unit(container, restart, drivers.helper_argv, (drivers.root, drivers.run_root))


def unit(container: Container, restart: str, argv: Sequence[str], roots: Sequence[Path]) -> str:
    """Return the text of the unit (systemd.service(5)). Pure."""
    command, name, own = " ".join(map(quoted, argv)), quoted(container.name), container.spec.sdnotify
    mode = "" if own != SD_NOTIFY[-1] else "--sdnotify conmon "
    about = f"Container {container.name} ({container.spec.image})".replace("%", "%%")
    return f"""\
# Made by bento generate systemd {container.name}.
[Unit]
Description={about}
Wants=network-online.target
After=local-fs.target network-online.target bento.service
RequiresMountsFor={" ".join(quoted(str(root)) for root in roots)}

[Service]
# Ready when Bento, or the container, says so; the main process is the container's monitor, which ends with it.
Type=notify
NotifyAccess=all
ExecStart={command} start {mode}{name}
ExecStop={command} stop --ignore {name}
# Also when the start has failed half-way, such as by a container that has not become healthy.
ExecStopPost={command} stop --ignore {name}
Restart={restart}
TimeoutStartSec={_START_S}
# While the stop goes on, it asks for more time: the container's own grace decides.
TimeoutStopSec={_STOP_S}
# The monitor ends by itself; at a SIGTERM it would have the container signalled.
KillMode=process
KillSignal=SIGCONT

[Install]
WantedBy=multi-user.target
"""

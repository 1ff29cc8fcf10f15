"""With the machine: what is stopped when it goes down, what is started when it comes up, and systemd's part in it."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING, Final

from msgspec import Struct

from bento.engine.base.order import rounds_after
from bento.engine.lifecycle import reconcile
from bento.engine.stop.request import GRACE_S, StopOptions, default_grace_s
from bento.errors import StorageUnusable
from bento.model.container import Container, Status
from bento.units import NO_LIMIT

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from bento.engine.base.drivers import Drivers
    from bento.errors import Elsewhere, StateCorrupt

UNIT_PATH: Final = "lib/systemd/system/bento.service"  # below a prefix; systemd looks below /usr/local, too
UNBOUNDED_S: Final = 90.0
"""What a container that is never to be killed gets all the same: the machine does go down (systemd's own default)."""
MARGIN_S: Final = 15.0  # to look, to clean up, to start the command


def to_be_shut_down(
    drivers: Drivers,
    *,
    on_unreadable: Callable[[StateCorrupt], None] | None = None,
    on_elsewhere: Callable[[Elsewhere], None] | None = None,
) -> list[Container]:
    """Return what runs, and what waits to be started again by its restart policy.

    ``on_unreadable`` gets each record that cannot be read, which is left out; without it, that is a warning.
    ``on_elsewhere`` gets once those that can be looked after elsewhere alone; without it, that is a warning.
    """
    found = reconcile.refresh(drivers, drivers.store.list(on_unreadable=on_unreadable), on_elsewhere=on_elsewhere)
    return [c for c in found if c.status.is_live or c.status is Status.RESTARTING]


def to_be_started(drivers: Drivers) -> list[Container]:
    """Return what its restart policy wants to run and does not; first what others require."""
    wanted = [c for c in reconcile.refresh(drivers, drivers.store.list()) if is_wanted(c)]
    depth = rounds_after({c.id: c.spec.requires for c in wanted})
    return sorted(wanted, key=lambda c: (depth[c.id], c.created_unix_ns))


def is_wanted(container: Container) -> bool:
    """Whether a container is to be started with the machine. One that was never started is not. Pure.

    ``always`` is started whatever stopped it; ``unless-stopped`` when nothing did, or only the shutdown.
    """
    if container.status.is_live or container.run is None:
        return False
    match container.spec.restart.name:
        case "always":
            return True
        case "unless-stopped":
            return container.shut_down or not container.stop_asked
        case _:
            return False


class Budget(Struct, frozen=True, kw_only=True):
    """How long a shutdown may take. Seconds."""

    longest_s: float  # grace
    rounds: int  # one after the other, because of what they require
    total_s: float  # for --total: enough for every container to get its whole grace
    timeout_s: float  # after which systemd may give up


def budget(containers: Sequence[Container], grace_s: float | None, kill_timeout_s: float) -> Budget:
    """Return how long a shutdown of these may take. Pure. ``grace_s``: what is configured for those that name none.

    Every round must keep a fair share of the total (engine.order), so the longest grace counts for each round.
    """
    later_s = GRACE_S if grace_s is None else grace_s  # of containers that are made later
    graces = [later_s, *(default_grace_s(c.spec, grace_s) for c in containers)]
    longest_s = max(UNBOUNDED_S if grace == NO_LIMIT else grace for grace in graces)
    rounds = max(rounds_after({c.id: c.spec.requires for c in containers}).values(), default=0) + 1
    total_s = math.ceil(longest_s) * rounds
    timeout_s = math.ceil(total_s + rounds * kill_timeout_s + MARGIN_S)
    return Budget(longest_s=longest_s, rounds=rounds, total_s=total_s, timeout_s=timeout_s)


def install_unit(drivers: Drivers, prefix: Path | None) -> str:
    """Return the unit; write it below ``prefix``, over an older one, unless that is None. Raises StorageUnusable."""
    needed = budget(drivers.store.list(), drivers.settings.stop_timeout_s, StopOptions().kill_timeout_s)
    text = unit(needed, drivers.helper_argv, (drivers.root, drivers.run_root))
    if prefix is not None:
        path = prefix / UNIT_PATH
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise StorageUnusable(f"cannot write {path}: {error.strerror}", hint="choose another --prefix") from None
    return text


def unit(needed: Budget, argv: Sequence[str], roots: Sequence[Path]) -> str:
    """Return the text of the unit (systemd.service(5)). Pure."""
    command = " ".join(map(quoted, argv))
    return f"""\
# Made by bento install-unit. The longest grace is {needed.longest_s:g} s; rounds (--requires): {needed.rounds}.
# To be made anew when a container has a longer one (--stop-timeout, --system): TimeoutStopSec must be longer than
# the longest stop.
[Unit]
Description=Containers of Bento
After=local-fs.target network.target network-online.target
RequiresMountsFor={" ".join(quoted(str(root)) for root in roots)}

[Service]
Type=oneshot
RemainAfterExit=yes
# A container that cannot be started must not keep the others from being stopped properly.
ExecStart=-{command} start --restart-policy
ExecStop={command} shutdown --total {needed.total_s:g}
TimeoutStartSec=infinity
TimeoutStopSec={needed.timeout_s:g}
# While the stops go on, they ask for more time.
NotifyAccess=all
# The monitors of containers belong to this unit when it has started them; ending them is not systemd's task.
KillMode=process

[Install]
WantedBy=multi-user.target
"""


def quoted(word: str) -> str:
    """Return a word as systemd reads it: specifiers, variables and quotes stand for themselves."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("%", "%%").replace("$", "$$")
    return f'"{escaped}"' if escaped != word or not word or any(c.isspace() or c in "';" for c in word) else word

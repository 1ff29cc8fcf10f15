"""systemd's part in ``bento serve``: a socket that it listens on, and the service that the first client starts."""

from __future__ import annotations

from typing import TYPE_CHECKING, Final

from bento.engine.lifecycle.shutdown import quoted
from bento.errors import StorageUnusable, UsageError

if TYPE_CHECKING:
    from collections.abc import Sequence
    from pathlib import Path

    from bento.engine.base.drivers import Drivers

DIRECTORY: Final = "lib/systemd/system"  # below a prefix
SOCKET: Final = "bento-serve.socket"
SERVICE: Final = "bento-serve.service"
_END_S: Final = 30  # the server ends within 10 s by itself


def install(drivers: Drivers, prefix: Path | None, group: str) -> dict[str, str]:
    """Return the text of each unit by its name; write them below ``prefix``, over older ones, unless that is None.

    ``group``: whose members may connect, too; "": root alone. Raises StorageUnusable, UsageError.
    """
    if any(not (char.isalnum() or char in "_.-") for char in group):
        raise UsageError(f"bad group {group!r}", hint="give the name of a group, or its number")
    units = {
        SOCKET: socket_unit(drivers.run_root / "docker.sock", group),
        SERVICE: service_unit(drivers.helper_argv, (drivers.root, drivers.run_root)),
    }
    for name, text in units.items() if prefix is not None else ():
        assert prefix is not None
        path = prefix / DIRECTORY / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise StorageUnusable(f"cannot write {path}: {error.strerror}", hint="choose another --prefix") from None
    return units


def socket_unit(path: Path, group: str = "") -> str:
    """Return the text of the socket's unit (systemd.socket(5)). Pure."""
    members = f"SocketGroup={group}\n" if group else ""
    return f"""\
# Made by bento install-unit --serve.
[Unit]
Description=Docker's API of Bento: the socket

[Socket]
ListenStream={str(path).replace("%", "%%")}
SocketMode=0660
{members}DirectoryMode=0711
RemoveOnStop=yes

[Install]
WantedBy=sockets.target
"""


def service_unit(argv: Sequence[str], roots: Sequence[Path]) -> str:
    """Return the text of the service's unit (systemd.service(5)). Pure."""
    command = " ".join(map(quoted, argv))
    return f"""\
# Made by bento install-unit --serve.
[Unit]
Description=Docker's API of Bento
Requires={SOCKET}
# The machine goes down in the opposite order: first no client can start anything, then containers are stopped.
After={SOCKET} local-fs.target network.target bento.service
RequiresMountsFor={" ".join(quoted(str(root)) for root in roots)}

[Service]
Type=notify
ExecStart={command} serve
Restart=on-failure
# What the server has started stays: the monitors of containers, and the processes that carry out stops.
KillMode=process
TimeoutStopSec={_END_S}

[Install]
Also={SOCKET}
"""

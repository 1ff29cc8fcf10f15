"""systemd's part in ``bento serve``, and in a zygote: a socket that it listens on, and the service that the first
client starts."""

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
ZYGOTE_SOCKET: Final = "bento-zygote.socket"
ZYGOTE_SERVICE: Final = "bento-zygote.service"
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
    _write(units, prefix)
    return units


def install_zygote(drivers: Drivers, prefix: Path | None) -> dict[str, str]:
    """The same for a zygote of this version and these roots. Raises StorageUnusable."""
    program = (*drivers.helper_argv[:3], "bento.zygote")
    roots = (drivers.root, drivers.run_root)
    place = drivers.run_root / "zygote" / f"{drivers.version}-0"
    units = {ZYGOTE_SOCKET: zygote_socket_unit(place), ZYGOTE_SERVICE: zygote_service_unit(program, roots)}
    _write(units, prefix)
    return units


def _write(units: dict[str, str], prefix: Path | None) -> None:
    for name, text in units.items() if prefix is not None else ():
        assert prefix is not None
        path = prefix / DIRECTORY / name
        try:
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_text(text, encoding="utf-8")
        except OSError as error:
            raise StorageUnusable(f"cannot write {path}: {error.strerror}", hint="choose another --prefix") from None


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
# The server raises its own limit to the second; what it starts has the first. A client that is attached takes three.
LimitNOFILE=1024:524288
TimeoutStopSec={_END_S}

[Install]
Also={SOCKET}
"""


def zygote_socket_unit(path: Path) -> str:
    """Return the text of the unit of a zygote's socket. Pure."""
    return f"""\
# Made by bento install-unit --zygote; to be made again after an upgrade of Bento, whose version the socket's name has.
[Unit]
Description=Bento's zygote: the socket

[Socket]
ListenSequentialPacket={str(path).replace("%", "%%")}
SocketMode=0600
DirectoryMode=0711
RemoveOnStop=yes

[Install]
WantedBy=sockets.target
"""


def zygote_service_unit(program: Sequence[str], roots: Sequence[Path]) -> str:
    """Return the text of the unit of a zygote. Pure."""
    root, run_root = map(str, roots)
    command = " ".join(map(quoted, (*program, "--root", root, "--run-root", run_root)))
    return f"""\
# Made by bento install-unit --zygote.
[Unit]
Description=Bento's zygote
Requires={ZYGOTE_SOCKET}
After={ZYGOTE_SOCKET} local-fs.target
RequiresMountsFor={" ".join(map(quoted, (root, run_root)))}

[Service]
ExecStart={command}
# Commands that it has forked go on.
KillMode=process
# It leaves after a minute without work; the next command starts it again.
Restart=no

[Install]
Also={ZYGOTE_SOCKET}
"""

"""The words in which Docker's command line shows a record: ``Up 2 minutes``, ``0.0.0.0:8080->80/tcp``, ``1.5MB``."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from msgspec import Struct

from bento.model import reference
from bento.model.container import Container, Status
from bento.model.health import HealthStatus
from bento.model.image import NO_NAME
from bento.model.network import Port
from bento.units import short_id

_DAY_S = 86400
# From so many seconds on, in units of so many: a week begins to count as such after two of them, as Docker has it.
_UNITS = (
    (730 * _DAY_S, 365 * _DAY_S, "year"),
    (60 * _DAY_S, 30 * _DAY_S, "month"),
    (14 * _DAY_S, 7 * _DAY_S, "week"),
    (_DAY_S, _DAY_S, "day"),
    (3600, 3600, "hour"),
    (60, 60, "minute"),
    (1, 1, "second"),
)
_COMMAND_MAX = 30


class Now(Struct, frozen=True, kw_only=True):
    """The moment at which something is shown, by the clocks of ``bento.clock``."""

    wall_ns: int
    boot_s: float


def ago(unix_ns: int, now: Now) -> str:
    """Return how long ago something was: ``3 minutes ago``."""
    return f"{span(now.wall_ns - unix_ns)} ago"


def span(duration_ns: int) -> str:
    """Return a duration in its largest unit: ``3 minutes``."""
    seconds = max(0, duration_ns // 10**9)
    for least, size, name in _UNITS:
        if seconds >= least:
            count = seconds // size
            return f"{count} {name}{'s' if count != 1 else ''}"
    return "Less than a second"


def time_text(unix_ns: int) -> str:
    """Return a time as Docker's listings have it: ``2026-01-31 12:00:00 +0000 UTC``."""
    return f"{datetime.fromtimestamp(unix_ns // 10**9, UTC).astimezone():%Y-%m-%d %H:%M:%S %z %Z}"


def size_text(size_bytes: int) -> str:
    """Return a size in decimal units: ``1.5MB``."""
    value, unit = float(size_bytes), "B"
    for unit in ("B", "kB", "MB", "GB", "TB"):
        if value < 1000 or unit == "TB":
            break
        value /= 1000
    return f"{value:.3g}{unit}" if value < 1000 else f"{value:.0f}{unit}"


def memory_text(size_bytes: int) -> str:
    """Return a size in binary units, as Docker shows memory: ``4.406MiB``."""
    value, unit = float(size_bytes), "B"
    for unit in ("B", "KiB", "MiB", "GiB", "TiB"):
        if value < 1024 or unit == "TiB":
            break
        value /= 1024
    return f"{value:.4g}{unit}"


def status_text(container: Container, now: Now) -> str:
    """Return a container's state: ``Up 2 minutes``, ``Exited (0) 3 hours ago``."""
    ended = container.exit
    code = "?" if ended is None or ended.code is None else str(ended.code)
    match container.status:
        case Status.CREATED:
            return "Created"
        case Status.STARTING:
            return "Starting"
        case Status.RESTARTING:
            return f"Restarting ({code})"
        case Status.STOPPED:
            return f"Exited ({code}) {ago(ended.finished_unix_ns, now) if ended else ''}".rstrip()
        case Status.STOPPING:
            deadline_s = container.intent.deadline_boot_s if container.intent else None
            left = f" ({max(0.0, deadline_s - now.boot_s):.0f} s left)" if deadline_s is not None else ""
            return f"Stopping{left}"
        case Status.RUNNING | Status.PAUSED:
            up = span(now.wall_ns - container.run.started_unix_ns) if container.run else "?"
            return f"Up {up}{_how(container)}"


def _how(container: Container) -> str:
    """Return what is said behind the time that a container is up, as Docker has it."""
    health = container.health_status
    if container.status is Status.PAUSED:
        return " (Paused)"
    if health is None:
        return ""
    return " (health: starting)" if health is HealthStatus.STARTING else f" ({health.value})"


def ports_text(container: Container) -> str:
    """Return where a container's ports are reached, in Docker's words and order, once each.

    Those that follow one another and keep their number are one range: ``0.0.0.0:9100-9109->9100-9109/tcp``; behind them
    the others: ``0.0.0.0:8080->80/tcp``. At the container's own address alone: ``80/tcp``, ``7000-7003/tcp``.
    """
    run = container.run if container.status.is_live else None
    if run is None:
        return ""
    ports = run.ports
    moved = sorted((port for port in ports if port.host_port not in (0, port.container_port)), key=_docker_order)
    kept = {
        (port.container_port, _before(port), port.protocol)
        for port in ports
        if port.host_port in (0, port.container_port)
    }
    known = {port.inside for port in ports}
    for text in container.spec.ports.exposed if run.connections else ():
        number, _, protocol = text.partition("/")
        if text not in known:
            kept.add((int(number), "", protocol))
    return ", ".join([*_ranges(sorted(kept)), *(f"{port.outside}->{port.inside}" for port in moved)])


def _before(port: Port) -> str:
    """Return the address of the host before a port that keeps its number; "" where it is at the container's alone."""
    return port.outside.rpartition(":")[0] if port.host_port else ""


def _docker_order(port: Port) -> tuple[int, str, int, str]:
    return port.container_port, port.host_ip or "0.0.0.0", port.host_port, port.protocol


def _ranges(ports: list[tuple[int, str, str]]) -> list[str]:
    """Return the texts of ports (number, address, protocol) in order, those that follow one another as one."""
    found: list[tuple[int, int, str, str]] = []
    open_ones: dict[tuple[str, str], int] = {}  # the place in ``found`` of the last range of an address and protocol
    for number, address, protocol in ports:
        place = open_ones.get((address, protocol))
        if place is not None and found[place][1] == number - 1:
            found[place] = (found[place][0], number, address, protocol)
            continue
        open_ones[address, protocol] = len(found)
        found.append((number, number, address, protocol))
    return [_range_text(*one) for one in found]


def _range_text(first: int, last: int, address: str, protocol: str) -> str:
    numbers = str(first) if first == last else f"{first}-{last}"
    return f"{address}:{numbers}->{numbers}/{protocol}" if address else f"{numbers}/{protocol}"


def command_text(container: Container, *, is_whole: bool = False) -> str:
    """Return the command in quotes, cut short unless ``is_whole``."""
    command = " ".join(container.spec.argv)
    return f'"{command if is_whole else cut(command, _COMMAND_MAX)}"'


def labels_text(labels: Mapping[str, str]) -> str:
    """Return all labels in a line, as Docker's listings have them: ``a=1,b=2``."""
    return ",".join(f"{key}={value}" for key, value in labels.items())


def cut(text: str, longest: int) -> str:
    """Return a text, cut short where it is longer than so many characters."""
    return text if len(text) <= longest else text[: longest - 1] + "…"


def one_line(text: str) -> str:
    """Return a text from elsewhere as one line that gives a terminal no orders."""
    return "".join(char if char.isprintable() else "?" for char in " ".join(text.split()))


def short_image_id(image_id: str) -> str:
    """Return the 12 digits that people read of an image's id."""
    return short_id(image_id.removeprefix("sha256:"))


def image_names(names: tuple[str, ...], digest: str) -> list[tuple[str, str, str]]:
    """Return repository, tag and digest of each of an image's names; one of ``<none>`` when it has none.

    ``digest``: of its manifest, for the names that have none of their own.
    """
    named = [reference.split(name) for name in names] or [(NO_NAME, "", "")]
    return [(repository, tag or NO_NAME, own or digest or NO_NAME) for repository, tag, own in named]

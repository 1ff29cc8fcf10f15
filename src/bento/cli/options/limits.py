"""The options that limit what a container may use: all for ``run`` and ``create``, some for ``update``, too."""

from __future__ import annotations

from typing import TYPE_CHECKING

from bento.cli.options.switches import Arguments
from bento.lazy import LazyModule
from bento.model.container import ProcessLimits
from bento.model.resources import Resources
from bento.units import parse_bytes

if TYPE_CHECKING:
    import argparse
    from collections.abc import Callable
    from typing import Any

    from bento.parse import container, resources

    Parser = Callable[[str], Any]
else:  # mostly nothing is said of these
    container, resources = LazyModule("bento.parse.container"), LazyModule("bento.parse.resources")


def configure(parser: Arguments) -> None:
    """Add those of ``run`` and ``create``."""
    add = parser.add_argument
    add(
        "--ulimit",
        dest="ulimits",
        action="append",
        type=lambda text: container.parse_ulimit(text),
        metavar="NAME=SOFT[:HARD]",
        help="a limit of setrlimit(2)",
    )
    configure_changeable(parser)
    add(
        "--memory-swappiness",
        type=_number("swappiness"),
        metavar="N",
        help="0 to 100: how readily it is swapped out (cgroups of version 1)",
    )
    add(
        "--oom-kill-disable",
        action="store_true",
        help="out of memory its processes wait, and are not killed (cgroups of version 1)",
    )
    add(
        "--oom-score-adj",
        type=_number("OOM score adjustment"),
        metavar="N",
        help="-1000 to 1000: the greater, the sooner it is killed when the host runs short",
    )
    for option, dest, metavar, is_size, about in (
        ("--blkio-weight-device", "blkio_weight_devices", "PATH:N", False, "a weight for one block device"),
        ("--device-read-bps", "device_read_bps", "PATH:RATE", True, "bytes each second, at most, read from a device"),
        ("--device-write-bps", "device_write_bps", "PATH:RATE", True, "the same, written"),
        ("--device-read-iops", "device_read_iops", "PATH:N", False, "reads each second, at most, of a device"),
        ("--device-write-iops", "device_write_iops", "PATH:N", False, "the same, writes"),
    ):
        add(option, dest=dest, action="append", type=_device(is_size=is_size), metavar=metavar, help=about)


def configure_changeable(parser: Arguments) -> None:
    """Add those that ``update`` has, too."""
    add = parser.add_argument
    add(
        "--pids-limit",
        type=lambda text: resources.parse_count(text),
        metavar="N",
        help="at most so many processes and threads at once; -1: no limit",
    )
    add(
        "-m", "--memory", dest="memory_bytes", type=_size("memory"), metavar="BYTES[kmg]", help="at most so much memory"
    )
    add(
        "--memory-swap",
        dest="memory_swap_bytes",
        type=lambda text: resources.parse_swap(text),
        metavar="BYTES[kmg]",
        help="memory and swap together; -1: no limit of swap (default: twice the memory)",
    )
    add(
        "--memory-reservation",
        dest="memory_reservation_bytes",
        type=_size("memory"),
        metavar="BYTES[kmg]",
        help="what is left to it when the host runs short of memory",
    )
    add(
        "--cpus",
        type=lambda text: resources.parse_cpus(text),
        metavar="N",
        help="at most so many CPUs' time, such as 0.5",
    )
    add("-c", "--cpu-shares", type=_number("share"), metavar="N", help="its share beside others; usual is 1024")
    add("--cpu-period", dest="cpu_period_us", type=_number("period"), metavar="US", help="microseconds of --cpu-quota")
    add("--cpu-quota", dest="cpu_quota_us", type=_number("quota"), metavar="US", help="microseconds of CPU a period")
    add("--cpuset-cpus", metavar="SET", help="the CPUs it runs on, such as 0-2,7")
    add("--cpuset-mems", metavar="SET", help="the memory nodes it is given memory of")
    add("--blkio-weight", type=_number("weight"), metavar="N", help="10 to 1000: its share of block I/O beside others")


def read(args: argparse.Namespace) -> Resources:
    """Return what was said of the container as a whole: each field has an option of its name."""
    said: dict[str, Any] = {name: getattr(args, name) for name in Resources.__struct_fields__}
    said = {name: tuple(value) if isinstance(value, list) else value for name, value in said.items()}
    return Resources(**{name: value for name, value in said.items() if value is not None})


def read_process_limits(args: argparse.Namespace) -> ProcessLimits:
    """Return what was said of each of its processes."""
    return ProcessLimits(ulimits=tuple(args.ulimits or ()), oom_score_adj=args.oom_score_adj)


def _number(what: str) -> Parser:
    return lambda text: resources.parse_number(text, what=what)


def _size(what: str) -> Parser:
    return lambda text: parse_bytes(text, what=what)


def _device(*, is_size: bool) -> Parser:
    return lambda text: resources.parse_device_bytes(text) if is_size else resources.parse_device_number(text)

"""The words of limits: CPUs, memory, processes, block devices."""

from __future__ import annotations

import re
from typing import Final

from bento.errors import UsageError
from bento.model.resources import UNLIMITED, DeviceRate
from bento.units import parse_bytes

_NUMBER: Final = re.compile(r"-?\d{1,18}", re.ASCII)


def parse_number(text: str, *, what: str) -> int:
    """A whole number, maybe below 0: what it may be is for others to say. Raises UsageError."""
    if not _NUMBER.fullmatch(text):
        raise UsageError(f"bad {what} {text!r}", hint="give a whole number")
    return int(text)


def parse_cpus(text: str) -> float:
    """CPU time per time: 0.5 is half of one CPU. Raises UsageError."""
    if not re.fullmatch(r"\d{1,6}(\.\d{1,9})?|\.\d{1,9}", text, re.ASCII):
        raise UsageError(f"bad number of CPUs {text!r}", hint="give a number, such as 2 or 0.5")
    return float(text)


def parse_swap(text: str) -> int:
    """Memory and swap together, in bytes; -1 is no limit. Raises UsageError."""
    return UNLIMITED if text == "-1" else parse_bytes(text, what="memory and swap")


def parse_count(text: str) -> int:
    """A number of processes; 0 and -1 are no limit. Raises UsageError."""
    count = parse_number(text, what="limit of processes")
    return UNLIMITED if count in (0, UNLIMITED) else count


def parse_device_bytes(text: str) -> DeviceRate:
    """``PATH:RATE``, bytes each second, as 10mb. Raises UsageError."""
    path, rate = _device(text, "PATH:RATE, such as /dev/sda:10mb")
    return DeviceRate(path=path, rate=parse_bytes(rate, what="bytes each second"))


def parse_device_number(text: str) -> DeviceRate:
    """``PATH:NUMBER``: operations each second, or a weight. Raises UsageError."""
    path, rate = _device(text, "PATH:NUMBER, such as /dev/sda:500")
    return DeviceRate(path=path, rate=parse_number(rate, what=f"number for {path}"))


def _device(text: str, form: str) -> tuple[str, str]:
    path, _, value = text.rpartition(":")
    if not path.startswith("/") or not value:
        raise UsageError(f"bad device {text!r}", hint=f"use {form}")
    return path, value

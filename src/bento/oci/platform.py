"""What images are for, and what this machine is: platforms, in the words of Go, as OCI has them."""

from __future__ import annotations

import os
import re
from typing import Final

from msgspec import Struct


class Platform(Struct, frozen=True):
    """What an image runs on, in Go's words: ``linux``, ``arm``, ``v7``."""

    os: str = "linux"
    architecture: str = ""
    variant: str = ""

    def __str__(self) -> str:
        return "/".join(filter(None, (self.os, self.architecture, self.variant)))


_GO_MACHINES: Final = {
    "x86_64": Platform("linux", "amd64"),
    "aarch64": Platform("linux", "arm64", "v8"),
    "armv7l": Platform("linux", "arm", "v7"),
    "armv6l": Platform("linux", "arm", "v6"),
    "i386": Platform("linux", "386"),
    "i686": Platform("linux", "386"),
    "mips64": Platform("linux", "mips64le"),
    "loongarch64": Platform("linux", "loong64"),
}
"""What uname(2) says, in Go's words, where they differ."""


def host_platform() -> Platform:
    """Return what this machine runs."""
    name = os.uname().machine
    return _GO_MACHINES.get(name, Platform("linux", name))


def runs_on(platform: Platform, host: Platform) -> bool:
    """Whether what was made for ``platform`` runs on ``host`` by itself; what says nothing is taken to."""
    return not platform.architecture or rank(platform, host) >= 0


def rank(platform: Platform, wanted: Platform) -> int:
    """How well a platform fits; -1: it does not. A CPU runs what was made for older variants of its own: v7 runs v6."""
    if (platform.os, platform.architecture) != (wanted.os, wanted.architecture):
        return -1
    if platform.variant == wanted.variant:
        return 1000
    if not platform.variant or not wanted.variant:
        return 500
    have, want = (int(v[1:]) if re.fullmatch(r"v\d{1,2}", v) else -1 for v in (platform.variant, wanted.variant))
    return have if 0 <= have < want else -1

"""An interruption before any of the changes that the network driver makes in the kernel."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from bento.drivers.network import acts, forwarding
from bento.kernel.net.netlink import Netlink


class Interrupted(BaseException):
    """As Ctrl-C, or a kill."""


class Breaker:
    """Counts what changes something in the kernel; interrupts before the one whose number is ``at``."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.at = self.count = 0
        for owner, name in ((Netlink, "ask"), (forwarding, "_write"), (acts, "_step")):
            monkeypatch.setattr(owner, name, self._counted(getattr(owner, name)))

    def _counted(self, act: Callable[..., Any]) -> Callable[..., Any]:
        def counted(*args: Any, **kwargs: Any) -> Any:
            self.count += 1
            if self.count == self.at:
                raise Interrupted
            return act(*args, **kwargs)

        return counted

    def arm(self, at: int) -> None:
        self.at, self.count = at, 0

"""Takes over the variables of a caller."""

from __future__ import annotations

import os
import time


def take_environment(environ: dict[bytes, bytes]) -> None:
    """Have these variables, and no others."""
    zone = os.environb.get(b"TZ")
    for name in [name for name in os.environb if name not in environ]:
        del os.environb[name]
    for name, value in environ.items():
        if os.environb.get(name) != value:
            os.environb[name] = value
    if os.environb.get(b"TZ") != zone:
        time.tzset()

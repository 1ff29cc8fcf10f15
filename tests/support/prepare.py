"""Makes what tests take minutes to make, and keep between runs, before any of them waits for it."""

from __future__ import annotations

import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial

import pytest

from support import inits, webimages


def _make(make: Callable[[], object]) -> None:
    try:
        make()
    except pytest.skip.Exception as error:  # the tests will say so themselves
        print(error)


def main() -> None:
    """Make all, or the root filesystems that are named."""
    begun = time.monotonic()
    makers: list[Callable[[], object]] = [partial(inits.make, name) for name in sys.argv[1:]]
    makers = makers or [inits.make_all, webimages.layout]
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(_make, makers))
    print(f"root filesystems and images for the tests: {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()

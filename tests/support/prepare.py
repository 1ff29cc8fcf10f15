"""Makes what tests take minutes to make, and keep between runs, before any of them waits for it."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor

import pytest

from support import inits, webimages


def _make(make: Callable[[], object]) -> None:
    try:
        make()
    except pytest.skip.Exception as error:  # the tests will say so themselves
        print(error)


def main() -> None:
    begun = time.monotonic()
    with ThreadPoolExecutor(2) as pool:
        list(pool.map(_make, (inits.make_all, webimages.layout)))
    print(f"root filesystems and images for the tests: {time.monotonic() - begun:.0f} s")


if __name__ == "__main__":
    main()

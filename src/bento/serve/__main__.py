"""``python -m bento.serve``, which ``bento serve`` becomes."""

from __future__ import annotations

import sys
from importlib import import_module
from importlib.util import find_spec


def main() -> int:
    """Serve; return the exit status."""
    try:
        has_h11 = find_spec("h11") is not None
    except ValueError:
        has_h11 = False
    if not has_h11:
        sys.stderr.write("bento: serve needs the Python package h11, which is missing (install it, or bento[serve])\n")
        return 1
    status = import_module("bento.serve.process").main(sys.argv[1:])
    assert isinstance(status, int)
    return status


if __name__ == "__main__":
    sys.exit(main())

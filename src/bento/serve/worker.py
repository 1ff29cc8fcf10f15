"""One job of the server, in a process that outlives it: ``python -m bento.serve.worker FD``.

The job comes over the socket FD as a line; nothing comes where the server needs none any more.
"""

from __future__ import annotations

import os
import sys

from bento.api_docker import jobs
from bento.engine.base.worker import be_worker
from bento.wiring import load_for_stop

_READ_BYTES = 1 << 16


def main() -> None:
    """Wait for the job, carry it out, and end the process."""
    fd = int(sys.argv[1])
    os.set_inheritable(fd, False)
    load_for_stop()
    line = b""
    while not line.endswith(b"\n"):
        data = os.read(fd, _READ_BYTES)
        if not data:
            os._exit(0)
        line += data
    be_worker(lambda emit: jobs.carry_out(line, emit), fd)


if __name__ == "__main__":
    main()

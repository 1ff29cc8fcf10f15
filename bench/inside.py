"""The process that an engine is used from without a command line: the library of Bento, or a bare runtime.

It reads a line of JSON for each thing to do, and answers with the ms that it took. Started by budgets.py, inside the
enclosure of the engine, with the interpreter that Bento is installed for.
"""

from __future__ import annotations

import json
import os
import select
import sys
import time
from typing import Any

IMAGE = "bench-busybox"


class Library:
    """``bento.Engine``."""

    def __init__(self, root: str, run_root: str, runtime: str) -> None:
        from bento import Engine, Settings
        from bento.model.create import CreateOptions

        self._engine = Engine(Settings(root=root, run_root=run_root, runtime=runtime))
        self._options = CreateOptions

    def start(self, name: str, command: list[str]) -> None:
        """Create and start it."""
        options = self._options(image=IMAGE, name=name, command=tuple(command), network="none")
        self._engine.start(self._engine.create(options).id)

    def stop(self, name: str) -> None:
        self._engine.stop(name)

    def remove(self, name: str) -> None:
        self._engine.remove(name)


class Bare:
    """A runtime, on bundles that are made beforehand: no overlay, no monitor, no log, no record."""

    def __init__(self, home: str, runtime: str) -> None:
        self._home, self._runtime = home, runtime

    def _call(self, *words: str) -> None:
        argv = [self._runtime, "--root", f"{self._home}/state", *words]
        actions = [(os.POSIX_SPAWN_OPEN, fd, os.devnull, os.O_RDWR, 0) for fd in range(3)]
        pid = os.posix_spawnp(argv[0], argv, os.environ, file_actions=actions)
        status = os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1])
        if status != 0:
            raise RuntimeError(f"{' '.join(argv)}: {status}")

    def start(self, name: str, command: list[str]) -> None:
        bundle = f"{self._home}/{name}"
        self._call("run", "--detach", "--bundle", bundle, "--pid-file", f"{bundle}/pid", name)

    def stop(self, name: str) -> None:
        with open(f"{self._home}/{name}/pid", encoding="ascii") as file:
            pidfd = os.pidfd_open(int(file.read()))
        self._call("kill", name, "TERM")
        select.select([pidfd], [], [])
        os.close(pidfd)
        self._call("delete", name)

    def remove(self, name: str) -> None:
        """There is nothing to remove."""


def main() -> None:
    engine: Any = {"library": Library, "bare": Bare}[sys.argv[1]](*sys.argv[2:])
    for line in sys.stdin:
        verb, *words = json.loads(line)
        begun = time.perf_counter()
        try:
            getattr(engine, verb)(*words)
            answer: dict[str, Any] = {"ms": (time.perf_counter() - begun) * 1000}
        except Exception as error:
            answer = {"error": f"{type(error).__name__}: {error}"}
        print(json.dumps(answer), flush=True)


if __name__ == "__main__":
    main()

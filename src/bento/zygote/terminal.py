"""Which commands take the plain way because they read a terminal.

The kernel lets a process read a terminal, and change its modes, that is not its controlling one, whether its command
line is in the foreground or not (tty_ioctl(2)). A child of the zygote that did so after Ctrl-Z and ``bg`` would take
the shell's input. It cannot be moved into the caller's session, or process group (setpgid(2)).
"""

from __future__ import annotations

import argparse
import os
from typing import Any

_ALWAYS = frozenset(("attach", "login"))
_UNLESS_FORCED = frozenset(("prune", "system prune", "container prune", "image prune", "network prune", "volume prune"))


def is_read(verb: str, args: argparse.Namespace) -> bool:
    """Whether this command reads its standard input, and that is a terminal."""
    return _reads_input(verb, vars(args)) and os.isatty(0)


def _reads_input(verb: str, args: dict[str, Any]) -> bool:
    if verb in _ALWAYS or "-" in args.values():  # "-" names it in the place of a file
        return True
    if verb in _UNLESS_FORCED or verb == "builder prune":
        return not args.get("force")
    if verb in ("run", "exec"):
        return not args["detach"] and bool(args.get("interactive") or args.get("stdin_open") or args["tty"])
    return verb == "start" and bool(args["attach"] or args["interactive"])

"""A pod's preStop hook for a PID 1 that does not pass the signal on, in plain shell: it runs where Bento is not. Pure.

The hook runs in the container, beside PID 1, before the kubelet signals that. It tells the program itself, and waits
for its end; then PID 1, which has only waited for it, goes on or leaves. It needs a shell with ``read``, and ``sleep``.
"""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from typing import Final

from bento.stop.process import Process
from bento.stop.rules.tree import Tree
from bento.units import signal_name

# Of several of that name the top-most are told: a server tells its workers itself. The hook itself may have that name.
_SCRIPT: Final = """\
name={name}
is() {{ read -r comm 2>/dev/null < "/proc/$1/comm" && [ "$comm" = "$name" ]; }}
parent() {{ read -r stat 2>/dev/null < "/proc/$1/stat" && stat=${{stat##*) }} && set -- $stat && echo "$2"; }}
lives() {{ read -r stat 2>/dev/null < "/proc/$1/stat" && case ${{stat##*) }} in [ZX]*) false ;; esac; }}
set --
for p in /proc/[0-9]*; do
  p=${{p#/proc/}}
  [ "$p" = $$ ] || [ "$p" = 1 ] || ! is "$p" || is "$(parent "$p")" || set -- "$@" "$p"
done
[ $# = 0 ] || kill -{signal} "$@"
for p; do while lives "$p"; do sleep 0.1; done; done
"""


def script(name: str, number: int) -> str:
    """Return the hook for programs of this name, as proc_pid_comm(5) has it."""
    return _SCRIPT.format(name=shlex.quote(name), signal=signal_name(number).removeprefix("SIG"))


def from_look(processes: Sequence[Process], number: int) -> str:
    """Return the hook for what a look shows: for the program below PID 1 that receives the signal, in PID 1's place.

    "": PID 1 receives it itself, or nothing below does, and there is nothing for a hook to do.
    """
    tree = Tree(tuple(processes))
    main = tree.main()
    if main is None or main.disposition.receives:
        return ""
    below = tree.below([main.key])
    told = next((one for one in tree.top_receivers() if one.key in below), None)
    return script(told.comm, number) if told is not None else ""

"""What to change, as the very lines of a Dockerfile, script, compose file, Quadlet unit or pod. Pure."""

from __future__ import annotations

import shlex
from collections.abc import Sequence

import msgspec

from bento.check import pre_stop
from bento.model.check import Change, Remedy
from bento.stop.process import Process
from bento.stop.rules.tree import is_shell, program
from bento.units import signal_name

_SHELL_WORDS = ("-c", "-ec", "-lc", "-exc")


def exec_form(argv: Sequence[str]) -> str:
    """Return arguments as a JSON array, which Dockerfiles, compose files and pods read alike."""
    return msgspec.json.encode(list(argv)).decode().replace('","', '", "')


def use_init(main: Process, *, more: Sequence[Change] = ()) -> Remedy:
    """For a program that is PID 1 and has no handler."""
    argv = main.argv or (program(main),)
    return Remedy(
        text="run it with a small init, which passes the signal on, or install a handler in the program",
        changes=(
            *more,
            Change("dockerfile", f"ENTRYPOINT {exec_form(('/usr/bin/tini', '--', *argv))}"),
            Change("command", "--init"),
            Change("compose", "init: true"),
            Change("unit", "RunInit=true"),
            Change("pod", "shareProcessNamespace: true"),
        ),
    )


def other_signal(number: int) -> tuple[Change, ...]:
    """Return how another stop signal is named."""
    name = signal_name(number)
    return (
        Change("dockerfile", f"STOPSIGNAL {name}"),
        Change("command", f"--stop-signal {name}"),
        Change("compose", f"stop_signal: {name}"),
        Change("unit", f"StopSignal={name}"),
        Change("pod", f"lifecycle:\n  stopSignal: {name}"),
    )


def exec_in_place(main: Process, child: Process, number: int) -> Remedy:
    """For a wrapper, such as a shell, over the program that should have the signal.

    As PID 1 a program without a handler would be as deaf: then an init goes in front as well.
    """
    argv = child.argv or (program(child),)
    has_handler = child.disposition.receives
    with_init, entrypoint, compose = "", "", ""
    if not has_handler:
        with_init, compose = "# and run the container with --init\n", "init: true\n"
        entrypoint = f"ENTRYPOINT {exec_form(('/usr/bin/tini', '--'))}\n"
    changes = [Change("script", f"{with_init}exec {shlex.join(argv)}")]
    if has_handler and is_shell(main):
        trap = f'trap \'kill -{signal_name(number).removeprefix("SIG")} "$child"; wait "$child"; exit $?\' TERM INT'
        changes.append(Change("script", f'{trap}\n{shlex.join(argv)} & child=$!\nwait "$child"'))
    if any(word in _SHELL_WORDS for word in main.argv) or not is_shell(main):
        changes.append(Change("dockerfile", f"{entrypoint}CMD {exec_form(argv)}"))
        changes.append(Change("compose", f"{compose}command: {exec_form(argv)}"))
    changes.append(Change("pod", _pre_stop(child, number)))
    text = f"start {program(child)} with exec in the script, or use the exec form of CMD, so that it is PID 1"
    more = "" if has_handler else "; and put an init in front, since it has no handler of its own"
    return Remedy(text=text + more, changes=tuple(changes))


def _pre_stop(child: Process, number: int) -> str:
    words = exec_form(("/bin/sh", "-c", pre_stop.script(child.comm, number)))
    return f"lifecycle:\n  preStop:\n    exec:\n      command: {words}"


def in_background(child: Process) -> Remedy:
    """For a shell with a trap that waits for the program in its foreground."""
    argv = shlex.join(child.argv or (program(child),))
    return Remedy(
        text=f"start {program(child)} with & and wait for it: a shell runs a trap at once in its wait builtin only",
        changes=(Change("script", f'{argv} & child=$!\nwait "$child"'),),
    )


def more_time(wanted_s: float) -> Remedy:
    """For a program that needs more than its grace."""
    seconds = f"{wanted_s:g}"
    return Remedy(
        text="have it end sooner, or give it more time",
        changes=(
            Change("command", f"--stop-timeout {seconds}"),
            Change("compose", f"stop_grace_period: {seconds}s"),
            Change("unit", f"StopTimeout={seconds}"),
            Change("pod", f"terminationGracePeriodSeconds: {seconds}"),
        ),
    )


def in_program(text: str, lines: str = "") -> Remedy:
    """For what only the program itself can do better."""
    return Remedy(text=text, changes=(Change("program", lines),) if lines else ())


def wait_for_children(name: str) -> Remedy:
    """For a PID 1 that leaves before what it has started."""
    return Remedy(
        text=f"have PID 1 end {name}, and wait for it before it exits",
        changes=(Change("script", f"# at the end of the trap: wait for {name} as well\nwait"),),
    )


def reap(name: str) -> Remedy:
    """For zombies of PID 1."""
    return Remedy(
        text=f"run it with a small init, which reaps, or have {name} wait for its children",
        changes=(
            Change("command", "--init"),
            Change("compose", "init: true"),
            Change("unit", "RunInit=true"),
            Change("pod", "shareProcessNamespace: true"),
        ),
    )


def drain() -> Remedy:
    """For connections that are accepted after the stop has begun."""
    return Remedy(
        text="close the listening socket when the signal comes; or have new connections refused before it",
        changes=(
            Change("command", "--drain"),
            Change("pod", 'lifecycle:\n  preStop:\n    exec:\n      command: ["/bin/sleep", "5"]'),
        ),
    )

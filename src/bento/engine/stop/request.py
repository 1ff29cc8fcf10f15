"""What a caller asks of a stop, and what becomes of it for one container (rules S7 - S10)."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from bento import clock
from bento.config import Settings
from bento.lazy import LazyModule
from bento.model.container import Container, ContainerSpec
from bento.model.stop import AskedBy, Hook, OnPaused, SignalFrom, StopRequest, StopRules, first_said
from bento.stop.inputs import DeadlineMoved
from bento.stop.methods import SIGNAL, choose
from bento.units import NO_LIMIT, SIGTERM

if TYPE_CHECKING:
    from bento.drivers.processes.base import ProcessDriver
    from bento.programs import table
    from bento.programs.facts import Program
    from bento.stop import own_signal
    from bento.stop.process import Process
else:  # most stops leave nothing to the program
    own_signal, table = LazyModule("bento.stop.own_signal"), LazyModule("bento.programs.table")

GRACE_S: Final = 10.0
SYSTEM_GRACE_S: Final = 90.0
"""The services of a system container have graces of their own: systemd gives each of them so long."""


class StopOptions(StopRules, frozen=True, kw_only=True):
    """What a caller may say; None leaves it to the container, then to the image, then to the default.

    The fields of StopRules are among these, and are left to the configuration before the default.
    """

    grace_s: float | None = None  # 0: kill now; -1: never
    signal: int | None = None  # a number
    method: str | None = None  # as ``bento.parse.stop.parse_method`` returns it
    command: str | None = None  # of the method exec
    on_paused: OnPaused = OnPaused.REFUSE  # of bento.model.stop
    kill_timeout_s: float = 30.0  # after SIGKILL
    extend: bool = False  # a stop under way may take longer, too
    pre_stop: tuple[Hook, ...] = ()  # besides the container's own, after them
    post_stop: tuple[Hook, ...] = ()  # the same
    hook_timeout_s: float | None = None  # of each
    drain: bool = False  # first refuse new connections; the container's own setting holds as well
    total_s: float | None = None  # one budget for all of them together
    asked_by: AskedBy = AskedBy.USER  # of bento.model.stop


def deadline_of(request: StopRequest, options: StopOptions) -> DeadlineMoved:
    """What a caller that joins asks of the deadline: only what was said, a default moves nothing. SIGKILL means now."""
    if options.signal is not None and request.is_sigkill:
        return DeadlineMoved(clock.mono_s())  # as ``kill`` does
    if options.grace_s is None and options.total_s is None:
        return DeadlineMoved(None)
    deadline_s = None if request.grace_s == NO_LIMIT else clock.mono_s() + request.grace_s
    return DeadlineMoved(deadline_s, extend=options.extend)


def default_grace_s(spec: ContainerSpec, configured_s: float | None) -> float:
    """Return the grace of a container when a call names none (rule S7)."""
    if spec.stop.timeout_s is not None:
        return spec.stop.timeout_s
    if configured_s is not None:
        return configured_s
    return SYSTEM_GRACE_S if spec.system else GRACE_S


def request_for(container: Container, options: StopOptions, settings: Settings) -> StopRequest:
    """Merge what was said now with what the container was made with, and with the configuration (rules S7, S8)."""
    request = StopRequest(
        **first_said(options, container.spec.stop.rules, settings.stop_rules),
        on_paused=options.on_paused,
        kill_timeout_s=options.kill_timeout_s,
        asked_by=options.asked_by,
        drain=bool(container.run and container.run.connections) and (options.drain or container.spec.stop.drain),
        pre_stop=container.spec.stop.pre_stop + options.pre_stop,
        post_stop=container.spec.stop.post_stop + options.post_stop,
        hook_timeout_s=(
            container.spec.stop.hook_timeout_s if options.hook_timeout_s is None else options.hook_timeout_s
        ),
    )
    grace_s = options.grace_s
    if grace_s is None:
        grace_s = default_grace_s(container.spec, settings.stop_timeout_s)
    number = options.signal if options.signal is not None else container.spec.stop.signal
    if options.signal is not None:  # it is named
        request = replace(request, signal_from=SignalFrom.IMAGE)
    if options.on_paused is OnPaused.KILL:
        grace_s = 0.0
    request = _with_method(replace(request, grace_s=grace_s), container, options)
    request = request if number is None else replace(request, signal=number)
    # A kill need not be received, so a paused container is no reason to refuse (rule S11).
    return replace(request, on_paused=OnPaused.KILL) if request.is_kill else request


def _with_method(request: StopRequest, container: Container, options: StopOptions) -> StopRequest:
    """Add how PID 1 is asked (rule S10). A signal named without a method means that signal."""
    spec, command = container.spec, options.command or container.spec.stop.command
    if options.method is not None or options.command is not None:
        method = choose(method=options.method, command=command, is_system=spec.system)
    elif options.signal is not None:
        method = SIGNAL
    else:
        method = choose(method=spec.stop.method or None, command=command, is_system=spec.system)
    if method == SIGNAL:
        return request
    # An init ends what it runs itself: a last call would get in its way, unless it is asked for by name.
    last_call_s = first_said(options, spec.stop.rules).get("last_call_s", 0.0)
    return replace(request, method=method, command=command, last_call_s=last_call_s)


def known_programs(driver: ProcessDriver, processes: tuple[Process, ...]) -> dict[int, Program]:
    """Return by pid the programs that are known. Reads the table of programs."""
    found = ((one.pid, table.find(driver.executable(one), one.argv)) for one in processes)
    return {pid: program for pid, program in found if program is not None}


def with_own_signal(
    request: StopRequest, look: Callable[[int], tuple[Process, ...]], driver: ProcessDriver
) -> StopRequest:
    """Return the request with the signal that the program of the container asks for, and with the reason (rule S30).

    ``look``: as ProcessDriver.look. A request that leaves nothing to the program comes back as it is.
    """
    if not own_signal.is_wanted(request):
        return request
    if why := own_signal.refusal(request):
        return own_signal.as_it_is(request, why)
    processes = look(SIGTERM)
    return own_signal.choose(request, processes, known_programs(driver, processes), look)

"""From what a caller says to how a stop of what Bento has not made goes."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from bento.engine.stop.request import StopOptions, request_for, with_own_signal
from bento.errors import UsageError
from bento.model.stop import OnPaused, Scope, SignalFrom, StopRequest
from bento.stop.methods import SIGNAL
from bento.units import NO_LIMIT, signal_name

if TYPE_CHECKING:
    from bento.config import Settings
    from bento.engine.base.drivers import Drivers
    from bento.engine.foreign.find import Found

KILL_MARGIN_S: Final = 0.5
"""So long after the engine's own kill is due, Bento kills: what PID 1 left behind, or where the engine did not."""
ASKED_TO_KILL_S: Final = 3.0
"""So long an engine that is asked to kill has to do it by itself."""


def check_options(options: StopOptions, *, is_engines: bool) -> None:
    """Refuse what cannot be done with what Bento has not made. Raises UsageError."""
    if any(hook.kind == "inside" for hook in options.pre_stop):
        raise UsageError("--pre-stop runs inside a container of Bento's own", hint="use --pre-stop-host")
    if options.drain:
        raise UsageError("--drain closes networks of Bento's own")
    if options.command is not None or options.method == "exec":
        raise UsageError("--stop-command runs inside a container of Bento's own")
    if options.total_s is not None:
        raise UsageError("--total is for containers of Bento's own", hint="give each its grace: -t")
    if not is_engines:
        return
    if options.method not in (None, SIGNAL):
        raise UsageError("--stop-method and --engine exclude each other", hint="the engine signals PID 1, or use --pid")
    if options.extend:
        raise UsageError("--extend and --engine exclude each other", hint="the engine's own timer cannot be moved")


def own_request(drivers: Drivers, found: Found, options: StopOptions) -> StopRequest:
    """Return how the stop goes: as for a container of Bento's own, but for what its engine says of it.

    Raises UsageError for a signal that the engine cannot be told.
    """
    request = _by_words(drivers.settings, found, options)
    processes = drivers.foreign_processes
    return with_own_signal(request, lambda number: processes.look(found.run, number), processes)


def _by_words(settings: Settings, found: Found, options: StopOptions) -> StopRequest:
    described, engine = found.described, found.engine
    if described is None or engine is None:
        return request_for(found.container, options, settings)
    if options.signal_from is SignalFrom.AUTO and not engine.takes_signal:
        sent = signal_name(described.signal)
        raise UsageError(f"{engine.name} sends the signal that {found.name} was made with ({sent})", hint="use --pid")
    if options.signal is not None and not engine.takes_signal and options.signal != described.signal:
        raise UsageError(
            f"{engine.name} sends the signal that {found.name} was made with ({signal_name(described.signal)})",
            hint=f"make it with --stop-signal {signal_name(options.signal)}, or use --pid",
        )
    signal = options.signal if options.signal is not None else described.signal
    grace_s = options.grace_s if options.grace_s is not None else described.grace_s
    request = request_for(found.container, replace(options, grace_s=grace_s, method=SIGNAL), settings)
    wanted = request.signal_from if engine.takes_signal else SignalFrom.IMAGE
    return replace(request, signal=signal, signal_from=wanted, by_engine=True)


def with_margin(request: StopRequest, *, kills: bool) -> StopRequest:
    """Return the request as the machine gets it: the engine has all of its grace before Bento kills.

    ``kills``: the engine does when its grace is over, of which it may only take whole seconds.
    """
    if not request.by_engine or request.grace_s == NO_LIMIT:
        return request
    if request.grace_s == 0:
        return replace(request, grace_s=ASKED_TO_KILL_S, scope=Scope.MAIN, on_paused=OnPaused.KILL)
    if not kills:
        return request
    lead_s = request.last_call_s if request.last_call_s is not None else min(2.0, request.grace_s / 5)
    margin_s = math.ceil(request.grace_s) - request.grace_s + KILL_MARGIN_S
    last_call_s = lead_s + margin_s if lead_s > 0 else 0.0
    return replace(request, grace_s=request.grace_s + margin_s, last_call_s=last_call_s)

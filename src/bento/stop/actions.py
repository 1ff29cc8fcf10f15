"""What a stop wants done. Imperative; the driver carries them out in order."""

from __future__ import annotations

from msgspec import Struct

from bento.stop.process import Key
from bento.stop.states import Step, StopState


class Persist(Struct, frozen=True):
    """Write the new state to the store, before anything that follows."""


class Drain(Struct, frozen=True):
    """Close the container to new connections and answer with Drained. Idempotent."""


class Look(Struct, frozen=True):
    """Read every process of the container and answer with Looked. ``examine``: also what each thread waits for."""

    examine: bool = False


class WatchInit(Struct, frozen=True):
    """Have the tracer hold PID 1 at its exit, and see what ``noting`` do with the signal. Answer with Traced.

    ``freezes``: then freeze the container at once, because something in it would go on to a next command.
    """

    holds_exit: bool
    freezes: bool = False
    noting: tuple[Key, ...] = ()


class HoldBack(Struct, frozen=True):
    """Have the tracer hold these processes, unseen by their parents, and answer with HeldBack.

    ``thaw``: PID 1 is at its exit, and the tracer thaws what it froze then. The sockets that PID 1 alone has are shut
    down, so that no peer waits for a process that will never answer. ``hang_up``: later, those without a name as well.
    """

    keys: tuple[Key, ...]
    thaw: bool = False
    hang_up: bool = False


class LetGo(Struct, frozen=True):
    """Have the tracer let these go; None: everything, and trace nothing any more. Idempotent, without an answer."""

    keys: tuple[Key, ...] | None = None


class RunHook(Struct, frozen=True):
    """Begin the hook of this number (of ``request.hooks``) and answer with HookDone when it has ended."""

    number: int


class KillHook(Struct, frozen=True):
    """End the hook that runs, also one begun by a driver that died. No answer is expected any more."""


class SendSignal(Struct, frozen=True):
    """Send the stop signal to this very process; SIGCONT after it when it is halted. Watch for its exit."""

    pid: int
    start_ticks: int
    signal: int
    wake: bool


class AskEngine(Struct, frozen=True):
    """Have the engine that runs the container stop it, with all of the grace. It signals PID 1, a little later."""


class Identify(Struct, frozen=True):
    """Find out which method PID 1 obeys and answer with Identified."""


class RequestInit(Struct, frozen=True):
    """Ask PID 1 to end by this method, and answer with InitAnswered.

    ``is_patient``: rather not before it has booted."""

    method: str
    is_patient: bool


class Thaw(Struct, frozen=True):
    """Thaw the container's cgroups."""


class KillInit(Struct, frozen=True):
    """SIGKILL PID 1 only: the kernel ends its namespace with it."""


class KillAll(Struct, frozen=True):
    """SIGKILL everything in the container's cgroups, fork-safe, and thaw (rule S18)."""


class RunStep(Struct, frozen=True):
    """Carry out a clean-up step, other than the hooks, and answer with StepDone. Idempotent."""

    step: Step


class ReportStuck(Struct, frozen=True):
    """Name the processes that do not die, and where in the kernel they hang (rule S19)."""


Action = (
    Persist
    | Drain
    | Look
    | WatchInit
    | HoldBack
    | LetGo
    | RunHook
    | KillHook
    | AskEngine
    | Identify
    | RequestInit
    | SendSignal
    | Thaw
    | KillInit
    | KillAll
    | RunStep
    | ReportStuck
)

Result = tuple[StopState, tuple[Action, ...]]
"""What a move leads to: the next state, and what to do."""

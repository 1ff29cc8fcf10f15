"""How it ended, why, and what to do about it (rules S23, S24). Pure."""

from __future__ import annotations

from msgspec import Struct

from bento.model.stop import UNSEEN, Occasion, ProcessEnd, Scope, Verdict
from bento.stop import init_requests
from bento.stop.methods import HALTED_CODE, REBOOT_CODE, describe
from bento.stop.process import Disposition, Process
from bento.stop.rules.tree import is_shell, program
from bento.stop.states import KillCause, Phase, StopState
from bento.units import SIGHUP, SIGKILL, signal_name

SIGKILL_STATUS = 128 + SIGKILL


_RECEIVED = frozenset({"handled", "blocked", "waiting"})
_NOT_RECEIVED = frozenset({Disposition.IGNORED, Disposition.DROPPED})
_HANGUP = signal_name(SIGHUP)
_BEGUN_LATE = "a process that began after PID 1 had its signal"


class Judgement(Struct, frozen=True):
    """A verdict with its cause in a sentence, and a remedy where one is needed.

    ``is_graceful``: every program that receives the signal has ended by itself; what ``--strict`` asks.
    """

    verdict: Verdict
    cause: str
    remedy: str = ""
    is_graceful: bool = False


def judge(state: StopState, *, exit_code: int | None, oom_kills: int, ends: tuple[ProcessEnd, ...] = ()) -> Judgement:
    """Judge a stop.

    ``oom_kills``: how often the kernel's OOM killer struck in the container during it. ``ends``: how each process that
    was there at the beginning has ended.
    """
    found = _judge(state, exit_code, oom_kills)
    if not found.verdict.is_graceful:
        return found
    killed = [end for end in ends if _is_left_and_killed(state, end)]
    if killed:
        cause = f"PID 1 ended by itself, but not {_names([end.comm for end in killed])}, which it left behind: killed"
        if state.kill_cause is KillCause.ASKED:
            return Judgement(Verdict.KILLED, f"{cause}, as was asked for", "give it a grace (stop -t SECONDS)")
        return Judgement(Verdict.KILLED, cause, "give it more time (stop -t, --stop-timeout, --exit-hold)")
    # An init that was asked runs its own shutdown, whose last command is the one that halts: that goes with PID 1.
    halted = _was_asked(state) and exit_code in (HALTED_CODE, REBOOT_CODE)
    first = {process.pid for process in state.watch.first}
    cut = [end for end in ends if _is_cut_short(state, end) and not (halted and end.pid not in first)]
    if cut:
        return _cut_short(state, _names([_BEGUN_LATE if end.comm == UNSEEN else end.comm for end in cut]))
    by_default = any(one.occasion is Occasion.DEFAULT_ACTION for one in state.signalled)
    return Judgement(found.verdict, found.cause, found.remedy, is_graceful=not by_default)


def _was_asked(state: StopState) -> bool:
    """Whether PID 1 is an init that was asked to shut down."""
    return init_requests.is_in_charge(state) and bool(state.init_requests)


def _cut_short(state: StopState, names: str) -> Judgement:
    if state.ended_unseen:
        what = f"PID 1 ended when the process that drove this stop had died: {names} may have been killed with it"
        return Judgement(Verdict.CUT_SHORT, what)
    was = "were" if ", " in names else "was"
    what = f"{names} {was} still running when PID 1 ended, and {was} killed with it or by the loss of its terminal"
    # Where Bento could not hold what it had held, the program is not to blame, and has nothing to change.
    remedy = "" if state.has_lost_hold else "have the main process wait for what it starts"
    return Judgement(Verdict.CUT_SHORT, what, remedy)


def _is_cut_short(state: StopState, end: ProcessEnd) -> bool:
    """Whether a program that receives the signal was killed along with PID 1, or by the loss of its terminal."""
    main = _main(state)
    if end.receives == UNSEEN and end.how == "killed-with-pid-1":
        return True  # PID 1 began it after its signal, and did not wait for it
    if end.receives not in _RECEIVED or (main and end.pid == main.pid):
        return False
    if state.ended_unseen and end.how == "unknown":
        return True
    return end.how == "killed-with-pid-1" or (end.how, end.code) == ("signalled", SIGHUP)


def _is_left_and_killed(state: StopState, end: ProcessEnd) -> bool:
    """Whether a program that receives the signal was killed by Bento, when PID 1 had ended by itself."""
    is_over = state.kill_cause in (KillCause.GRACE_OVER, KillCause.ASKED)
    return is_over and end.receives in _RECEIVED and end.how == "killed-by-us"


def _judge(state: StopState, exit_code: int | None, oom_kills: int) -> Judgement:
    if state.phase is Phase.STUCK and state.exited_s is None:
        return Judgement(Verdict.STUCK, "SIGKILL did not end it: a process hangs in the kernel", "stop it again later")
    found = _judge_end(state, exit_code, oom_kills)
    if state.phase is not Phase.STUCK and not (state.errors and found.verdict.is_graceful):
        return found
    remedy = "stop it again later" if state.phase is Phase.STUCK else "see bento doctor"
    return Judgement(Verdict.STUCK, f"{found.cause}, but its clean-up failed ({'; '.join(state.errors)})", remedy)


def _judge_end(state: StopState, exit_code: int | None, oom_kills: int) -> Judgement:
    """Judge how the process came to its end, whatever became of the clean-up."""
    if state.had_exited and oom_kills and exit_code == SIGKILL_STATUS:
        cause = "the kernel's OOM killer had already ended it"
        return Judgement(Verdict.ALREADY_EXITED, cause, "give it more memory")
    if state.had_exited:
        return Judgement(Verdict.ALREADY_EXITED, "the process had already exited")
    if state.kill_cause is KillCause.WRAPPED:
        return _wrapped(state)
    if state.kill_cause is KillCause.LEFT_BEHIND:
        return _left_behind(state)
    if state.kill_cause is not None and _has_left_others(state):
        cause = "PID 1 ended by itself, but not what it left behind in the PID namespace it shares"
        return Judgement(Verdict.KILLED, cause, "have the main process end what it starts, or omit --pid")
    is_killed = exit_code in (None, SIGKILL_STATUS)  # else it left before SIGKILL arrived
    if is_killed and state.kill_cause is KillCause.HALTED:
        return _halted(state)
    if is_killed and state.kill_cause is KillCause.DEFAULT_ACTION:
        return _default_action(state)
    if is_killed and state.kill_cause is KillCause.PROMPT:
        return _at_prompt(state)
    if is_killed and state.kill_cause is not None:
        return _killed(state)
    if exit_code == SIGKILL_STATUS and _has_sent_sigkill(state):
        return _killed_by_stop_signal()
    if exit_code == SIGKILL_STATUS:
        return _killed_by_others(oom_kills)
    if _was_asked(state):
        return _ended_as_asked(state, exit_code)
    return _left_by_itself(state)


def _wrapped(state: StopState) -> Judgement:
    """PID 1 only waited for a program, which was signalled in its place; it was held, and ended after it."""
    main = _main(state)
    behind = program(main) if main else "PID 1"
    others = [one for one in state.signalled if not one.session and one.occasion is not Occasion.INIT]
    signalled = _names([one.comm for one in others]) or "the program"
    why = "does not end by its signal, for it is PID 1" if state.gave_up else "does not pass signals on"
    cause = f"{behind} {why}; {signalled} was signalled instead, and {behind} went no further"
    if state.hastened:
        return _hastened(state)
    if any(one.occasion is Occasion.LAST_CALL for one in state.signalled):
        return Judgement(Verdict.LAST_CALL, cause, _exec_form(main) if main else "")
    return Judgement(Verdict.FORWARDED, cause, _exec_form(main) if main else "")


def _hastened(state: StopState) -> Judgement:
    """It has chosen its stop signal, and ended only by the one that came shortly before the deadline (rule S30)."""
    first, last = signal_name(state.request.signal), signal_name(state.request.last_signal)
    names = _names([one.comm for one in state.hastened])
    cause = f"{names} was not through with its work at {first} when the grace was nearly over, and ended after {last}"
    return Judgement(Verdict.LAST_CALL, cause, "give it more time (stop -t, --stop-timeout)")


def _left_behind(state: StopState) -> Judgement:
    """PID 1 was a guest in another PID namespace: what it left behind was signalled, and its rest ended."""
    left = [one.comm for one in state.signalled if one.occasion is Occasion.LEFT_BEHIND]
    cause = "PID 1 ended by itself" + (f", and {_names(left)}, which it left behind, after it" if left else "")
    return Judgement(Verdict.GRACEFUL, cause)


def _ended_as_asked(state: StopState, exit_code: int | None) -> Judgement:
    asked = f"it was asked by method {state.method} ({describe(state.method)})"
    if exit_code == HALTED_CODE:
        return Judgement(Verdict.GRACEFUL, f"{asked} and halted")
    if exit_code == REBOOT_CODE:
        return Judgement(Verdict.GRACEFUL, f"{asked} and wanted to reboot; after a stop it stays stopped")
    return Judgement(Verdict.GRACEFUL, f"{asked} and ended by itself")


def _halted(state: StopState) -> Judgement:
    cause = f"it was asked by method {state.method} ({describe(state.method)}) and halted: PID 1 was left alone, idle"
    remedy = "with CAP_SYS_BOOT (run --system) its end would not have to be waited for"
    return Judgement(Verdict.GRACEFUL, cause, remedy)


def _has_left_others(state: StopState) -> bool:
    """Whether PID 1 had gone at the last look, and others had not: where its exit does not end them."""
    seen = state.watch
    return seen.main is not None and bool(seen.keys) and seen.main.key not in seen.keys


def _left_by_itself(state: StopState) -> Judgement:
    main = _main(state)
    if state.hastened:
        return _hastened(state)
    by = {occasion: [one.comm for one in state.signalled if one.occasion is occasion] for occasion in Occasion}
    if by[Occasion.LAST_CALL]:
        return Judgement(
            Verdict.LAST_CALL,
            f"it ended only after the last call had signalled {_names(by[Occasion.LAST_CALL])}",
            "have the main process pass the signal on to what it starts",
        )
    if by[Occasion.PROGRAM]:
        behind = program(main) if main else "PID 1"
        cause = f"{behind} does not pass signals on; {_names(by[Occasion.PROGRAM])} was signalled instead"
        return Judgement(Verdict.FORWARDED, cause, _exec_form(main) if main else "")
    if by[Occasion.FOREGROUND]:
        behind, names = program(main) if main else "the shell", _names(by[Occasion.FOREGROUND])
        cause = f"{behind} runs its trap only when {names} has ended; {names} was signalled as well"
        return Judgement(Verdict.GRACEFUL, cause, f"start {names} with & in the script, and wait for it")
    if by[Occasion.PROMPT]:
        names = _names(by[Occasion.PROMPT])
        return Judgement(Verdict.GRACEFUL, f"{names} was left at its prompt, got SIGHUP in the end, and ended by that")
    held = by[Occasion.EXIT_HOLD]
    more = f"; {_names(held)}, which it did not wait for, was signalled and ended before it was let go" if held else ""
    if main is None or main.key not in state.signalled_keys:
        return Judgement(Verdict.GRACEFUL, f"it ended by itself before it could be signalled{more}")
    if _has_hung_up(state, main):
        return Judgement(Verdict.GRACEFUL, f"{program(main)} was at its prompt, and ended by SIGHUP{more}")
    return Judgement(Verdict.GRACEFUL, f"it was signalled and ended by itself{more}")


def _default_action(state: StopState) -> Judgement:
    name, main = signal_name(state.request.signal), _main(state)
    subject = program(main) if main else "the program"
    if state.request.scope is Scope.AUTO and main and main.key in state.signalled_keys:
        cause = f"{subject} dropped its handler when {name} came and lived on; as PID 1 nothing ends it but SIGKILL"
    else:
        cause = f"{subject} has no handler for {name}, and as PID 1 the kernel keeps its default action from it"
    remedy = _exec_form(main) if main and is_shell(main) else _handler_advice(name)
    return Judgement(Verdict.DEFAULT_ACTION, cause, remedy)


def _at_prompt(state: StopState) -> Judgement:
    main = _main(state)
    subject = program(main) if main else "the shell"
    cause = f"{subject} was alone at its prompt: SIGHUP ends a shell there, but to PID 1 the kernel delivers none"
    return Judgement(Verdict.DEFAULT_ACTION, cause, "run with --init, or leave the shell with exit")


def _killed(state: StopState) -> Judgement:
    if state.kill_cause is KillCause.ASKED and state.request.is_sigkill:
        return _killed_by_stop_signal()
    if state.kill_cause is KillCause.ASKED:
        return Judgement(Verdict.KILLED, "a kill was asked for", "give it a grace (stop -t SECONDS)")
    name, main = signal_name(state.request.signal), _main(state)
    subject = program(main) if main else "the program"
    elapsed_s = (state.deadline_s or state.began_s) - state.began_s
    after = f"still alive after the grace of {elapsed_s:.3g} s"
    if _was_asked(state):
        cause = f"{subject} was asked by method {state.method} ({describe(state.method)}) and was {after}"
        return Judgement(Verdict.KILLED, cause, "give it more time (stop -t), or name another --stop-method")
    if main is None or (main.key in state.signalled_keys and main.disposition not in _NOT_RECEIVED):
        if state.watch.main and state.watch.main.is_pending:
            cause = f"{subject} blocks {name} and does not read it; {after}"
            return Judgement(Verdict.KILLED, cause, _handler_advice(name))
        if state.watch.main and state.watch.main.disposition is Disposition.DROPPED:
            cause = f"{subject} dropped its handler when {name} came and lived on; {after}"
            return Judgement(Verdict.KILLED, cause, _handler_advice(name))
        more = "give it more time (stop -t, --stop-timeout)"
        return Judgement(Verdict.KILLED, f"{subject} was signalled and was {after}", more)
    if _has_hung_up(state, main):
        cause = f"{subject} ignores {name}, got SIGHUP at its prompt, and was {after}"
        return Judgement(Verdict.KILLED, cause, "give it more time (stop -t, --stop-timeout)")
    if main.disposition is Disposition.IGNORED:
        remedy = f"have it handle {name}, or use --stop-signal"
        return Judgement(Verdict.KILLED, f"{subject} ignores {name}; {after}", remedy)
    signalled = [one.comm for one in state.signalled if one.occasion is Occasion.PROGRAM]
    if signalled:
        cause = f"{subject} does not pass signals on; {_names(signalled)} was signalled instead; {subject} was {after}"
        return Judgement(Verdict.KILLED, cause, _exec_form(main))
    return Judgement(Verdict.KILLED, f"{subject} does not receive {name}; {after}", _handler_advice(name))


def _has_hung_up(state: StopState, process: Process) -> bool:
    """Whether a process got SIGHUP in place of the stop signal, as a shell at its prompt (rule S29)."""
    hung_up = (one for one in state.signalled if one.signal == _HANGUP != signal_name(state.request.signal))
    return any((one.pid, one.start_ticks) == process.key for one in hung_up)


def _has_sent_sigkill(state: StopState) -> bool:
    """Whether PID 1 has had SIGKILL as its stop signal, such as after another method had failed."""
    main = _main(state)
    return state.request.signal == SIGKILL and main is not None and main.key in state.signalled_keys


def _killed_by_stop_signal() -> Judgement:
    cause = "the stop signal is SIGKILL: Bento killed it, which no program can handle"
    return Judgement(Verdict.KILLED, cause, "name a signal that it handles (stop -s, --stop-signal)")


def _killed_by_others(oom_kills: int) -> Judgement:
    if oom_kills:
        return Judgement(Verdict.KILLED, "the kernel's OOM killer ended it during the stop", "give it more memory")
    return Judgement(Verdict.KILLED, "another process sent SIGKILL during the stop", "find out which; it was not Bento")


def _main(state: StopState) -> Process | None:
    return next((process for process in state.watch.first if process.is_main), None)


def _names(names: list[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _exec_form(main: Process) -> str:
    if is_shell(main):
        return "start the program with exec in the script, use the exec form of CMD, or run with --init"
    return "run with --init, or have it pass signals on"


def _handler_advice(name: str) -> str:
    return f"run with --init, or install a handler for {name}"

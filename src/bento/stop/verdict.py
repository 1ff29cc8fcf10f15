"""How it ended, why, and what to do about it (rules S23, S24). Pure."""

from __future__ import annotations

from msgspec import Struct

from bento.model.stop import Verdict
from bento.stop import asking
from bento.stop.methods import HALTED_CODE, REBOOT_CODE, describe
from bento.stop.plan import is_forwarder, is_shell, program
from bento.stop.process import Disposition, Process
from bento.stop.states import KillCause, Phase, StopState
from bento.units import signal_name

SIGKILL = 9
SIGKILL_STATUS = 128 + SIGKILL


class Judgement(Struct, frozen=True):
    """A verdict with its cause in a sentence, and a remedy where one is needed."""

    verdict: Verdict
    cause: str
    remedy: str = ""


def judge(state: StopState, *, exit_code: int | None, oom_kills: int) -> Judgement:
    """Judge a stop. ``oom_kills``: how often the kernel's OOM killer struck in the container during it."""
    if state.phase is Phase.STUCK and state.exited_s is None:
        return Judgement(Verdict.STUCK, "SIGKILL did not end it: a process hangs in the kernel", "stop it again later")
    found = _judge_end(state, exit_code, oom_kills)
    if state.phase is not Phase.STUCK and not (state.errors and found.verdict.is_graceful):
        return found
    remedy = "stop it again later" if state.phase is Phase.STUCK else "see bento doctor"
    return Judgement(Verdict.STUCK, f"{found.cause}, but its clean-up failed ({'; '.join(state.errors)})", remedy)


def _judge_end(state: StopState, exit_code: int | None, oom_kills: int) -> Judgement:
    """Judge how the process came to its end, whatever became of the clean-up."""
    if state.had_exited:
        return Judgement(Verdict.ALREADY_EXITED, "the process had already exited")
    if state.kill_cause is not None and _has_left_others(state):
        cause = "PID 1 ended by itself, but not what it left behind in the PID namespace it shares"
        return Judgement(Verdict.KILLED, cause, "have the main process end what it starts, or leave --pid away")
    is_killed = exit_code in (None, SIGKILL_STATUS)  # else it left before SIGKILL arrived
    if is_killed and state.kill_cause is KillCause.HALTED:
        return _halted(state)
    if is_killed and state.kill_cause is KillCause.DEFAULT_ACTION:
        return _default_action(state)
    if is_killed and state.kill_cause is not None:
        return _killed(state)
    if exit_code == SIGKILL_STATUS and _has_sent_sigkill(state):
        return _told_to_kill()
    if exit_code == SIGKILL_STATUS:
        return _killed_by_others(oom_kills)
    if asking.is_in_charge(state) and state.init_requests:
        return _ended_as_asked(state, exit_code)
    return _left_by_itself(state)


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
    signalled = [telling for telling in state.signalled if not telling.session]  # PID 1 has no part in exec sessions
    waves = {telling.wave for telling in signalled}
    main = _main(state)
    told_main = any(main and telling.pid == main.pid for telling in signalled if telling.wave != 3)
    others = [telling.comm for telling in signalled if not main or telling.pid != main.pid]
    if 3 in waves:
        called = [telling.comm for telling in signalled if telling.wave == 3]
        return Judgement(
            Verdict.LAST_CALL,
            f"it ended only after the last call had told {_names(called)}",
            "have the main process pass the signal on to what it starts",
        )
    if others:
        behind = program(main) if main else "PID 1"
        advice = _exec_form(main) if main and not told_main else ""
        cause = f"{behind} does not pass signals on; {_names(others)} was told instead"
        return Judgement(Verdict.FORWARDED, cause, advice)
    if not told_main:
        return Judgement(Verdict.GRACEFUL, "it ended by itself before it could be told")
    return Judgement(Verdict.GRACEFUL, "it was told and ended by itself")


def _default_action(state: StopState) -> Judgement:
    name, main = signal_name(state.request.signal), _main(state)
    who = program(main) if main else "the program"
    if main and main.key in state.told:
        cause = f"{who} dropped its handler when {name} came and lived on; as PID 1 nothing ends it but SIGKILL"
    else:
        cause = f"{who} has no handler for {name}, and as PID 1 the kernel keeps its default action from it"
    remedy = _exec_form(main) if main and is_shell(main) else _handler_advice(name)
    return Judgement(Verdict.DEFAULT_ACTION, cause, remedy)


def _killed(state: StopState) -> Judgement:
    if state.kill_cause is KillCause.ASKED and state.request.is_sigkill:
        return _told_to_kill()
    if state.kill_cause is KillCause.ASKED:
        return Judgement(Verdict.KILLED, "a kill was asked for", "give it a grace (stop -t SECONDS)")
    name, main = signal_name(state.request.signal), _main(state)
    who = program(main) if main else "the program"
    elapsed_s = (state.deadline_s or state.began_s) - state.began_s
    after = f"still alive after the grace of {elapsed_s:.3g} s"
    if asking.is_in_charge(state) and state.init_requests:
        cause = f"{who} was asked by method {state.method} ({describe(state.method)}) and was {after}"
        return Judgement(Verdict.KILLED, cause, "give it more time (stop -t), or name another --stop-method")
    if main is None or main.key in state.told:
        if state.watch.main and state.watch.main.is_pending:
            cause = f"{who} blocks {name} and does not read it; {after}"
            return Judgement(Verdict.KILLED, cause, _handler_advice(name))
        more = "give it more time (stop -t, --stop-timeout)"
        return Judgement(Verdict.KILLED, f"{who} was told and was {after}", more)
    if main.disposition is Disposition.IGNORED:
        remedy = f"have it handle {name}, or use --stop-signal"
        return Judgement(Verdict.KILLED, f"{who} ignores {name}; {after}", remedy)
    return Judgement(Verdict.KILLED, f"{who} does not hear {name}; {after}", _handler_advice(name))


def _has_sent_sigkill(state: StopState) -> bool:
    """Whether PID 1 has had SIGKILL as its stop signal, such as after another method had failed."""
    main = _main(state)
    return state.request.signal == SIGKILL and main is not None and main.key in state.told


def _told_to_kill() -> Judgement:
    cause = "the stop signal is SIGKILL: Bento killed it, as no program can hear that signal"
    return Judgement(Verdict.KILLED, cause, "name a signal that it handles (stop -s, --stop-signal)")


def _killed_by_others(oom_kills: int) -> Judgement:
    if oom_kills:
        return Judgement(Verdict.KILLED, "the kernel's OOM killer ended it during the stop", "give it more memory")
    return Judgement(Verdict.KILLED, "somebody else sent SIGKILL during the stop", "find out who; it was not Bento")


def _main(state: StopState) -> Process | None:
    return next((process for process in state.watch.first if process.is_main), None)


def _names(names: list[str]) -> str:
    return ", ".join(dict.fromkeys(names))


def _exec_form(main: Process) -> str:
    if is_shell(main):
        return "start the program with exec in the script, use the exec form of CMD, or run with --init"
    if is_forwarder(main):
        return "start the program with exec in the script"
    return "run with --init, or have it pass signals on"


def _handler_advice(name: str) -> str:
    return f"run with --init, or install a handler for {name}"

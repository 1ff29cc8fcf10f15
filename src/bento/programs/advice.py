"""What to change where a program gets another signal than the one that ends it in order. Pure."""

from __future__ import annotations

from msgspec import Struct

from bento.programs.facts import Program, SignalFact
from bento.units import parse_signal, signal_name


class Advice(Struct, frozen=True, kw_only=True):
    """A better stop for a program. ``signal`` and ``better`` are names such as SIGQUIT; ``better`` "": none is."""

    program: str
    signal: str
    does: str  # what the program does at ``signal``, as "closes all connections at once"
    better: str
    better_does: str
    line: str  # of a Dockerfile; "" where no stop signal helps
    remedy: str  # else, or besides, what to change in the program's own configuration
    source: str

    @property
    def text(self) -> str:
        """All of it in a sentence."""
        said = f"at {self.signal} {self.program} {self.does}"
        if self.better:
            short = self.better.removeprefix("SIG")
            said += f"; write {self.line} in the Dockerfile, or use --stop-signal {short}: then it {self.better_does}"
        return said + (f"; {self.remedy}" if self.remedy else "")


def advice(program: Program, signal: int) -> Advice | None:
    """Say what is better than this stop signal for a program.

    None where it is the best, where it is as good as the best, and where nothing is known of it: nothing is guessed.
    """
    fact = fact_of(program, signal)
    best = program.signals.get(program.graceful)
    if fact is None or (best is not None and fact.effect is best.effect):
        return None
    better = signal_name(parse_signal(program.graceful)) if best is not None else ""
    if not better and (not program.remedy or fact.effect.is_orderly):
        return None
    return Advice(
        program=program.name,
        signal=signal_name(signal),
        does=fact.does,
        better=better,
        better_does=best.does if best is not None else "",
        line=f"STOPSIGNAL {better}" if better else "",
        remedy=program.remedy,
        source=fact.source,
    )


def fact_of(program: Program, signal: int) -> SignalFact | None:
    """Return what is known of a signal, None for nothing."""
    return next((fact for word, fact in program.signals.items() if parse_signal(word) == signal), None)


def describe(program: Program, signal: int | None) -> str:
    """Return what a program is, and what it does at a signal: ``nginx, web server: at SIGTERM it ...``."""
    fact = None if signal is None else fact_of(program, signal)
    known = f"{program.name}, {program.kind}"
    if fact is None or signal is None:
        return known
    return f"{known}: at {signal_name(signal)} it {fact.does}"

"""``bento explain``: what a stop would do, before anything is sent."""

from __future__ import annotations

import argparse

import msgspec

from bento.cli.context import Context, say
from bento.cli.options import foreign
from bento.cli.options import stop as stop_options
from bento.errors import UsageError
from bento.stop.forecast.forecast import Forecast, ProcessForecast

_ARGV_MAX = 48


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    stop_options.configure(parser)
    foreign.configure(parser)
    parser.add_argument("--format", choices=("text", "json"), default="text")
    parser.add_argument("container", nargs="?", help="name, id, or the beginning of an id")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out. Nothing is sent."""
    options = stop_options.read(args)
    wanted = foreign.read_one(args, args.container, "explain") if foreign.is_meant(args) else None
    if args.container is None and wanted is None:
        raise UsageError("explain: one container, or --pid", hint="see bento explain --help")
    with context.engine() as engine:
        found = engine.explain(args.container, options) if wanted is None else engine.explain_foreign(wanted, options)
    if args.format == "json":
        say(msgspec.json.format(msgspec.json.encode(found)).decode())
    else:
        for line in draw(found):
            say(line)
    return 0


def draw(found: Forecast) -> list[str]:
    """Return a forecast as lines: the verdict, the tree, the steps, the doubts, the advice."""
    grace = "never to be killed" if found.grace_s < 0 else f"a grace of {found.grace_s:g} s"
    paused = ", paused" if found.is_paused else ""
    verdict = "no verdict" if found.verdict is None else f"{found.verdict.value}, as far as can be seen"
    lines = [
        f"{found.name}: {verdict}",
        f"  why        {found.cause}",
        *([f"  otherwise  {found.otherwise}"] if found.otherwise else []),
        f"  asked      {found.signal}, {grace}; up for {_time(found.age_s)}{paused}",
        *([f"  chosen     {found.choice}"] if found.choice else []),
        "",
        "processes",
    ]
    for process, depth in _with_depth(found.processes):
        indent = "  " * (depth + 1)
        mark = "   (exec session)" if process.session and depth == 0 else ""
        lines += [
            f"{indent}{process.pid} {_command(process)}{mark}",
            f"{indent}    {process.receives}: {process.why}",
            *([f"{indent}    {process.known}"] if process.known else []),
            *([f"{indent}    {_waits(process)}"] if process.waits else []),
            f"{indent}    {process.part}",
        ]
    if found.steps:
        lines += ["", "what a stop would do, if what gets the signal ends at once"]
        lines += [f"  {step.at_s:7.2f} s  {step.text}" for step in found.steps]
    if found.unsure:
        lines += ["", "unsure", *(f"  - {text}" for text in found.unsure)]
    if found.advice:
        lines += ["", "to do", *(f"  - {text}" for text in found.advice)]
    return lines


def _with_depth(processes: tuple[ProcessForecast, ...]) -> list[tuple[ProcessForecast, int]]:
    """Parents stand before their children."""
    depths: dict[int, int] = {}
    for process in processes:
        depths[process.pid] = depths.get(process.ppid, -1) + 1
    return [(process, depths[process.pid]) for process in processes]


def _waits(process: ProcessForecast) -> str:
    """Say what can wake it (rule S14)."""
    if process.is_resting:
        return f"at rest: it {process.waits}"
    return f"may be at work: it {process.waits}"


def _command(process: ProcessForecast) -> str:
    """Control characters are the program's own, and not for this terminal."""
    text = " ".join(process.argv) or f"[{process.comm}]"
    text = "".join(character if character.isprintable() else " " for character in text)
    return text if len(text) <= _ARGV_MAX else f"{text[: _ARGV_MAX - 3]}..."


def _time(seconds: float) -> str:
    if seconds < 120:
        return f"{seconds:.1f} s"
    return f"{seconds / 60:.0f} min" if seconds < 7200 else f"{seconds / 3600:.0f} h"

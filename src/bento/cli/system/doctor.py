"""``bento doctor``."""

from __future__ import annotations

import argparse

import msgspec

from bento import log
from bento.cli.context import Context, say
from bento.engine.maintenance.finding import Finding


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    parser.add_argument("--fix", action="store_true", help="remove what is not in use; end what runs without a record")
    parser.add_argument("--format", choices=("text", "json"), default="text")


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out. Exit status 1 when something is left over that was not removed, and is not kept on purpose."""
    with context.engine() as engine:
        findings = engine.doctor(fix=args.fix)
        for line in engine.warnings():
            log.warning(line)
    if args.format == "json":
        say(msgspec.json.format(msgspec.json.encode(findings)).decode())
    elif not findings:
        say("nothing is left over")
    else:
        for finding in findings:
            say(_line(finding))
    return 1 if any(not (finding.is_fixed or finding.is_kept) for finding in findings) else 0


def _line(finding: Finding) -> str:
    if finding.kind == "container":
        return f"container: {finding.container_id[:12]} {finding.what}{' (ended)' if finding.is_fixed else ''}"
    whose = f" of {finding.container_id[:12]}" if finding.container_id else ""
    held = f", held by {', '.join(finding.held_by)}" if finding.held_by else ""
    kept = " (kept for the next pull)" if finding.is_kept else ""
    fixed = " (put back)" if finding.kind == "wall" else " (removed)"
    return f"{finding.kind}: {finding.what}{whose}{held}{fixed if finding.is_fixed else kept}"

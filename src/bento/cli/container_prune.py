"""``bento container prune``."""

from __future__ import annotations

import argparse

from bento.cli import pruning
from bento.cli.context import Context

CONTAINERS = "all containers that do not run"


def configure(parser: argparse.ArgumentParser) -> None:
    """Add the verb's arguments."""
    pruning.configure(parser)


def run(args: argparse.Namespace, context: Context) -> int:
    """Carry it out."""
    return pruning.run(args, context, [CONTAINERS], lambda engine, filters: engine.prune_containers(filters=filters))

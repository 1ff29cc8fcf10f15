"""Quiet points: nothing is at work, and what there is must be what the model says, no less and no more."""

from __future__ import annotations

import json
import time
from collections.abc import Sequence

from stress import model
from stress.journal import StressError
from stress.worker import Worker
from stress.world import World
from support.cli import BentoCli, Finished

_QUIET_S = 60.0
_GOES_S = 5.0
"""For what the kernel takes away in its own time."""


def check(world: World, workers: Sequence[Worker], *, was_calm: bool) -> None:
    """Look at everything. ``was_calm``: no process was killed since the last time. Raises StressError."""
    cli = world.cli(0)
    _wait_for_helpers(world)
    for worker in workers:
        for slot in worker.slots:
            worker.settle(slot, expected=slot.possible())
    _wait_for_helpers(world)
    _check_list(cli, workers)
    _check_doctor(cli, was_calm=was_calm)
    _check_kernel(world, cli)


def sweep(world: World) -> None:
    """Remove everything, as a user would; nothing may be left. Raises StressError."""
    cli = world.cli(0)
    addresses = _addresses(cli)
    for words in (("rm", "-f", "--all"), ("rmi", "--all", "--force"), ("volume", "prune", "-f"), ("doctor", "--fix")):
        _succeeds(cli, *words)
    said = _succeeds(cli, "doctor").stdout.strip()
    if said != "nothing is left over" or cli("ps", "-aq").stdout:
        raise StressError(f"after everything was removed: {said}")
    _check_kernel(world, cli)
    if flows := world.flows(addresses):
        raise StressError("connections are still tracked:\n" + "\n".join(flows))


def _wait_for_helpers(world: World) -> None:
    deadline_s = time.monotonic() + _QUIET_S
    while left := world.at_work():
        if time.monotonic() > deadline_s:
            raise StressError("these do not come to an end:\n" + "\n".join(one.words for one in left))
        time.sleep(0.05)


def _check_list(cli: BentoCli, workers: Sequence[Worker]) -> None:
    lines = _succeeds(cli, "ps", "-a", "--format", "json").stdout.splitlines()
    listed = {one["Names"]: one["State"] for one in map(json.loads, lines)}
    for worker in workers:
        for slot in worker.slots:
            there = {name: listed.pop(name) for name in slot.names if name in listed}
            state = there.get(slot.name, model.ABSENT)
            if state not in slot.possible() or len(there) != (state != model.ABSENT):
                raise StressError(f"ps has {there}, not {slot.name} as {slot.states}", *slot.names)
    if strangers := [name for name in listed if not name.startswith("s")]:
        raise StressError(f"ps has what nobody made: {strangers}", *strangers)


def _check_doctor(cli: BentoCli, *, was_calm: bool) -> None:
    said = cli("doctor", check=False)
    if was_calm and said.returncode != 0:
        raise StressError(f"nobody was killed, and something is left over:\n{said}")
    if said.returncode != 0:
        fixed = cli("doctor", "--fix", check=False)
        if fixed.returncode != 0:
            raise StressError(f"it cannot be mended:\n{said}\n{fixed}")
        _succeeds(cli, "doctor")


def _check_kernel(world: World, cli: BentoCli) -> None:
    """What goes by itself may take a moment."""
    deadline_s = time.monotonic() + _GOES_S
    while True:
        live = {one["ID"] for one in cli.listing("ps", "--no-trunc")}
        found = world.kernel_leaks(live)
        if not found:
            return
        if time.monotonic() > deadline_s:
            raise StressError("left behind, and doctor does not see it:\n" + "\n".join(found))
        time.sleep(0.1)


def _addresses(cli: BentoCli) -> set[str]:
    ids = cli("ps", "-q").stdout.split()
    found = json.loads(cli("inspect", *ids).stdout) if ids else []
    return {one["NetworkSettings"]["IPAddress"] for one in found} - {""}


def _succeeds(cli: BentoCli, *words: str) -> Finished:
    done = cli(*words, check=False)
    if done.returncode != 0:
        raise StressError(str(done))
    return done

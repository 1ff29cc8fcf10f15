"""Finding what Bento has not made, and refusing what it must not touch."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

from msgspec import Struct
from msgspec.structs import replace

from bento import clock
from bento.errors import AlreadyStopped, NotFound, UsageError, WrongState
from bento.model.container import Container, ContainerSpec, Run

if TYPE_CHECKING:
    from bento.drivers.engines.base import EngineDriver, ForeignContainer
    from bento.drivers.processes.base import Situation
    from bento.engine.base.drivers import Drivers
from bento.engine.foreign.names import ForeignName

_PID_MAX = 1 << 22  # PID_MAX_LIMIT, proc(5)
_SAME_START_S = 10.0
_TICKS = os.sysconf("SC_CLK_TCK")


class Found(Struct, frozen=True, kw_only=True):
    """Something that runs, and that Bento has not made.

    Attributes:
        container: what is known of it, in the shape of a record; ``id`` is the engine's, or "".
        run: its PID 1, and the cgroups that are its own.
        described: as its engine describes it; None: only a process was named.
    """

    container: Container
    run: Run
    described: ForeignContainer | None = None
    engine: EngineDriver | None = None

    @property
    def name(self) -> str:
        """As it is called in messages."""
        return self.container.name

    @property
    def key(self) -> str:
        """The same for every name of it: of its locks, and of its directory while it is stopped."""
        init = self.run.init
        return f"{init.pid}-{init.start_ticks}" if init else ""


def find(drivers: Drivers, wanted: ForeignName, *, is_looked_at: bool = False) -> Found:
    """Find a container of another engine that runs, or a PID 1. Blocks while the engine is asked.

    ``is_looked_at``: nothing is done to it, so that it may as well be of Bento's own, or have such below it.
    Raises UsageError for what is no name, NotFound, AlreadyStopped, WrongState for what Bento must not touch,
    MissingTool, ForeignEngineFailed.
    """
    if not wanted.engine:
        return _found(drivers, _pid(wanted.ref), str(wanted), is_looked_at=is_looked_at)
    engine = drivers.engine(wanted.engine)
    described = _running(engine, wanted.ref)
    try:
        return _found(drivers, described.pid, described.name, described, engine, is_looked_at=is_looked_at)
    except NotFound:
        _running(engine, wanted.ref)  # it may have ended meanwhile
        raise


def _running(engine: EngineDriver, ref: str) -> ForeignContainer:
    described = engine.find(ref)
    if described.pid:
        return described
    status = f" ({described.status})" if described.status else ""
    is_coming = described.status == "restarting"
    hint = f"it is about to be started again; to end that: {engine.name} stop {described.name}" if is_coming else ""
    raise AlreadyStopped(f"container {described.name} of {engine.name} does not run{status}", hint=hint)


def _pid(text: str) -> int:
    if not (text.isascii() and text.isdigit()) or not 0 < int(text) <= _PID_MAX:
        raise UsageError(f"bad pid {text!r}", hint="give the number of a process")
    return int(text)


def _found(
    drivers: Drivers,
    pid: int,
    name: str,
    described: ForeignContainer | None = None,
    engine: EngineDriver | None = None,
    *,
    is_looked_at: bool,
) -> Found:
    seen = drivers.foreign_processes.situate(pid)
    if is_looked_at:
        seen = replace(seen, own_id="", nested_ids=())
    if seen.process is None:
        hint = "" if engine is None else f"{engine.name} names it as PID 1 of {name}: does that run on this machine?"
        raise NotFound(f"no such process: {pid}", hint=hint)
    _refuse(drivers, pid, seen, name, described, engine)
    run = Run(
        number=1,
        runtime="",
        init=seen.process,
        cgroups=seen.cgroups,
        started_boot_s=seen.process.start_ticks / _TICKS,
    )
    container = Container(
        id=described.id if described else "",
        name=name,
        created_unix_ns=0,
        spec=ContainerSpec(image=described.image if described else "", image_id="", layers=()),
        run=run,
    )
    return Found(container=container, run=run, described=described, engine=engine)


def _refuse(
    drivers: Drivers,
    pid: int,
    seen: Situation,
    name: str,
    described: ForeignContainer | None,
    engine: EngineDriver | None,
) -> None:
    what = f"process {pid}" if described is None or engine is None else f"container {name} of {engine.name}"
    own_stop = f"{engine.name} stop {name}" if engine is not None else ""
    if seen.own_id:
        raise WrongState(f"{what} belongs to a container of Bento's", hint=_own_verb(drivers, seen.own_id))
    if seen.is_outside and own_stop:
        raise WrongState(f"{what} shares the PID namespace of this host", hint=f"use: {own_stop}")
    if seen.is_outside and pid == 1:
        raise WrongState("process 1 is the init of this host, or of the container that Bento itself runs in")
    if seen.is_outside:
        raise WrongState(f"{what} is in the PID namespace of Bento itself", hint="it is no container")
    if seen.first != pid and own_stop:
        first = f", whose PID 1 is {seen.first}" if seen.first else ""
        raise WrongState(f"{what} runs in the PID namespace of another{first}", hint=f"use: {own_stop}")
    if seen.first != pid:
        hint = f"that would be {seen.first}" if seen.first else "that has ended, or is hidden"
        raise WrongState(f"{what} is not PID 1 of a PID namespace", hint=hint)
    if seen.nested_ids:
        names = ", ".join(container_id[:12] for container_id in seen.nested_ids)
        raise WrongState(f"{what} has containers of Bento's under it: {names}", hint="stop those first, where they are")
    if described is not None and not _is_its(described, seen):
        raise WrongState(f"process {pid} does not seem to be PID 1 of {what}", hint=f"if it is, use: stop --pid {pid}")


def _is_its(described: ForeignContainer, seen: Situation) -> bool:
    """Whether a process is the container's: a cgroup of it has the container's id, or it began when that did.

    An engine may be on another machine, or in another PID namespace: then the number is another process's here.
    """
    if described.id in seen.membership:
        return True
    if described.started_unix_s is None or seen.process is None:
        return False
    began_s = clock.wall_ns() / 1e9 - clock.boot_s() + seen.process.start_ticks / _TICKS
    return abs(began_s - described.started_unix_s) < _SAME_START_S


def _own_verb(drivers: Drivers, container_id: str) -> str:
    try:
        return f"use: bento stop {drivers.store.get(container_id).name}"
    except NotFound:
        return f"use bento stop {container_id[:12]}, with the --root that has it"


def is_paused(drivers: Drivers, found: Found) -> bool:
    """Whether it is frozen, as the kernel says, or its engine."""
    return drivers.foreign_processes.is_frozen(found.run) or (found.described is not None and found.described.is_paused)

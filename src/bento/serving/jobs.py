"""What is done by a process of its own: a stop, a restart, a forced removal, which go on when what asked for it ends.

A server, or a command by the zygote, hands a worker a job as a line of JSON, and reads what the worker reports. An
interface may have jobs of its own (``bento.api_docker.jobs``).
"""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from bento.config import Settings
from bento.engine.base.worker import Emit, Message, Reporter, report_each
from bento.engine.stop.request import StopOptions
from bento.errors import AlreadyStopped, NotFound
from bento.model.container import Container
from bento.model.stop import StopRules
from bento.wiring import Engine


class Stop(Struct, frozen=True, kw_only=True, tag=True):
    """Stop containers, all together."""

    refs: tuple[str, ...]
    options: StopOptions = StopOptions()
    wants_phases: bool = False
    wants_views: bool = False


class Restart(Struct, frozen=True, kw_only=True, tag=True):
    """Stop containers and start them again, one by one."""

    refs: tuple[str, ...]
    options: StopOptions = StopOptions()


class Remove(Struct, frozen=True, kw_only=True, tag=True):
    """End containers and delete them, each before those that it requires. ``shared``: see ``Engine.remove``."""

    refs: tuple[str, ...]
    volumes: bool = False
    grace_s: float = 0.0
    shared: bool = False


class StopPod(Struct, frozen=True, kw_only=True, tag=True):
    """Stop a pod."""

    ref: str
    grace_s: float | None = None


class RemovePod(Struct, frozen=True, kw_only=True, tag=True):
    """Stop a pod by force, and delete it with its containers."""

    ref: str


class Tidy(Struct, frozen=True, kw_only=True, tag=True):
    """Remove what has been left by what was killed in the middle, such as a server before this one."""


Task = Tidy | Stop | Restart | Remove | StopPod | RemovePod
_VERBS: Final = {
    Stop: "stop",
    Restart: "restart",
    Remove: "rm",
    StopPod: "pod stop",
    RemovePod: "pod rm",
    Tidy: "doctor",
}
TAGS: Final = frozenset(kind.__name__ for kind in _VERBS)
DONE: Final = Message(kind="done")
"""The last message of a worker that waits for another job now."""


class Job(Struct, frozen=True, kw_only=True):
    """A task, as JSON, and the settings of the engine that is to carry it out."""

    settings: dict[str, Any]
    verb: str  # "" where that is the task's own
    task: msgspec.Raw

    @property
    def tag(self) -> str:
        """Which task it is: the name of its record."""
        return msgspec.json.decode(self.task, type=_Tagged).type

    @property
    def run_root(self) -> Path:
        """The run root of its engine."""
        return Path(os.path.abspath(self.settings["run_root"]))

    def engine(self) -> Engine:
        """Return an engine of these settings; a context."""
        return Engine(_settings(self.settings))


class _Tagged(Struct, frozen=True):
    type: str


def encode(settings: Settings, task: Struct, verb: str = "") -> bytes:
    """Return a job as a line. Raises UnicodeEncodeError: a name that was asked for may be any bytes."""
    said = msgspec.Raw(msgspec.json.encode(task))
    return msgspec.json.encode(Job(settings=msgspec.to_builtins(settings, enc_hook=str), verb=verb, task=said)) + b"\n"


def decode(line: bytes) -> Job:
    """Return the job of a line."""
    return msgspec.json.decode(line, type=Job)


def carry_out(job: Job, emit: Emit) -> None:
    """Do a job of ``TAGS``; report by ``emit``. Blocks."""
    task: Task = msgspec.json.decode(job.task, type=Task)
    with job.engine() as engine:
        engine.drivers.verb = job.verb or _VERBS[type(task)]
        do(engine, task, emit)


def do(engine: Engine, task: Task, emit: Emit) -> None:
    """Do a task; report by ``emit``. Blocks."""
    match task:
        case Stop():
            reporter = Reporter(emit, wants_phases=task.wants_phases, wants_views=task.wants_views)
            engine.stop_many(task.refs, task.options, reporter)
        case Restart():
            report_each(task.refs, lambda ref: engine.restart(ref, task.options), emit)
        case Remove():

            def remove(ref: str) -> Container:
                shared, grace_s = task.shared, task.grace_s
                return engine.remove(ref, force=True, volumes=task.volumes, grace_s=grace_s, shared=shared)

            left = list(task.refs)
            for ref in (first := engine.dependants_first(task.refs)):
                left.remove(ref)
            report_each([*first, *left], remove, emit)  # what was named twice has gone by then, and says so
        case StopPod():
            for outcome in engine.stop_pod(task.ref, task.grace_s):
                if outcome.error is not None and not isinstance(outcome.error, AlreadyStopped | NotFound):
                    raise outcome.error
            emit(Message(kind="ended"))
        case Tidy():
            engine.tidy()
            emit(Message(kind="ended"))
        case RemovePod():
            engine.remove_pod(task.ref, force=True)
            emit(Message(kind="ended"))


def _settings(given: dict[str, Any]) -> Settings:
    values: dict[str, Any] = {name: tuple(each) if isinstance(each, list) else each for name, each in given.items()}
    values["stop_rules"] = msgspec.convert(given["stop_rules"], StopRules)
    return Settings(**values)

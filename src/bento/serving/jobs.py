"""What is done by a process of its own: a stop, a restart, a forced removal, which go on when the server ends; and a
build, which a signal breaks off when its client leaves.

The server writes one job into the socket of a worker, as a line of JSON, and reads what the worker reports.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
from msgspec import Struct

from bento.config import Settings
from bento.engine.base.worker import Emit, Message, Reporter, report_each
from bento.engine.stop.request import StopOptions
from bento.errors import AlreadyStopped, NotFound
from bento.model.stop import StopRules
from bento.model.transfer import BuildOptions
from bento.wiring import Engine


class Stop(Struct, frozen=True, kw_only=True, tag=True):
    """Stop a container."""

    ref: str
    options: StopOptions = StopOptions()


class Restart(Struct, frozen=True, kw_only=True, tag=True):
    """Stop a container and start it again."""

    ref: str
    options: StopOptions = StopOptions()


class Remove(Struct, frozen=True, kw_only=True, tag=True):
    """End a container and delete it."""

    ref: str
    volumes: bool = False


class StopPod(Struct, frozen=True, kw_only=True, tag=True):
    """Stop a pod."""

    ref: str
    grace_s: float | None = None


class RemovePod(Struct, frozen=True, kw_only=True, tag=True):
    """Stop a pod by force, and delete it with its containers."""

    ref: str


class Build(Struct, frozen=True, kw_only=True, tag=True):
    """Build an image. Two descriptors go with it: the context, a tar archive, and what gets the lines of the answer.

    ``auths``: user and password by registry.
    """

    options: BuildOptions
    quiet: bool = False
    auths: dict[str, tuple[str, str]] = {}


Task = Stop | Restart | Remove | StopPod | RemovePod | Build


class Job(Struct, frozen=True, kw_only=True):
    """A task, and the settings of the engine that is to carry it out."""

    settings: dict[str, Any]
    task: Task


def encode(settings: Settings, task: Task) -> bytes:
    """Return a job as a line."""
    return msgspec.json.encode(Job(settings=msgspec.to_builtins(settings, enc_hook=str), task=task)) + b"\n"


Builder = Callable[[Engine, "Build", Sequence[int]], None]
"""Builds, with the descriptors that came with the job. What it prints is in the words of one front alone."""


def carry_out(line: bytes, fds: Sequence[int], emit: Emit, build: Builder) -> None:
    """Do the job of a line, with the descriptors that came with it; report by ``emit``. Blocks."""
    job = msgspec.json.decode(line, type=Job)
    with Engine(_settings(job.settings)) as engine:
        engine.drivers.verb = _VERBS[type(job.task)]
        match job.task:
            case Stop(ref=ref, options=options):
                engine.stop_many([ref], options, Reporter(emit, wants_phases=False))
            case Restart(ref=ref, options=options):
                report_each([ref], lambda ref: engine.restart(ref, options), emit)
            case Remove(ref=ref, volumes=volumes):
                report_each([ref], lambda ref: engine.remove(ref, force=True, volumes=volumes), emit)
            case StopPod(ref=ref, grace_s=grace_s):
                failed_ones = [each.error for each in engine.stop_pod(ref, grace_s) if each.error is not None]
                for error in failed_ones:
                    if not isinstance(error, AlreadyStopped | NotFound):
                        raise error
                emit(Message(kind="ended"))
            case RemovePod(ref=ref):
                engine.remove_pod(ref, force=True)
                emit(Message(kind="ended"))
            case Build():
                build(engine, job.task, fds)
                emit(Message(kind="ended"))


_VERBS: Final = {
    Stop: "stop",
    Restart: "restart",
    Remove: "rm",
    StopPod: "pod stop",
    RemovePod: "pod rm",
    Build: "build",
}


def _settings(given: dict[str, Any]) -> Settings:
    values: dict[str, Any] = {name: tuple(each) if isinstance(each, list) else each for name, each in given.items()}
    values["stop_rules"] = msgspec.convert(given["stop_rules"], StopRules)
    return Settings(**values)

"""Runs verbs of pods, each killed by SIGKILL at its first step, then at its second, and so on.

crash_pod.py ROOT RUN_ROOT RUNTIME: prints how often each verb was killed. After each the next look has to finish, or
undo, what was begun. A step is a change of a pod's record, of its namespaces, of its links, or a call of the runtime
for its init.
"""

from __future__ import annotations

import os
import signal
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

from bento import Engine, Settings
from bento.drivers.network.bridge import BridgeNetwork
from bento.drivers.pod.pins import PodPins
from bento.drivers.runtime.oci import OciRuntime
from bento.drivers.state.sqlite import SqliteStore
from bento.model.create import CreateOptions
from bento.model.network import Port
from bento.model.pods import NamespaceMode, PodOptions, PodState

STEPS: tuple[tuple[type[Any], tuple[str, ...]], ...] = (
    (SqliteStore, ("add_pod", "modify_pod", "remove_pod")),
    (PodPins, ("make", "remove", "_have_home", "_forgo_home", "_fill")),
    (BridgeNetwork, ("connect", "release")),
    (OciRuntime, ("hold_namespaces", "start", "discard")),
)
LONGEST_S = 60
_settings = Settings(root=Path(sys.argv[1]), run_root=Path(sys.argv[2]), runtime=sys.argv[3])
_at = _count = 0


def counted(act: Callable[..., Any]) -> Callable[..., Any]:
    def step(*args: Any, **options: Any) -> Any:
        global _count
        _count += 1
        if _count == _at:
            os.kill(os.getpid(), signal.SIGKILL)
        return act(*args, **options)

    return step


def killed_at(number: int, act: Callable[[Engine], object]) -> bool:
    """Carry a verb out in a process of its own that is killed before the step of this number; return whether it was."""
    global _at
    pid = os.fork()
    if pid == 0:
        _at = number
        signal.alarm(LONGEST_S)
        for owner, names in STEPS:
            for name in names:
                setattr(owner, name, counted(getattr(owner, name)))
        with Engine(_settings) as engine:
            act(engine)
        os._exit(0)
    status = os.waitpid(pid, 0)[1]
    assert os.WIFSIGNALED(status) or os.WEXITSTATUS(status) == 0, status
    assert not os.WIFSIGNALED(status) or os.WTERMSIG(status) == signal.SIGKILL, status
    return os.WIFSIGNALED(status)


def create(engine: Engine) -> None:
    engine.create_pod(
        PodOptions(
            name="web", network="bridge", pid=NamespaceMode.POD, ports=(Port(container_port=80, host_port=8080),)
        )
    )


def stop(engine: Engine) -> None:
    engine.stop_pod("web", 5.0)


def remove(engine: Engine) -> None:
    engine.remove_pod("web", force=True)


def settled(engine: Engine) -> list[PodState]:
    """Look, and do what the process does that is started for it, which may still be on its way."""
    for pod in engine.pods():
        engine.finish_stop(pod.id)
    for pod in engine.pods():
        engine.drivers.locks.wait_stop(pod.id, LONGEST_S)
    return [pod.state for pod in engine.pods()]


def left_over(engine: Engine, states: list[PodState]) -> list[str]:
    """Return what is there and the records do not say, but for the locks of what was killed."""
    kept = engine.drivers.pods.ids()
    too_many = [f"pod {pod_id}" for pod_id in kept] if len(kept) != states.count(PodState.READY) else []
    return too_many + [finding.what for finding in engine.doctor(fix=True) if finding.kind != "lock"]


def walk(verb: Callable[[Engine], object], prepared: Callable[[Engine], object], wanted: list[list[PodState]]) -> int:
    number = 0
    while True:
        number += 1
        with Engine(_settings) as engine:
            prepared(engine)
        was_killed = killed_at(number, verb)
        with Engine(_settings) as engine:
            states = settled(engine)
            assert states in wanted, (verb.__name__, number, states)
            left = left_over(engine, states)
            assert not left, (verb.__name__, number, states, left)
            if states:
                remove(engine)
        if not was_killed:
            return number - 1


def with_container(engine: Engine) -> None:
    create(engine)
    engine.create(CreateOptions(image="host", command=("sleep", "1000"), name="one", pod="web"))
    engine.start("one")


READY, ENDED = [PodState.READY], [PodState.NOT_READY]
for verb, prepared, wanted in (
    (create, lambda _: None, [[], READY]),
    (stop, with_container, [READY, ENDED]),
    (remove, with_container, [READY, []]),
):
    print(verb.__name__, walk(verb, prepared, wanted))

"""Docker, by its command line: ``docker inspect`` and ``docker stop``."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any, Final

from bento.drivers.engines import client
from bento.drivers.engines.base import ForeignContainer
from bento.units import NO_LIMIT

if TYPE_CHECKING:
    from bento.command import Child, Completed

_UNKNOWN: Final = ("no such object", "no such container", "no container with name", "not found")


class DockerEngine:
    """EngineDriver on Docker, and the way of those whose command line is the same."""

    name = "docker"
    kills = True
    takes_signal = False

    def find(self, ref: str) -> ForeignContainer:
        """See EngineDriver."""
        namespace, name = self.split(client.check_name(ref, self.name))
        done = client.run(self.inspect_words(namespace, name))
        return self.read(client.one_object(done, self.name, ref, _UNKNOWN), namespace)

    def begin_stop(self, container: ForeignContainer, grace_s: float, signal: int | None) -> Child:
        """See EngineDriver."""
        *words, _ = self.stop_words(container, grace_s, signal)
        return client.spawn([*words, container.id])

    def stop_words(self, container: ForeignContainer, grace_s: float, signal: int | None) -> list[str]:
        """See EngineDriver."""
        grace = self.never if grace_s == NO_LIMIT else str(math.ceil(grace_s))
        return [*self.words(container.namespace), "stop", "-t", grace, container.name]

    def end_stop(self, child: Child) -> str:
        """See EngineDriver. A container that has gone meanwhile, as with --rm, has been stopped."""
        done = client.finish(child)
        if isinstance(done, str):
            return done
        text = "" if done.returncode == 0 else client.said(done)
        return "" if any(word in text.lower() for word in _UNKNOWN) else text

    def begin_look(self, container: ForeignContainer) -> Child:
        """See EngineDriver."""
        return client.spawn(self.inspect_words(container.namespace, container.id))

    def end_look(self, container: ForeignContainer, child: Child) -> ForeignContainer | None:
        """See EngineDriver."""
        done = client.finish(child)
        if isinstance(done, str):
            raise client.no_answer(self.name, done)
        if done.returncode != 0 and any(word in client.said(done).lower() for word in _UNKNOWN):
            return None
        return self._parsed(container, done)

    def _parsed(self, container: ForeignContainer, done: Completed) -> ForeignContainer:
        return self.read(client.one_object(done, self.name, container.name, ()), container.namespace)

    # -- what differs -----------------------------------------------------------------------------

    never = "-1"
    """What its ``stop -t`` takes for never."""

    def words(self, namespace: str) -> list[str]:
        """Return how its command line begins."""
        return [self.name]

    def split(self, ref: str) -> tuple[str, str]:
        """Return the namespace that a user has named, and the rest."""
        return "", ref

    def inspect_words(self, namespace: str, name: str) -> list[str]:
        """Return the command that describes a container in JSON."""
        return [*self.words(namespace), "inspect", "--type", "container", name]

    def read(self, found: dict[str, Any], namespace: str) -> ForeignContainer:
        """Return what a description says (Docker's Engine API, ContainerInspect)."""
        state, config, host = (client.part(found, name) for name in ("State", "Config", "HostConfig"))
        status, restarts = client.text(state, "Status"), client.text(client.part(host, "RestartPolicy"), "Name")
        is_there = bool(state.get("Running")) or status in ("running", "paused", "stopping")
        identity = client.text(found, "Id")
        if not identity:
            raise client.not_understood(self.name)
        return ForeignContainer(
            id=identity,
            name=client.text(found, "Name").removeprefix("/") or identity[:12],
            image=client.text(found, "ImageName") or client.text(config, "Image"),
            namespace=namespace,
            status=status,
            pid=client.number(state, "Pid") if is_there else 0,
            started_unix_s=client.time_of(state, "StartedAt"),
            is_paused=bool(state.get("Paused")) or status == "paused",
            signal=client.signal_of(config, "StopSignal"),
            grace_s=float(client.number(config, "StopTimeout", 10)),
            restarts="" if restarts == "no" else restarts,
            exit_code=None if is_there else client.number(state, "ExitCode"),
        )

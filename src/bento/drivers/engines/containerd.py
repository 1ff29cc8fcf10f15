"""containerd, by ``ctr``: a task is signalled, and nothing more. It has no grace, no restart policy, and no clean-up.

Its restart plugin starts tasks again whose container says so by a label; a stop is written down by another label, as
nerdctl does it (containerd.io/restart.explicitly-stopped).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from bento.drivers.engines import client
from bento.drivers.engines.base import ForeignContainer
from bento.units import signal_name

if TYPE_CHECKING:
    from bento.command import Child

_UNKNOWN: Final = ("not found",)
_RESTART_LABEL: Final = "containerd.io/restart.status"
_STOPPED_LABEL: Final = "containerd.io/restart.explicitly-stopped=true"
_BOTH: Final = '"$1" "$2" "$3" "$4" "$5" "$6" "$7" >/dev/null && shift 7 && exec "$@"'


class ContainerdEngine:
    """EngineDriver on containerd. A name may begin with its namespace: k8s.io/NAME."""

    name = "containerd"
    kills = False
    takes_signal = True

    def find(self, ref: str) -> ForeignContainer:
        """See EngineDriver."""
        namespace, _, name = client.check_name(ref, self.name).rpartition("/")
        namespace = namespace or os.environ.get("CONTAINERD_NAMESPACE") or "default"
        done = client.run(["ctr", "-n", namespace, "containers", "info", name])
        found = client.one_object(done, self.name, ref, _UNKNOWN)
        labels = client.part(found, "Labels")
        tasks = client.run(["ctr", "-n", namespace, "tasks", "ls"])
        if tasks.returncode != 0:
            raise client.no_answer(self.name, client.said(tasks))
        container = ForeignContainer(
            id=client.text(found, "ID") or name,
            name=client.text(labels, "nerdctl/name") or name,
            image=client.text(found, "Image"),
            namespace=namespace,
            signal=client.signal_of(labels, client.SIGNAL_LABEL),
            restarts="containerd's restart plugin" if labels.get(_RESTART_LABEL) == "running" else "",
        )
        return _with_task(container, tasks.stdout)

    def begin_stop(self, container: ForeignContainer, grace_s: float, signal: int | None) -> Child:
        """See EngineDriver. It ends as soon as the task is signalled."""
        words = self.stop_words(container, grace_s, signal)
        if container.restarts:
            label = ["ctr", "-n", container.namespace, "containers", "label", container.id, _STOPPED_LABEL]
            words = ["/bin/sh", "-c", _BOTH, "sh", *label, *words]
        return client.spawn(words)

    def stop_words(self, container: ForeignContainer, grace_s: float, signal: int | None) -> list[str]:
        """See EngineDriver."""
        name = signal_name(signal or container.signal)
        return ["ctr", "-n", container.namespace, "tasks", "kill", "-s", name, container.id]

    def end_stop(self, child: Child) -> str:
        """See EngineDriver."""
        done = client.finish(child)
        if isinstance(done, str):
            return done
        text = "" if done.returncode == 0 else client.said(done)
        return "" if any(word in text.lower() for word in _UNKNOWN) else text

    def begin_look(self, container: ForeignContainer) -> Child:
        """See EngineDriver."""
        return client.spawn(["ctr", "-n", container.namespace, "tasks", "ls"])

    def end_look(self, container: ForeignContainer, child: Child) -> ForeignContainer | None:
        """See EngineDriver. ctr tells no exit code of a task that has stopped."""
        done = client.finish(child)
        if isinstance(done, str):
            raise client.no_answer(self.name, done)
        if done.returncode != 0:
            raise client.no_answer(self.name, client.said(done))
        return _with_task(container, done.stdout)


def _with_task(container: ForeignContainer, table: str) -> ForeignContainer:
    """Add what ``ctr tasks ls`` says: TASK, PID and STATUS in columns, the first line their names."""
    for line in table.splitlines()[1:]:
        words = line.split()
        if len(words) == 3 and words[0] == container.id and words[1].isdigit():
            runs = words[2] not in ("STOPPED", "UNKNOWN", "CREATED")
            return replace(
                container,
                status=words[2].lower(),
                pid=int(words[1]) if runs else 0,
                is_paused=words[2] in ("PAUSED", "PAUSING"),
            )
    return replace(container, status="without a task", pid=0, is_paused=False)

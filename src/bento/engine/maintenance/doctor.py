"""``doctor``: what is left over on this machine of containers of this engine, and what holds it.

Nothing here trusts the store alone: directories, mounts, cgroups, monitors and locks are looked for
by themselves and held against it. Others make, stop and remove containers meanwhile: each is judged
under its own lock, by what its record says then, and left alone while a process works on it. What
is left over is so at two looks, a moment apart.
"""

from __future__ import annotations

import os
import time
from collections import defaultdict
from collections.abc import Callable, Collection, Iterable, Iterator
from contextlib import suppress
from functools import partial
from typing import TYPE_CHECKING, Final

from msgspec.structs import replace

from bento import log
from bento.engine.base import exec_sessions
from bento.engine.base.exit_owner import has_exit_owner
from bento.engine.base.layers import unused
from bento.engine.base.place import elsewhere, is_own_run_dir
from bento.engine.check import owned
from bento.engine.lifecycle import reconcile
from bento.engine.lifecycle.remove import remove
from bento.engine.maintenance import keepers, naming, pod_remains, proxying, strays
from bento.engine.maintenance import records as unreadable_records
from bento.engine.maintenance.finding import Finding, Key
from bento.engine.resources import cni, default_network, networking
from bento.engine.resources.mounting import remove_empty, remove_volume
from bento.errors import BentoError, Conflict, Elsewhere, MissingTool, NotFound, StateCorrupt
from bento.files.tree import remove_tree
from bento.model.container import Container

if TYPE_CHECKING:
    from pathlib import Path

    from bento.drivers.network.base import Leftover
    from bento.engine.base.drivers import Drivers

LEFT_BY_KILLED: Final = frozenset({"directory", "cgroup", "network", "lock", "layer", "build", "pod"})
"""Kinds of what killed commands leave: nothing of it runs, is a record, or has files of users."""
_SECOND_LOOK_S = 0.1
"""What is about to go, such as a monitor that has done its work or a lock file just made, has gone then."""


def examine(drivers: Drivers, *, fix: bool = False, kinds: Collection[str] = ()) -> list[Finding]:
    """Return what is left over; ``fix`` removes what no process holds. Blocks while it looks at every process.

    ``kinds``: what is of another kind is not removed; () is all.

    Containers that have ended unseen are settled first, as by every verb. Raises Elsewhere in another namespace than
    that of live containers, where their processes are not to be seen; what a copied root has of others' is left alone.
    """
    records = drivers.store.list(on_unreadable=lambda _: None)
    reconcile.refresh(drivers, records, on_elsewhere=_refuse_unless_copied)
    pod_remains.settle_all(drivers)
    first = {finding.key for finding in _Look(drivers).findings()}
    if not first:
        return []
    time.sleep(_SECOND_LOOK_S)
    may_fix = {key for key in first if not kinds or key[0] in kinds} if fix else ()
    again = _Look(drivers, may_fix=may_fix).findings()
    return [finding for finding in again if finding.key in first]


def warnings(drivers: Drivers) -> list[str]:
    """Return what is known against the runtimes in use: the default one, and those of containers."""
    names = ("", *(container.run.runtime for container in drivers.store.list() if container.run is not None))
    found: list[str] = []
    for name in dict.fromkeys(names):
        with suppress(MissingTool):  # what needs it says so
            found += drivers.runtime(name).holes
    return list(dict.fromkeys(found))


def _mend(drivers: Drivers, trouble: keepers.Trouble, _: str) -> bool:
    return keepers.mend(drivers, trouble)


def _refuse_unless_copied(error: Elsewhere) -> None:
    if not error.is_copy:
        raise error


class _Look:
    """One look at everything. Removes what is found and named in ``may_fix``, unless a process holds it."""

    def __init__(self, drivers: Drivers, may_fix: Collection[Key] = ()) -> None:
        self._drivers = drivers
        self._may_fix = may_fix
        self._unreadable: set[str] = set()  # ids of containers
        self._monitors: dict[str, list[int]] = defaultdict(list)
        self._cgroups: dict[str, list[tuple[str, list[int]]]] = defaultdict(list)
        self._links: dict[str, list[str]] = defaultdict(list)
        self._states: dict[str, list[Path]] = defaultdict(list)  # of runtimes
        self._strays: dict[str, Container] = {}

    def findings(self) -> list[Finding]:
        """Return what is left over."""
        drivers = self._drivers
        locks = list(self._locks())  # looked at first: judging a container takes its lock, and removes the file
        for pid, container_id in drivers.processes.find_monitors(str(drivers.run_root)):
            self._monitors[container_id].append(pid)
        for container_id, directory, pids in drivers.processes.find_cgroups():
            self._cgroups[container_id].append((directory, pids))
        for container_id, path in drivers.runtime_states():
            self._states[container_id].append(path)
        left = drivers.network.leftovers(
            default_network.claimed(drivers)
        )  # before the records: each is older than its own
        left += cni.leftovers(drivers) if drivers.has_cni() else []
        records = list(self._records())
        ids = {container.id for container in drivers.store.list(on_unreadable=lambda _: None)}
        ids.update(drivers.storage.ids(), _names_in(drivers.run_root / "containers"), self._monitors, self._states)
        pods = pod_remains.ids(drivers)
        ids |= pods
        bridges = list(self._networks(left, ids))
        ids -= pods
        found = [finding for container_id in sorted(ids) for finding in self._judge(container_id)]
        found = [self._end_stray(each) if each.container_id in self._strays else each for each in found]
        return [
            *records,
            *found,
            *self._checks(),
            *(self._fix(finding, mend) for finding, mend in pod_remains.look(drivers, pods, self._links)),
            *bridges,
            *self._walls(),
            *locks,
            *self._layers(),
            *self._volumes(),
            *self._keepers(),
            *self._builds(),
        ]

    def _records(self) -> Iterator[Finding]:
        """Yield records that cannot be read. With that of a container it goes itself, and is ended first if it runs."""
        store = self._drivers.store
        unreadable: list[StateCorrupt] = []
        store.list(on_unreadable=unreadable.append)
        for error in unreadable:
            self._unreadable.add(error.record_id)
            found = unreadable_records.finding("container", error, container_id=error.record_id)
            yield self._fix(found, self._remove_unreadable)
        for finding, mend in unreadable_records.look(self._drivers):
            yield self._fix(finding, mend)

    def _checks(self) -> Iterator[Finding]:
        """Yield the containers of checks that were killed, and then their networks."""
        for container in owned.left_over(self._drivers):
            what = f"killed before its end: container {container.name}"
            left = Finding(kind="check", what=what, container_id=container.id)
            yield self._fix(left, lambda _, container=container: owned.remove_one(self._drivers, container))  # type: ignore[misc]  # its own
        for name in owned.networks_left_over(self._drivers):
            left = Finding(kind="check", what=f"killed before its end: network {name}")
            yield self._fix(left, lambda _, name=name: owned.remove_network(self._drivers, name))  # type: ignore[misc]  # its own

    def _remove_unreadable(self, container_id: str) -> bool:
        try:
            remove(self._drivers, container_id, force=True)
        except BentoError as error:
            log.warning(str(error))
            return False
        return True

    def _judge(self, container_id: str) -> list[Finding]:
        """Judge one container with its lock held; say nothing when that is not to be had."""
        if container_id in self._unreadable:
            return []
        try:
            lock = self._drivers.locks.hold(container_id, 0.0)
        except Conflict:
            return []
        with lock:
            container = self._record(container_id)
            # Asked after the record was read: a driver that had recorded an end by then is seen here until all is
            # cleaned.
            if self._drivers.locks.is_stop_held(container_id):
                return []
            if container is not None and elsewhere(self._drivers, container) is not None:
                return []  # what there is of it belongs there
            if container is None and (stray := self._stray(container_id)) is not None:
                return [stray]
            is_wanted = container is not None and container.status.is_wanted
            found = self._sessions(container_id) if is_wanted else self._remains(container_id)
            is_known = container_id in self._drivers.storage.ids()
            if container is not None and not is_known:
                what = f"the directory of container {container.name} is gone"
                found.append(Finding(kind="missing", what=what, container_id=container_id))
            if container is None and is_known:
                what = str(self._drivers.storage.bundle(container_id))
                stray = Finding(kind="directory", what=what, container_id=container_id)
                is_held = any(finding.kind in ("mount", "process") for finding in found)
                found.append(stray if is_held else self._fix(stray, self._drivers.storage.remove))
            return found

    def _stray(self, container_id: str) -> Finding | None:
        """Return that a container of this root runs without a record."""
        stray = strays.find(self._drivers, container_id, is_monitored=container_id in self._monitors)
        if stray is None:
            return None
        self._strays[container_id] = stray
        pids = {pid for _, pids in self._cgroups[container_id] for pid in pids}
        what = "runs and has no record"
        return Finding(kind="container", what=what, container_id=container_id, held_by=tuple(map(str, sorted(pids))))

    def _end_stray(self, finding: Finding) -> Finding:
        """End it, now that its lock is free again."""
        return self._fix(finding, lambda container_id: strays.end(self._drivers, self._strays[container_id]))

    def _sessions(self, container_id: str) -> list[Finding]:
        """Return what exec sessions have left of which the monitor was ended."""
        return [
            self._fix(Finding(kind="directory", what=str(path), container_id=container_id), partial(_remove, path))
            for path in exec_sessions.left_over(self._drivers, container_id)
        ]

    def _record(self, container_id: str) -> Container | None:
        try:
            return self._drivers.store.get(container_id)
        except NotFound:
            return None

    def _is_known(self, container_id: str) -> bool:
        with suppress(StateCorrupt):
            return self._record(container_id) is not None or container_id in pod_remains.ids(self._drivers)
        return True

    def _remains(self, container_id: str) -> list[Finding]:
        """Return what there is of a run that has ended."""
        drivers = self._drivers
        found = [
            Finding(kind="process", what=f"monitor {pid}", container_id=container_id)
            for pid in self._monitors[container_id]
        ]
        if container_id in drivers.storage.ids() and drivers.storage.is_held(container_id):
            holders = tuple(f"{holder.pid} ({holder.comm})" for holder in drivers.storage.holders(container_id))
            found.append(Finding(kind="mount", what="root filesystem", container_id=container_id, held_by=holders))
        is_used = any(pids for _, pids in self._cgroups[container_id])
        is_held = bool(found) or is_used
        paths = (drivers.run_dir(container_id), *self._states[container_id])
        # The owner of the exit of a --rm container deletes it in a moment.
        is_left = is_own_run_dir(drivers, container_id) and not has_exit_owner(drivers, container_id)
        for path in paths if is_left else ():
            if path.exists():
                left = Finding(kind="directory", what=str(path), container_id=container_id)
                found.append(left if is_held else self._fix(left, partial(_remove, path)))
        # Where processes have its cgroup, its links may be theirs: of a root that was copied, two have the same id.
        for what in self._links[container_id]:
            link = Finding(kind="network", what=what, container_id=container_id)
            found.append(link if is_used else self._fix(link, self._disconnect))
        return [*found, *(self._cgroup(container_id, *cgroup) for cgroup in self._cgroups[container_id])]

    def _networks(self, leftovers: Iterable[Leftover], ids: set[str]) -> Iterator[Finding]:
        """Lay connections at the door of the containers they are named after; the ids of strangers are known in part.

        Yield what belongs to no container.
        """
        for left in leftovers:
            if not left.container_id:
                yield self._fix(Finding(kind="network", what=left.what), partial(self._lower, left.bridge))
                continue
            owner = next((known for known in ids if known.startswith(left.container_id)), left.container_id)
            ids.add(owner)
            self._links[owner].append(left.what)

    def _walls(self) -> Iterator[Finding]:
        """Yield what others have removed of the networks of containers that run, such as a firewall's reload."""
        connections = networking.running(self._drivers)
        for what in self._drivers.network.missing(connections):
            yield self._fix(Finding(kind="wall", what=what), lambda _: self._drivers.network.mend(connections))
        for what in cni.missing(self._drivers) if self._drivers.has_cni() else ():
            yield Finding(kind="wall", what=what)  # the plugins' own affair: a restart of the container makes it anew

    def _keepers(self) -> Iterator[Finding]:
        """Yield what is wrong with the processes that carry out health checks and resolve names."""
        for trouble in keepers.look(self._drivers):
            found = Finding(kind="process" if trouble.process else "missing", what=trouble.what)
            yield self._fix(found, partial(_mend, self._drivers, trouble))
        for amiss in naming.look(self._drivers):
            found = Finding(kind=amiss.kind, what=amiss.what, container_id=amiss.container_id)
            yield self._fix(found, partial(naming.mend, self._drivers, amiss))
        for container in proxying.look(self._drivers):
            words = f"no process passes on what comes to container {container.name} by [::1]"
            found = Finding(kind="missing", what=words, container_id=container.id)
            yield self._fix(found, partial(proxying.mend, self._drivers))

    def _disconnect(self, container_id: str) -> None:
        networking.release_left(self._drivers, container_id)

    def _lower(self, bridge: str, _: str) -> None:
        networking.finish(lambda: self._drivers.network.lower_bridge(bridge))

    def _cgroup(self, container_id: str, directory: str, pids: list[int]) -> Finding:
        held_by = tuple(map(str, pids))
        left = Finding(kind="cgroup", what=directory, container_id=container_id, held_by=held_by)
        return left if pids else self._fix(left, lambda _: self._drivers.processes.remove_cgroup(directory))

    def _fix(self, finding: Finding, remove: Callable[[str], bool | None]) -> Finding:
        if finding.key not in self._may_fix:
            return finding
        return replace(finding, is_fixed=remove(finding.container_id) is not False)

    def _locks(self) -> Iterator[Finding]:
        for container_id in self._drivers.locks.ids():
            if not self._is_known(container_id) and not self._drivers.locks.is_held(container_id):
                finding = Finding(kind="lock", what="lock file", container_id=container_id)
                yield self._fix(finding, self._drivers.locks.forget)

    def _volumes(self) -> list[Finding]:
        volumes, store = self._drivers.volumes, self._drivers.store
        left = volumes.remove_leftovers() if self._may_fix else volumes.leftovers()
        found = [Finding(kind="volume", what=name, is_fixed=bool(self._may_fix)) for name in left]
        with volumes.changing():
            records, names = store.list_volumes(), volumes.names()
        for name in sorted(set(names) - {volume.name for volume in records}):
            # One that was being made has no files yet. Others have files of some user, whatever became of the record.
            found.append(self._fix(Finding(kind="volume", what=f"{name} has no record"), self._remove_empty(name)))
        for volume in records:
            if volume.name not in names:
                gone = Finding(kind="missing", what=f"the directory of volume {volume.name} is gone")
                found.append(self._fix(gone, self._remove_volume(volume.name)))
            elif volume.container_id and not self._is_known(volume.container_id):
                own = Finding(kind="volume", what=f"{volume.name}, anonymous", container_id=volume.container_id)
                found.append(self._fix(own, self._remove_volume(volume.name)))
        return found

    def _builds(self) -> list[Finding]:
        builder = self._drivers.builder
        left = builder.remove_leftovers() if self._may_fix else builder.leftovers()
        return [
            Finding(kind="build", what=f"{name}, of one that was killed", is_fixed=bool(self._may_fix)) for name in left
        ]

    def _remove_empty(self, name: str) -> Callable[[str], bool]:
        return lambda _: remove_empty(self._drivers, name)

    def _remove_volume(self, name: str) -> Callable[[str], bool]:
        def remove(_: str) -> bool:
            try:
                remove_volume(self._drivers, name)
            except (Conflict, NotFound):  # a container has it
                return False
            return True

        return remove

    def _layers(self) -> list[Finding]:
        images = self._drivers.images
        left = images.remove_leftovers() if self._may_fix else images.leftovers()
        found = [Finding(kind="layer", what=name, is_fixed=bool(self._may_fix)) for name in left]
        with images.gc_lock():
            stray = unused(self._drivers, (*images.layers(), *images.idle_blobs()))
        found += self._gone_layers()
        for thing in sorted(stray):
            is_blob = not thing.startswith("/")
            found.append(Finding(kind="blob" if is_blob else "layer", what=thing, is_kept=is_blob))
        wanted = {finding.what for finding in found if finding.key in self._may_fix}
        gone = images.remove(lambda: unused(self._drivers, wanted & stray)).things if wanted & stray else ()
        return [replace(finding, is_fixed=True) if finding.what in gone else finding for finding in found]

    def _gone_layers(self) -> Iterator[Finding]:
        """Yield what images have lost: to pull or load them again puts it back."""
        with self._drivers.images.gc_lock():
            gone = [
                (image, layer)
                for image in self._drivers.store.list_images()
                for layer in image.layers
                if not os.path.isdir(layer)
            ]
        for image, layer in gone:
            yield Finding(kind="missing", what=f"the layer {layer} of image {image.name} is gone: pull it again")


def _remove(path: Path, _: str) -> None:
    remove_tree(path)


def _names_in(directory: Path) -> list[str]:
    try:
        return os.listdir(directory)
    except FileNotFoundError:
        return []

"""Any runtime with the OCI command line: crun, runc and their kin, gVisor's runsc."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final

import msgspec

from bento import command, log
from bento.command import Child, Completed
from bento.drivers.runtime import output, states
from bento.errors import BentoError, DeadlineExceeded, RuntimeFailed, UsageError
from bento.files.smallfile import read_small
from bento.files.tree import remove_tree
from bento.kernel import hybrid, mountinfo, namespace
from bento.kernel.cgroup import Cgroups, locate
from bento.lazy import LazyModule
from bento.model.container import Container, ContainerSpec
from bento.model.exec import ExecOptions
from bento.model.namespaces.mapping import IdMapping
from bento.model.resources import UNLIMITED, Change
from bento.model.stats import ProcessTable
from bento.model.terminal import WindowSize

if TYPE_CHECKING:
    from bento.drivers.runtime import bundle as bundles
    from bento.drivers.runtime import filters
    from bento.drivers.runtime import holder as holders
    from bento.drivers.runtime.filters import Filters
    from bento.kernel import cgroup_limits
    from bento.oci import config, resources
else:  # only a start, or a change of limits, needs them
    bundles, config = LazyModule("bento.drivers.runtime.bundle"), LazyModule("bento.oci.config")
    holders = LazyModule("bento.drivers.runtime.holder")
    filters = LazyModule("bento.drivers.runtime.filters")
    cgroup_limits, resources = LazyModule("bento.kernel.cgroup_limits"), LazyModule("bento.oci.resources")

_CALL_TIMEOUT_S: Final = 30.0  # crun and runc need 10 ms; virtual machines some seconds


class OciRuntime:
    """One runtime binary with its state below ``state_root`` (implements ``RuntimeDriver``).

    ``hide_unified``: the runtime refuses hosts with hybrid cgroups (crun does), so each of its processes runs in a
    private mount namespace where the cgroup2 hierarchy is hidden. The host's own mounts are never touched.
    ``filters_devices``: it can load the rules of the device cgroup; where not, containers get no other devices by mount
    options and by the lack of CAP_MKNOD. ``arguments``: put before every verb.
    """

    def __init__(
        self,
        path: Path,
        state_root: Path,
        *,
        hide_unified: bool = False,
        name: str = "",
        shows_processes: bool = True,
        supports_seccomp: bool = True,
        filters_devices: bool = True,
        arguments: tuple[str, ...] = (),
        version: str = "",
        holes: tuple[str, ...] = (),
    ) -> None:
        self.name = name or path.name
        self.version, self.holes = version, holes
        self.path = path
        self.shows_processes = shows_processes
        self.supports_seccomp = supports_seccomp
        self.filters_devices = filters_devices
        self._state_root = state_root
        self.sees_cgroup2 = not hide_unified
        self._arguments = arguments
        self.has_networks = "--network=none" not in arguments
        self._hide_unified = hide_unified
        self._filters: Filters | None = None  # made by a start alone

    def enter(self) -> None:
        """See ``RuntimeDriver.enter``."""
        if self._hide_unified:
            hybrid.hide_unified()

    def write_bundle(
        self,
        container: Container,
        *,
        bundle: Path,
        rootfs: Path,
        namespaces: list[dict[str, str]],
        masked: tuple[str, ...],
        size: WindowSize | None = None,
        hooks: Mapping[str, list[dict[str, Any]]] | None = None,
        place: Callable[[str, bool], str] | None = None,
    ) -> tuple[str, ...]:
        """See ``RuntimeDriver.write_bundle``."""
        if self.name == "crun" and self._filters is None:
            self._filters = filters.Filters(self._state_root.parents[1] / "filters", self.path)
        return bundles.write(
            container,
            bundle=bundle,
            root=rootfs,
            namespaces=namespaces,
            masked=masked,
            size=size,
            hooks=hooks,
            place=place,
            has_seccomp=self.supports_seccomp,
            filters_devices=self.filters_devices,
            filters=self._filters,
            knows_rro=self.shows_processes,  # runsc has it not; what is virtual serves its files by other means
        )

    def rewrite_etc(self, before: Container, after: Container, *, bundle: Path) -> None:
        """See ``RuntimeDriver.rewrite_etc``."""
        bundles.rewrite_etc(before, after, bundle)

    def check_program(self, document: Path, *, root: Path) -> None:
        """See ``RuntimeDriver.check_program``."""
        bundles.check_program(document, root, sees_mounts=self.shows_processes)

    def monitor_arguments(self) -> list[str]:
        """See ``RuntimeDriver.monitor_arguments``."""
        return ["--root", str(self._state_root), *self._arguments]

    def check(self, spec: ContainerSpec) -> None:
        """See ``RuntimeDriver.check``."""
        if self.shows_processes:
            return
        if spec.namespaces.ids is not None:
            raise UsageError(
                f"{self.name} has no user namespaces here: it has a kernel of its own", hint="omit --userns"
            )
        if spec.namespaces.pid:
            raise UsageError(f"{self.name} cannot share PID namespaces: the host sees no processes in it")
        if config.shares_ipc(spec):
            raise UsageError(f"{self.name} cannot share shared memory: it has a kernel of its own", hint="omit --ipc")
        if spec.resources.pids_limit is not None:
            raise UsageError(f"{self.name} cannot limit processes: it would limit its own", hint="use --ulimit nproc=N")
        if any(config.is_slave(mount) for mount in spec.files.mounts):
            raise UsageError(f"{self.name} cannot show later mounts of the host in a container", hint="omit rslave")
        if spec.network != "none" and not self.has_networks:
            raise UsageError(
                f"{self.name} has no network as it is run here", hint="see runtime_args in the documentation"
            )

    def start(self, container_id: str) -> None:
        """See ``RuntimeDriver.start``."""
        done = self._call("start", container_id)
        if done.returncode != 0:
            raise output.explain(done.stderr, verb="start")
        if self._filters is not None:
            self._filters.keep(container_id, self._state_root / container_id)

    def update(self, change: Change) -> Callable[[], None]:
        """See ``RuntimeDriver.update``. crun sets one limit after the other, and leaves those that it has set."""
        before = cgroup_limits.read_limits(change.cgroups)

        def put_back() -> None:
            if left := cgroup_limits.put_back(before):
                log.warning(f"limits of {change.container_id[:12]} could not be put back: {', '.join(left)}")

        try:
            self._update(change)
        except BaseException:
            put_back()
            raise
        return put_back

    def _update(self, change: Change) -> None:
        document = resources.changes(change.limits)
        lifted = []
        if self.name == "crun":  # 1.8 cannot write -1 to either
            for limit, values, key in (("pids", "pids", "limit"), ("quota", "cpu", "quota")):
                if document.get(values, {}).get(key) == UNLIMITED:
                    del document[values][key]
                    lifted.append(limit)
        document = {name: values for name, values in document.items() if values}
        if document:
            reader, writer = os.pipe2(os.O_CLOEXEC)
            try:
                os.write(writer, msgspec.json.encode(document))
                os.close(writer)
                done = self._spawn("update", "--resources", "/dev/stdin", change.container_id, stdin_fd=reader).finish(
                    _CALL_TIMEOUT_S
                )
            finally:
                os.close(reader)
            if done.returncode != 0:
                raise output.explain(done.stderr, verb="update")
        if left := cgroup_limits.lift(change.cgroups, lifted):
            raise RuntimeFailed(f"cannot take the limit away: {', '.join(left)}")

    def signal(self, container_id: str, number: int) -> None:
        """See ``RuntimeDriver.signal``."""
        reason = self.end_signal(self.begin_signal(container_id, number))
        if reason:
            raise RuntimeFailed(f"cannot signal the container: {reason}")

    def begin_signal(self, container_id: str, number: int) -> Child:
        """See ``RuntimeDriver.begin_signal``."""
        return self._spawn("kill", container_id, str(number))

    def end_signal(self, child: Child) -> str:
        """See ``RuntimeDriver.end_signal``."""
        return self._end(child, "kill")

    def begin_exec(self, container_id: str, argv: list[str], *, env: list[str], pid_file: Path) -> Child:
        """See ``RuntimeDriver.begin_exec``."""
        more = [word for entry in env for word in ("--env", entry)]
        return self._begin("exec", self._pid_option(), str(pid_file), *more, container_id, *argv)

    def begin_process(self, container_id: str, spec: Path, *, pid_file: Path, output_fd: int) -> Child:
        """See ``RuntimeDriver.begin_process``."""
        words = (self._pid_option(), str(pid_file), "--process", str(spec), container_id)
        return self._begin("exec", *words, output_fd=output_fd)

    def _pid_option(self) -> str:
        return "--pid-file" if self.shows_processes else "--internal-pid-file"

    def _begin(self, *arguments: str, output_fd: int | None = None) -> Child:
        # An input that is at its end, and never the host's /dev/null: the process gets the descriptor itself, and
        # runtimes change its owner (fchown(2)), crun to the process's user, runsc to uid 65534.
        reader, writer = os.pipe2(os.O_CLOEXEC)
        os.close(writer)
        try:
            return self._spawn(*arguments, stdin_fd=reader, output_fd=output_fd)
        finally:
            os.close(reader)

    def write_process(
        self, container: Container, extra: ExecOptions, *, bundle: Path, root: Path | None, path: Path
    ) -> None:
        """See ``RuntimeDriver.write_process``."""
        bundles.write_process(container, extra, bundle=bundle, root=root, path=path)

    def explain_exec_failure(self, message: str, command: str = "") -> BentoError:
        """See ``RuntimeDriver.explain_exec_failure``."""
        return output.explain(message, verb="exec in", command=command)

    def process_table(self, container_id: str) -> ProcessTable:
        """See ``RuntimeDriver.process_table``."""
        done = self._call("ps", container_id)
        if done.returncode != 0:
            raise output.explain(done.stderr, verb="list the processes of")
        return output.process_table(done.stdout)

    def begin_delete(self, container_id: str) -> Child:
        """See ``RuntimeDriver.begin_delete``."""
        return self._spawn("delete", container_id)

    def end_delete(self, child: Child) -> str:
        """See ``RuntimeDriver.end_delete``."""
        return self._end(child, "delete")

    def begin_delete_many(self, container_ids: Sequence[str]) -> Child | None:
        """See ``RuntimeDriver.begin_delete_many``. crun takes a regular expression (crun(1))."""
        if self.name != "crun":
            return None
        return self._spawn("delete", "--regex", f"^({'|'.join(container_ids)})$")

    def end_delete_many(self, child: Child, container_ids: Sequence[str]) -> list[str]:
        """See ``RuntimeDriver.end_delete_many``."""
        self._end(child, "delete")
        return states.known(self._state_root, container_ids)

    def _end(self, child: Child, verb: str) -> str:
        """Reap the child; return why it failed, or "". A container that the runtime does not know is deleted."""
        try:
            done = child.finish(_CALL_TIMEOUT_S)
        except DeadlineExceeded as error:
            return error.message
        if done.returncode == 0 or (verb == "delete" and output.is_unknown_container(done.stderr)):
            return ""
        return output.sentence(done.stderr) or f"{self.name} {verb} ended with status {done.returncode}"

    def is_still_running(self, reason: str) -> bool:
        """See ``RuntimeDriver.is_still_running``."""
        return output.is_still_running(reason)

    def discard(self, container_id: str, cgroup_parent: str = "") -> None:
        """See ``RuntimeDriver.discard``."""
        self._call("delete", "--force", container_id)
        # crun forgets the cgroup when it fails between making it and keeping state. A process in it was never started.
        left = _cgroups(container_id, cgroup_parent)
        if left.exists():
            left.kill()
            left.remove()
        self.clear(container_id)

    def hold_namespaces(
        self,
        container_id: str,
        directory: Path,
        namespaces: list[dict[str, str]],
        *,
        cgroup_parent: str,
        ids: IdMapping | None = None,
    ) -> int:
        """See ``RuntimeDriver.hold_namespaces``."""
        pid_file = directory / "pid"

        def create() -> Completed:
            holders.write(directory, container_id, namespaces, cgroup_parent, ids)
            words = ("--bundle", str(directory), "--pid-file", str(pid_file), container_id)
            return self._begin("create", *words).finish(_CALL_TIMEOUT_S)

        done = create() if ids is None else namespace.in_private_mounts(create)
        if done.returncode != 0:
            raise output.explain(done.stderr, verb="create")
        self.start(container_id)
        pid = int(read_small(pid_file))
        if self._hide_unified:  # it is where this process is, in the hierarchy that the runtime does not see
            hybrid.leave_unified(pid)
        return pid

    def knows(self, container_id: str) -> bool:
        """See ``RuntimeDriver.knows``."""
        return bool(states.of(self._state_root, container_id))

    def clear(self, container_id: str) -> None:
        """See ``RuntimeDriver.clear``."""
        for path in states.of(self._state_root, container_id):
            remove_tree(path)

    def explain_create_failure(self, message: str, command: str = "") -> BentoError:
        """See ``RuntimeDriver.explain_create_failure``."""
        return output.explain(message, verb="create", command=command)

    def _call(self, *arguments: str) -> Completed:
        return self._spawn(*arguments).finish(_CALL_TIMEOUT_S)

    def _spawn(self, *arguments: str, stdin_fd: int | None = None, output_fd: int | None = None) -> Child:
        argv = [str(self.path), *self.monitor_arguments(), *arguments]

        def spawn() -> Child:
            return command.spawn(argv, stdin_fd=stdin_fd, stdout_fd=output_fd, stderr_fd=output_fd)

        def in_own_view() -> Child:
            hybrid.hide_unified()
            return spawn()

        return namespace.in_private_mounts(in_own_view) if self._hide_unified else spawn()


def _cgroups(container_id: str, parent: str) -> Cgroups:
    """Where the container's cgroups are, or would be: in every hierarchy that the calling thread sees."""
    path = config.cgroups_path(container_id, parent)
    with open("/proc/self/cgroup", encoding="utf-8", errors="replace") as file:
        membership = "".join(f"{line.rsplit(':/', 1)[0]}:{path}\n" for line in file)
    return Cgroups(locate(membership, mountinfo.mount_table()))

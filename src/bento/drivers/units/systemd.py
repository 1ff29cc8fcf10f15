"""Units by systemd's own programs, systemctl(1) and systemd-run(1): every host with systemd has them.

A scope is made and delegated (Delegate=, systemd.resource-control(5)) before the container is, and the runtime makes
the container's cgroup inside of it as it does without systemd. The runtimes' own way to make scopes is not used: they
ask systemd again when they delete, and do not come back while a stop by systemd is under way.
"""

from __future__ import annotations

import os
import select
import shlex
import time
from contextlib import ExitStack, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Final

from bento import command
from bento.errors import DeadlineExceeded, MissingTool, UnitsFailed
from bento.kernel import cgroup

if TYPE_CHECKING:
    from collections.abc import Sequence

    from bento.command import Child, Completed
    from bento.drivers.units.base import ScopeWanted, StopWanted

BOOTED: Final = "/run/systemd/system"  # sd_booted(3)
_ROOT: Final = "/sys/fs/cgroup"
_LIMIT_S: Final = 15.0
_SHORT_LIMIT_S: Final = 5.0
_TRY_AGAIN_S: Final = 0.05
_HOLDER: Final = "echo; read -r line"  # a scope needs a process: this one says that it is there, and goes when we do
_HOLDER_CGROUP: Final = "start"
_IS_THERE: Final = ("already exists", "already loaded", "has a fragment file", "UnitExists")


class SystemdScope:
    """Implements ``Scope``: a shell holds it until the container's first process is there."""

    def __init__(self, child: Child, writer: int, path: str, root: str) -> None:
        self.cgroup = path
        self._child, self._writer = child, writer
        self._leaf = f"{root}{path}/{_HOLDER_CGROUP}"

    def enter_leaf(self) -> None:
        """Have the holder in a cgroup below: with a process in it, a cgroup gives no controllers to those below.

        (cgroup-v2.rst, "No Internal Process Constraint".) Raises UnitsFailed.
        """
        try:
            os.mkdir(self._leaf)
            with open(f"{self._leaf}/cgroup.procs", "w", encoding="ascii") as file:
                file.write(str(self._child.pid))
        except OSError as error:
            raise UnitsFailed(f"the scope {self.cgroup} cannot be used: {error.strerror}") from error

    def close(self) -> None:
        """See Scope."""
        if self._writer < 0:
            return
        os.close(self._writer)
        self._writer = -1
        with suppress(DeadlineExceeded):
            self._child.finish(_SHORT_LIMIT_S)
        with suppress(OSError):  # systemd removes it with the scope, too
            os.rmdir(self._leaf)


class SystemdUnits:
    """Implements ``UnitDriver``.

    ``booted``: the directory that says that systemd runs; ``root``: where cgroups are mounted; ``limit_s``: how long
    an answer may take.
    """

    def __init__(self, booted: str = BOOTED, root: str = _ROOT, limit_s: float = _LIMIT_S) -> None:
        self._booted, self._root = booted, root
        self._limit_s, self._short_s = limit_s, min(limit_s, _SHORT_LIMIT_S)

    def refusal(self) -> str:
        """See UnitDriver."""
        if not os.path.isdir(self._booted):
            return "systemd does not run here"
        if cgroup.mode(self._root) != "v2":
            return "systemd's scopes need version 2 of cgroups alone, and this host has version 1"
        try:
            done = self._call("systemctl", "show", "--property=Version", limit_s=self._short_s)
        except (UnitsFailed, MissingTool) as error:
            return error.message
        return "" if done.returncode == 0 else f"systemd does not answer: {_reason(done)}"

    def make_scope(self, wanted: ScopeWanted) -> SystemdScope:
        """See UnitDriver."""
        words = _run_words(
            f"bento-{wanted.container_id}.scope", wanted.slice, wanted.description, ("Delegate=yes", *wanted.properties)
        )
        deadline_s = time.monotonic() + self._limit_s
        while True:
            scope, reason = self._try_scope(words, deadline_s)
            if scope is not None:
                return scope
            if not any(word in reason for word in _IS_THERE) or time.monotonic() > deadline_s:
                raise UnitsFailed(f"systemd has made no scope: {reason}", hint=_HINT)
            self._end_last(wanted.container_id)  # of the last run: systemd is still at it

    def _try_scope(self, words: list[str], deadline_s: float) -> tuple[SystemdScope | None, str]:
        reader, writer = map(command.above_standard, os.pipe2(os.O_CLOEXEC))
        with ExitStack() as undo:
            undo.callback(os.close, writer)
            try:
                child = command.spawn([*words, "/bin/sh", "-c", _HOLDER], stdin_fd=reader)
            finally:
                os.close(reader)
            undo.callback(child.kill)
            if not _answers(child, deadline_s):
                return None, _reason(self._finish(child, deadline_s))
            scope = SystemdScope(child, writer, _cgroup_of(child.pid), self._root)
            scope.enter_leaf()
            undo.pop_all()
            return scope, ""

    def _end_last(self, container_id: str) -> None:
        # Blocks until they are gone. The service does nothing any more: its mark has gone with the last run.
        self._call("systemctl", "stop", *_units(container_id), limit_s=self._limit_s)
        self._call("systemctl", "reset-failed", *_units(container_id), limit_s=self._limit_s)
        time.sleep(_TRY_AGAIN_S)

    def make_stop(self, wanted: StopWanted) -> None:
        """See UnitDriver."""
        mark = Path(wanted.mark)
        mark.write_text(f"exec {shlex.join(wanted.argv)}\n", encoding="utf-8")
        scopes = [f"bento-{wanted.container_id}.scope", f"bento-conmon-{wanted.container_id}.scope"]
        script = f"test ! -e {shlex.quote(wanted.mark)} || exec /bin/sh {shlex.quote(wanted.mark)}"
        properties = [
            "RemainAfterExit=yes",
            f"PartOf={scopes[0]}",
            f"After={' '.join(scopes)}",  # so that it is stopped before them
            "Before=bento.service",  # and after that, which stops all containers in their order
            f"ExecStop=/bin/sh -c {_quoted(script)}",
            f"TimeoutStopSec={wanted.timeout_s:g}",
            "NotifyAccess=all",  # by which the stop asks for more time
            "KillMode=process",
            "CollectMode=inactive-or-failed",
        ]
        words = ["systemd-run", "--quiet", f"--unit={_stop_unit(wanted.container_id)}", "--service-type=oneshot"]
        words += [f"--description={wanted.description}", *(f"--property={one}" for one in properties), "/bin/true"]
        done = self._call(*words, limit_s=self._limit_s)
        if done.returncode != 0:
            raise UnitsFailed(
                f"systemd has not taken the service that stops the container: {_reason(done)}", hint=_HINT
            )

    def monitor_words(self, container_id: str, slice_name: str, description: str) -> tuple[str, ...]:
        """See UnitDriver."""
        # It ends by itself after its container. At SIGTERM it would have the container signalled (conmon(8)).
        properties = ("KillSignal=SIGCONT", "SendSIGKILL=no", "RefuseManualStop=yes")
        return tuple(_run_words(f"bento-conmon-{container_id}.scope", slice_name, description, properties))

    def set_properties(self, container_id: str, properties: tuple[str, ...]) -> None:
        """See UnitDriver."""
        unit = f"bento-{container_id}.scope"
        done = self._call("systemctl", "set-property", "--runtime", unit, *properties, limit_s=self._limit_s)
        if done.returncode != 0:
            raise UnitsFailed(f"systemd has not changed {unit}: {_reason(done)}", hint=_HINT)

    def forget(self, container_id: str) -> None:
        """See UnitDriver."""
        with suppress(UnitsFailed, MissingTool):  # systemd takes the scopes away by itself
            self._call("systemctl", "stop", "--no-block", *_units(container_id), limit_s=self._short_s)

    def discard(self, container_id: str) -> None:
        """See UnitDriver."""
        with suppress(UnitsFailed, MissingTool):
            scopes = (f"bento-{container_id}.scope", f"bento-conmon-{container_id}.scope")
            self._call("systemctl", "kill", "--signal=SIGKILL", *scopes, limit_s=self._short_s)
            self.forget(container_id)

    def being_stopped(self, container_ids: Sequence[str]) -> tuple[str, ...]:
        """See UnitDriver."""
        units = map(_stop_unit, container_ids)
        done = self._call("systemctl", "show", "--property=ActiveState,Job", *units, limit_s=self._short_s)
        found = []
        for container_id, block in zip(container_ids, done.stdout.split("\n\n"), strict=False):
            facts = dict(line.partition("=")[::2] for line in block.split("\n"))
            if facts.get("ActiveState") == "deactivating" or facts.get("Job", "0") not in ("", "0"):
                found.append(container_id)
        return tuple(found)

    def is_stopping(self) -> bool:
        """See UnitDriver."""
        try:
            done = self._call("systemctl", "is-system-running", limit_s=self._short_s)
        except (UnitsFailed, MissingTool):
            return False
        return done.stdout.strip() == "stopping"

    def _call(self, *words: str, limit_s: float) -> Completed:
        return self._finish(command.spawn(words), time.monotonic() + limit_s)

    def _finish(self, child: Child, deadline_s: float) -> Completed:
        try:
            return child.finish(max(0.1, deadline_s - time.monotonic()))
        except DeadlineExceeded as error:
            raise UnitsFailed(f"systemd does not answer: {error.message}", hint=_HINT) from error


_HINT: Final = "see systemctl status dbus.service and journalctl -b; --cgroup-manager cgroupfs does without systemd"


def _run_words(unit: str, slice_name: str, description: str, properties: tuple[str, ...]) -> list[str]:
    named = ["systemd-run", "--scope", "--quiet", "--collect", f"--unit={unit}", f"--slice={slice_name}"]
    return [*named, f"--description={description}", *(f"--property={one}" for one in properties), "--"]


def _units(container_id: str) -> tuple[str, ...]:
    return f"bento-{container_id}.scope", _stop_unit(container_id)


def _stop_unit(container_id: str) -> str:
    return f"bento-stop-{container_id}.service"


def _answers(child: Child, deadline_s: float) -> bool:
    """Whether the holder runs; False: systemd-run has ended without it."""
    assert child.stdout_fd is not None
    poller = select.poll()
    poller.register(child.stdout_fd, select.POLLIN)
    if not poller.poll(max(0.0, deadline_s - time.monotonic()) * 1000):
        raise UnitsFailed("systemd does not answer: it has made no scope in time", hint=_HINT)
    return bool(os.read(child.stdout_fd, 1))


def _cgroup_of(pid: int) -> str:
    for line in cgroup.read_control(f"/proc/{pid}/cgroup").splitlines():
        if line.startswith("0::/"):
            return line.removeprefix("0::")
    raise UnitsFailed("the scope has ended before the container was made", hint=_HINT)


def _reason(done: Completed) -> str:
    """Return what a program of systemd's has said, as part of a sentence."""
    return " ".join((done.stderr or done.stdout).split())[-300:] or f"it ended with status {done.returncode}"


def _quoted(word: str) -> str:
    """Return a word of ExecStop=, where $ is a variable; in a property % is no specifier (systemd.service(5))."""
    escaped = word.replace("\\", "\\\\").replace('"', '\\"').replace("$", "$$")
    return f'"{escaped}"'

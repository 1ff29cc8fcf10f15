"""The ``process`` of a container's config.json, and of an exec (runtime-spec 1.0: config.md, "Process"). Pure."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final

from bento.model.container import Container, ContainerSpec
from bento.model.exec import ExecOptions
from bento.model.terminal import WindowSize
from bento.oci import defaults, etc
from bento.oci.capabilities import ALL, NAMES, choose
from bento.oci.limits import Limits
from bento.oci.user import ResolvedUser

INIT_PATH: Final = "/dev/catatonit"
"""Where ``--init`` finds its init in the container: on the container's own /dev, so that no image is touched.

It keeps its name: a stop knows it by that for one that passes signals on, and looks through it (rule S13).
"""

INIT_PATH_ON_ROOT: Final = "/.bento/catatonit"
"""The same when the user mounts something on /dev: a file made there would stay behind on the host."""

INIT_PATHS: Final = (INIT_PATH, INIT_PATH_ON_ROOT)

_TERM: Final = ("TERM", "xterm")  # Docker's, with a terminal


def build(
    container: Container,
    user: ResolvedUser,
    limits: Limits,
    bounding: list[str],
    confined: Mapping[str, str],
    *,
    has_init: bool,
) -> dict[str, Any]:
    """Return the ``process`` of a container.

    ``bounding``: what ``capabilities`` says. ``has_init``: an init comes first. The rest is as for ``config.build``.
    """
    spec = container.spec
    # A program of root holds them all at once; others get none until they execute a file that has some. Inheritable
    # and ambient stay empty, but for what was asked for: they hand capabilities to whatever such a program executes.
    ambient = [name for name in bounding if name in spec.node.ambient or ALL in spec.node.ambient]
    held = bounding if user.uid == 0 else ambient
    handed_on = {"inheritable": ambient, "ambient": ambient} if ambient else {}
    return {
        "terminal": spec.streams.tty,
        "user": {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)},
        "args": [*((init_destination(spec), "--") if has_init else ()), *spec.argv],
        "env": _environment(container, user),
        "cwd": spec.workdir or "/",
        "capabilities": {"bounding": bounding, "effective": held, "permitted": held, **handed_on},
        "rlimits": limits.rlimits,
        "noNewPrivileges": spec.sandbox.no_new_privileges,
        **confined,
        **({} if spec.limits.oom_score_adj is None else {"oomScoreAdj": spec.limits.oom_score_adj}),
    }


def console_size(size: WindowSize | None) -> dict[str, Any]:
    """Return the part of ``process`` that says how large its terminal is when it begins."""
    return {} if size is None else {"consoleSize": {"height": size.rows, "width": size.columns}}


def _environment(container: Container, user: ResolvedUser) -> list[str]:
    values = {"PATH": defaults.PATH, "HOME": user.home}
    if etc.owns_hostname(container.spec):
        values["HOSTNAME"] = etc.hostname(container)
    if container.spec.streams.tty:
        values.setdefault(*_TERM)
    if container.spec.system:
        values["container"] = defaults.CONTAINER_ENV
    for entry in container.spec.env:
        name, _, value = entry.partition("=")
        values[name] = value
    return [f"{name}={value}" for name, value in values.items()]


def of_exec(
    spec: ContainerSpec,
    running: dict[str, Any],
    extra: ExecOptions,
    user: ResolvedUser | None,
    own: frozenset[str] = frozenset(NAMES),
) -> dict[str, Any]:
    """Return the ``process`` of an exec: that of the container, but for what was asked for.

    ``running``: the container's own ``process``. ``user``: the one that was asked for; None is the container's.
    ``own``: the capabilities that there are to give.
    """
    values = dict(entry.partition("=")[::2] for entry in running["env"])
    process = running | {"args": list(extra.command), "cwd": extra.workdir or running["cwd"], "terminal": extra.tty}
    process.pop("consoleSize", None)
    if extra.tty:
        values.setdefault(*_TERM)
        process |= console_size(extra.size)
    if user is not None:
        process["user"] = {"uid": user.uid, "gid": user.gid, "additionalGids": list(user.groups)}
    if user is not None or extra.privileged:
        bounding = [name for name in NAMES if name in own] if extra.privileged else running["capabilities"]["bounding"]
        held = bounding if process["user"]["uid"] == 0 else []
        process["capabilities"] = {"bounding": bounding, "effective": held, "permitted": held}
    if user is not None and not any(entry.startswith("HOME=") for entry in spec.env):  # else it was asked for at create
        values["HOME"] = user.home
    for entry in extra.env:
        name, equals, value = entry.partition("=")
        if equals:
            values[name] = value
        else:
            values.pop(name, None)
    process["env"] = [f"{name}={value}" for name, value in values.items()]
    return process


def capabilities(
    spec: ContainerSpec, *, filters_devices: bool, has_filter: bool, own: frozenset[str] = frozenset(NAMES)
) -> list[str]:
    """Return the bounding set: no device nodes are made where nothing keeps them from working."""
    dropped, is_open = spec.sandbox.cap_drop, spec.sandbox.privileged
    chosen = choose(defaults.CAPABILITIES, (ALL,) if is_open else spec.sandbox.cap_add, dropped, own)
    held = [name for name in chosen if filters_devices or is_open or name != "CAP_MKNOD"]
    wants_reboot = may_reboot(spec, has_filter=has_filter) and {ALL, defaults.REBOOT}.isdisjoint(dropped)
    return [*held, defaults.REBOOT] if wants_reboot and defaults.REBOOT not in held else held


def may_reboot(spec: ContainerSpec, *, has_filter: bool) -> bool:
    """Whether the container's init may end its own PID namespace by reboot(2)."""
    return spec.system and has_filter and "pid" in defaults.NAMESPACES


def init_destination(spec: ContainerSpec) -> str:
    """Return where the init of ``--init`` is bound in this container."""
    return INIT_PATH_ON_ROOT if any(m.destination.rstrip("/") == "/dev" for m in spec.files.mounts) else INIT_PATH

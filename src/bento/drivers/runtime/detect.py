"""Which runtime to use, and what it is: found by name or path, asked once for its version."""

from __future__ import annotations

import os
import re
from contextlib import suppress
from pathlib import Path
from typing import Final

import msgspec
from msgspec import Struct

from bento import command
from bento.drivers.runtime.oci import OciRuntime
from bento.errors import DeadlineExceeded, MissingTool
from bento.files.smallfile import read_small
from bento.kernel import cgroup
from bento.oci import limits

PREFERRED: Final = ("crun", "runc")
"""Tried in this order when none is named."""
_PACKAGED: Final = frozenset({*PREFERRED, "runsc"})
"""Those that Debian has, each in a package of its name."""

_OLDEST: Final = {"crun": (1, 0, 0), "runc": (1, 0, 0)}
_FIXES: Final[dict[str, tuple[tuple[str, tuple[tuple[int, int, int], ...]], ...]]] = {
    "runc": (
        ("CVE-2024-21626", ((1, 1, 12),)),
        ("CVE-2025-31133, CVE-2025-52565 and CVE-2025-52881", ((1, 2, 8), (1, 3, 3), (1, 4, 0))),
    ),
}
"""Ways out of a container, with the releases that closed them: the first, and those of later branches."""
_VIRTUAL: Final[dict[str, tuple[str, ...]]] = {
    # ptrace works everywhere; KVM wants more than a /dev/kvm, and hangs where it does not get that. The sandbox has a
    # network stack of its own, which needs a set-up that the networks here do not make.
    "runsc": ("--platform=ptrace", "--network=none"),
    "kata-runtime": (),
}
"""Runtimes whose processes the host does not see, with the arguments they get where none are configured."""
_KNOWN: Final = frozenset({*PREFERRED, *_VIRTUAL, "youki"})
_TAKES: Final = "--runtime takes the name or the path of an OCI runtime, such as crun or runc"
_CACHE: Final = "runtime-probe.json"
_PROBE_TIMEOUT_S: Final = 10.0

# Compiled on use, since answers are kept and this is rarely needed.
_FIRST_LINE: Final = r"\s*([A-Za-z][\w.-]*?)(?:\s+version)?\s*:?\s+(?:release-)?v?(\d+)(?:\.(\d+))?(?:\.(\d+))?"
# Every OCI runtime says which runtime-spec it follows; podman, conmon or bash have no such line.
_SPEC_LINE: Final = r"(?im)^\s*(?:oci )?specs?\s*:"


class Probe(Struct, frozen=True):
    """What ``--version`` of one binary said; ``mtime_ns`` and ``size_bytes`` say for how long it holds."""

    name: str
    version: tuple[int, int, int]
    has_seccomp: bool
    mtime_ns: int
    size_bytes: int


def choose(name_or_path: str, run_root: Path, arguments: tuple[str, ...] = ()) -> OciRuntime:
    """Return the runtime of this name or path; "" is the first of ``PREFERRED`` that works here.

    ``arguments``: for a runtime of ``_VIRTUAL``, in place of what stands there.

    Blocks for some ms the first time a binary is seen; after that its answer is kept below ``run_root``.

    Raises:
        MissingTool: it is not installed, is too old, or is no OCI runtime; names the Debian package.
    """
    if name_or_path:
        return _load(_locate(name_or_path), run_root, arguments)
    reasons = []
    for name in PREFERRED:
        try:
            return _whole_here(_load(_locate(name), run_root))
        except MissingTool as error:
            reasons.append(error.message)
    raise MissingTool(f"no OCI runtime works here: {'; '.join(reasons)}", hint=f"apt install {PREFERRED[0]}")


def _whole_here(runtime: OciRuntime) -> OciRuntime:
    if not runtime.filters_devices:
        raise MissingTool(f"{runtime.name} cannot filter devices on this host: cgroup2 without CAP_SYS_RESOURCE")
    return runtime


def _filters_devices(name: str) -> bool:
    # crun (1.8) lifts the limit on locked memory before it loads the device filter of cgroup2, and gives up when it may
    # not; runc tries without.
    return name != "crun" or cgroup.mode() != "v2" or limits.may_lock_memory()


def _locate(name_or_path: str) -> Path:
    if "/" not in name_or_path:
        try:
            return command.find_program(name_or_path, package=name_or_path)
        except MissingTool:
            if name_or_path in _PACKAGED:
                raise
            raise MissingTool(f"there is no runtime {name_or_path!r} on PATH", hint=_TAKES) from None
    path = Path(os.path.abspath(name_or_path))
    if not path.is_file() or not os.access(path, os.X_OK):
        raise MissingTool(f"no runtime at {path}", hint=_TAKES)
    return path


def _load(path: Path, run_root: Path, arguments: tuple[str, ...] = ()) -> OciRuntime:
    probe = _cached_probe(path, run_root)
    oldest = _OLDEST.get(probe.name)
    if oldest is not None and probe.version < oldest:
        wanted, found = _dotted(oldest[:2]), _dotted(probe.version[:2])
        raise MissingTool(
            f"{path} is {probe.name} {found}, too old", hint=f"needs {wanted} or newer: apt install {probe.name}"
        )
    return OciRuntime(
        path,
        run_root / "runtime" / probe.name,
        name=probe.name,
        # crun (1.8 and newer) refuses hosts that have both cgroup versions mounted.
        hide_unified=probe.name == "crun" and cgroup.mode() == "hybrid",
        shows_processes=probe.name not in _VIRTUAL,
        supports_seccomp=probe.has_seccomp,
        filters_devices=_filters_devices(probe.name),
        arguments=(arguments or _VIRTUAL[probe.name]) if probe.name in _VIRTUAL else (),
        version=_dotted(probe.version),
        holes=holes(probe.name, probe.version),
    )


def holes(name: str, version: tuple[int, int, int]) -> tuple[str, ...]:
    """Return a sentence for each way out of a container that this version is known for."""
    return tuple(
        f"{name} {_dotted(version)} is older than {_dotted(fixes[0])}, which closes {what}:"
        " update it, unless your distribution has mended its package"
        for what, fixes in _FIXES.get(name, ())
        if version < fixes[0] or any(fix[:2] == version[:2] and version < fix for fix in fixes)
    )


def _dotted(version: tuple[int, ...]) -> str:
    return ".".join(map(str, version))


def _cached_probe(path: Path, run_root: Path) -> Probe:
    status = path.stat()
    cache = run_root / _CACHE
    known: dict[str, Probe] = {}
    # A cache that cannot be read is no cache: it is rewritten below.
    with suppress(OSError, msgspec.DecodeError):
        known = msgspec.json.decode(read_small(cache), type=dict[str, Probe])
    probe = known.get(str(path))
    if probe is None or (probe.mtime_ns, probe.size_bytes) != (status.st_mtime_ns, status.st_size):
        probe = _probe(path, status)
        _remember(cache, known | {str(path): probe})
    return probe


def _remember(cache: Path, known: dict[str, Probe]) -> None:
    draft = cache.with_name(f".{cache.name}.{os.getpid()}")
    # Two engines at once may forget each other's entry; the next call asks again.
    with suppress(OSError):
        cache.parent.mkdir(mode=0o711, parents=True, exist_ok=True)
        draft.write_bytes(msgspec.json.encode(known))
        draft.replace(cache)


def _probe(path: Path, status: os.stat_result) -> Probe:
    try:
        done = command.run([str(path), "--version"], timeout_s=_PROBE_TIMEOUT_S)
    except DeadlineExceeded as error:
        raise MissingTool(f"{path} does not answer --version", hint="is it an OCI runtime?") from error
    probe = parse_version(done.stdout, mtime_ns=status.st_mtime_ns, size_bytes=status.st_size)
    if done.returncode != 0 or probe is None:
        raise MissingTool(f"{path} is not an OCI runtime", hint="use crun, runc, or the path of another one")
    return probe


def parse_version(text: str, *, mtime_ns: int = 0, size_bytes: int = 0) -> Probe | None:
    """Return what a runtime's ``--version`` says, or None when that is no OCI runtime's answer."""
    match = re.match(_FIRST_LINE, text)
    if match is None or not (re.search(_SPEC_LINE, text) or match[1] in _KNOWN):
        return None
    # crun lists what it was built with ("+SECCOMP"), runc names its libseccomp. Others say nothing and have their own.
    has_seccomp = match[1] not in _OLDEST or "+SECCOMP" in text or "libseccomp" in text
    version = (int(match[2]), int(match[3] or 0), int(match[4] or 0))
    return Probe(match[1], version, has_seccomp, mtime_ns, size_bytes)

"""The system call filter: containers-common's profile turned into the runtime-spec's ``linux.seccomp``.

The profile speaks of architectures, capabilities and kernel versions; config.json wants a flat list for this machine.
(containers-common: seccomp.json(5); runtime-spec: config-linux.md, "Seccomp".)

containers-common relies on capabilities where Docker's profile relies on the filter: it lets any process make a user
namespace, which is the way to most of the kernel's privileged code. ``harden`` closes that, as Docker does. And each
architecture of the filter costs a runtime 4 to 6 ms whenever it compiles one, so what cannot run here is left out.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

from bento.errors import MissingTool, UsageError

PROFILES: Final = (Path("/etc/containers/seccomp.json"), Path("/usr/share/containers/seccomp.json"))
"""The administrator's own first."""

ADMINISTRATORS: Final = PROFILES[0]

PACKAGE: Final = "golang-github-containers-common"

# uname's machine -> (libseccomp's constant, the name profiles use in includes/excludes, which is Go's GOARCH)
_ARCHITECTURES: Final = {
    "x86_64": ("SCMP_ARCH_X86_64", "amd64"),
    "aarch64": ("SCMP_ARCH_AARCH64", "arm64"),
    "armv7l": ("SCMP_ARCH_ARM", "arm"),
    "i686": ("SCMP_ARCH_X86", "x86"),
    "ppc64le": ("SCMP_ARCH_PPC64LE", "ppc64le"),
    "riscv64": ("SCMP_ARCH_RISCV64", "riscv64"),
    "s390x": ("SCMP_ARCH_S390X", "s390x"),
}


_CAP_SYS_ADMIN: Final = "CAP_SYS_ADMIN"

# What Docker's profile gives only to holders of a capability.
_GATED: Final = {
    _CAP_SYS_ADMIN: frozenset(
        (
            "fsconfig",
            "fsmount",
            "fsopen",
            "fspick",
            "mount",
            "mount_setattr",
            "move_mount",
            "open_tree",
            "pivot_root",
            "setns",
            "umount",
            "umount2",
            "unshare",
        )
    ),
    "CAP_SYS_BOOT": frozenset(("reboot",)),
    "CAP_SYSLOG": frozenset(("syslog",)),
}
_KEY_RINGS: Final = frozenset(("add_key", "keyctl", "request_key"))  # no namespace separates them: refused to all
_KEXEC: Final = frozenset(("kexec_load", "kexec_file_load"))  # another kernel for the whole machine
_CLONE: Final = frozenset(("clone", "clone3"))
_SOCKET: Final = frozenset(("socket",))
_NETLINK, _AF_ALG, _AF_VSOCK = 16, 38, 40
_AUDIT: Final = 9  # NETLINK_AUDIT
_FAMILIES: Final = range(64)  # with room: AF_MAX is 46
_PROTOCOLS: Final = range(32)  # of netlink: MAX_LINKS
_INT: Final = 0xFFFFFFFF
"""The kernel looks at these bits of an int; a filter that compared all 64 could be given other ones (seccomp(2))."""

_CLONE_NAMESPACES: Final = 0x7E020000  # every CLONE_NEW* flag, linux/sched.h
_EPERM: Final = 1
_EINVAL: Final = 22
_ENOSYS: Final = 38
_IA32: Final = Path("/proc/sys/abi/vsyscall32")  # there when an x86_64 kernel has 32-bit emulation (vdso32-setup.c)


class _When(Struct, frozen=True):
    caps: tuple[str, ...] | None = None
    arches: tuple[str, ...] | None = None
    min_kernel: str = msgspec.field(default="", name="minKernel")


class _Rule(Struct, frozen=True):
    action: str
    names: list[str] = []
    name: str = ""
    args: list[dict[str, Any]] | None = None
    errno_ret: int | None = msgspec.field(default=None, name="errnoRet")
    includes: _When | None = None
    excludes: _When | None = None


class _ArchMap(Struct, frozen=True):
    architecture: str
    sub_architectures: list[str] | None = msgspec.field(default=None, name="subArchitectures")


class _Profile(Struct, frozen=True):
    default_action: str = msgspec.field(name="defaultAction")
    default_errno: int | None = msgspec.field(default=None, name="defaultErrnoRet")
    arch_map: list[_ArchMap] | None = msgspec.field(default=None, name="archMap")
    architectures: list[str] | None = None
    syscalls: list[_Rule] = []


def load(paths: Sequence[Path] = PROFILES) -> tuple[bytes, Path]:
    """Return the profile in force on this machine and where it stands.

    Raises MissingTool, with the Debian package, when there is none: running without a filter must be asked for.
    """
    for path in paths:
        try:
            return path.read_bytes(), path
        except FileNotFoundError:
            continue
    raise MissingTool(f"no seccomp profile at {paths[-1]}", hint=f"apt install {PACKAGE}")


def for_capabilities(capabilities: Iterable[str]) -> dict[str, Any]:
    """Return ``linux.seccomp`` for this machine: the administrator's profile as it is, or the packaged one hardened."""
    held = frozenset(capabilities)
    profile, path = load()
    machine, kernel = os.uname().machine, kernel_version()
    filtered = convert(profile, held, machine=machine, kernel=kernel, has_ia32=_IA32.exists())
    if path != ADMINISTRATORS:
        filtered = harden(filtered, held, machine=machine)
    return without_kexec(filtered) if "CAP_SYS_BOOT" in held else filtered


def of_user(profile: str, capabilities: Iterable[str]) -> dict[str, Any]:
    """Return ``linux.seccomp`` of a profile of the user's, as it is: a file's path, or a text, which begins with {.

    Raises UsageError.
    """
    is_text = profile.startswith("{")
    try:
        return convert(
            profile.encode() if is_text else Path(profile).read_bytes(),
            frozenset(capabilities),
            machine=os.uname().machine,
            kernel=kernel_version(),
            has_ia32=_IA32.exists(),
        )
    except OSError as error:
        raise UsageError(f"seccomp profile {profile}: {error.strerror}") from None
    except MissingTool as error:
        said = error.message if is_text else f"{profile}: {error.message}"
        raise UsageError(said, hint="see seccomp.json(5)") from None


def convert(
    profile: bytes, held: frozenset[str], *, machine: str, kernel: tuple[int, int], has_ia32: bool = True
) -> dict[str, Any]:
    """Return ``linux.seccomp`` for a process with these capabilities. Pure.

    Args:
        profile: JSON text of a containers-common profile.
        held: the bounding set, as in ``CAP_CHOWN``.
        machine: uname's machine name.
        kernel: major and minor version.
        has_ia32: whether an x86_64 kernel runs 32-bit programs. Without the architecture in the filter they are killed.

    Raises:
        MissingTool: the profile is not one.
    """
    try:
        parsed = msgspec.json.decode(profile, type=_Profile)
    except msgspec.DecodeError as error:
        raise MissingTool(f"unusable seccomp profile: {error}", hint=f"see {PROFILES[0]} and {PROFILES[1]}") from error
    native, arch = _ARCHITECTURES.get(machine, ("", ""))
    out: dict[str, Any] = {"defaultAction": parsed.default_action}
    if parsed.default_errno is not None:
        out["defaultErrnoRet"] = parsed.default_errno
    # x32 never took off, and kernels have it switched off; its programs are killed.
    unwanted = {"SCMP_ARCH_X32"} if has_ia32 else {"SCMP_ARCH_X32", "SCMP_ARCH_X86"}
    if architectures := [a for a in _architectures(parsed, native) if a == native or a not in unwanted]:
        out["architectures"] = architectures
    out["syscalls"] = [_flat(rule) for rule in parsed.syscalls if _applies(rule, held, arch, kernel)]
    return out


def harden(filtered: dict[str, Any], held: frozenset[str], *, machine: str) -> dict[str, Any]:
    """Return the filter with what Docker's profile denies denied. Pure.

    Without CAP_SYS_ADMIN a process may make no namespaces and no mounts, whatever file or user namespace would let it.
    clone3(2) hides its flags from filters, so it does not exist; libc then uses clone(2). Sockets of AF_VSOCK reach the
    hypervisor past the network namespace, those of AF_ALG the kernel's cryptography (CVE-2026-31431). What a 32-bit
    program asks for by socketcall(2) lies in memory, where no filter sees it.
    """
    denied = _KEY_RINGS.union(*(names for capability, names in _GATED.items() if capability not in held))
    taken = denied | _SOCKET | (frozenset() if _CAP_SYS_ADMIN in held else _CLONE)
    rules = [rule | {"names": [n for n in rule["names"] if n not in taken]} for rule in filtered["syscalls"]]
    rules = [rule for rule in rules if rule["names"]]
    rules.append({"names": sorted(denied), "action": "SCMP_ACT_ERRNO", "errnoRet": _EPERM})
    rules += _socket_rules(has_audit="CAP_AUDIT_WRITE" in held)
    if _CAP_SYS_ADMIN not in held:
        rules.append({"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": _ENOSYS})
        # clone(2): the flags come first, but second on s390. Denied ones fall to the profile's default, ENOSYS.
        flags = 1 if machine == "s390x" else 0
        args = [_masked(flags, _CLONE_NAMESPACES, 0)]
        rules.append({"names": ["clone"], "action": "SCMP_ACT_ALLOW", "args": args})
    return filtered | {"syscalls": rules}


def _socket_rules(*, has_audit: bool) -> list[dict[str, Any]]:
    """Return the rules for socket(2): all families but two, and netlink's audit only with CAP_AUDIT_WRITE, as before.

    A filter has no "any but these" of one argument, so what is left over is allowed in blocks that a mask can name.
    """
    excluded = {_AF_ALG, _AF_VSOCK, *(() if has_audit else (_NETLINK,))}
    allowed = [[_masked(0, *block)] for block in _blocks(_FAMILIES, excluded)]
    denied = [([_masked(0, _INT, family)], _EPERM) for family in (_AF_ALG, _AF_VSOCK)]
    if not has_audit:
        netlink = _masked(0, _INT, _NETLINK)
        allowed += [[netlink, _masked(2, *block)] for block in _blocks(_PROTOCOLS, {_AUDIT})]
        denied.append(([netlink, _masked(2, _INT, _AUDIT)], _EINVAL))
    rule = {"names": sorted(_SOCKET)}
    return [
        *(rule | {"action": "SCMP_ACT_ERRNO", "errnoRet": number, "args": args} for args, number in denied),
        *(rule | {"action": "SCMP_ACT_ALLOW", "args": args} for args in allowed),
    ]


def _blocks(values: range, excluded: set[int]) -> Iterator[tuple[int, int]]:
    """Yield (mask, value) for the blocks of a range, a power of two long, that hold none of the excluded ones."""
    if excluded.isdisjoint(values):
        yield _INT & ~(len(values) - 1), values.start
    elif len(values) > 1:
        half = len(values) // 2
        yield from _blocks(values[:half], excluded)
        yield from _blocks(values[half:], excluded)


def _masked(index: int, mask: int, value: int) -> dict[str, Any]:
    return {"index": index, "value": mask, "valueTwo": value, "op": "SCMP_CMP_MASKED_EQ"}


def without_kexec(filtered: dict[str, Any]) -> dict[str, Any]:
    """Return the filter with reboot(2) allowed, and with what else CAP_SYS_BOOT would open denied. Pure."""
    ours = _KEXEC | _GATED["CAP_SYS_BOOT"]
    rules = [rule | {"names": [n for n in rule["names"] if n not in ours]} for rule in filtered["syscalls"]]
    rules = [rule for rule in rules if rule["names"]]
    rules.append({"names": sorted(_GATED["CAP_SYS_BOOT"]), "action": "SCMP_ACT_ALLOW"})
    rules.append({"names": sorted(_KEXEC), "action": "SCMP_ACT_ERRNO", "errnoRet": _EPERM})
    return filtered | {"syscalls": rules}


def kernel_version() -> tuple[int, int]:
    """Return major and minor of the running kernel."""
    return _version(os.uname().release)


def _version(text: str) -> tuple[int, int]:
    major, _, rest = text.partition(".")
    minor = rest.partition(".")[0].partition("-")[0]
    return (int(major), int(minor) if minor.isdigit() else 0) if major.isdigit() else (0, 0)


def _architectures(profile: _Profile, native: str) -> list[str]:
    for entry in profile.arch_map or ():
        if entry.architecture == native:
            return [native, *(entry.sub_architectures or ())]
    return profile.architectures or ([native] if native else [])


def _applies(rule: _Rule, held: frozenset[str], arch: str, kernel: tuple[int, int]) -> bool:
    include, exclude = rule.includes, rule.excludes
    if exclude is not None:
        if exclude.arches and arch in exclude.arches:
            return False
        if exclude.caps and not held.isdisjoint(exclude.caps):
            return False
        if exclude.min_kernel and kernel >= _version(exclude.min_kernel):
            return False
    if include is not None:
        if include.arches and arch not in include.arches:
            return False
        if include.caps and not held.issuperset(include.caps):
            return False
        if include.min_kernel and kernel < _version(include.min_kernel):
            return False
    return True


def _flat(rule: _Rule) -> dict[str, Any]:
    flat: dict[str, Any] = {"names": rule.names or [rule.name], "action": rule.action}
    if rule.args:
        flat["args"] = rule.args
    if rule.errno_ret is not None:
        flat["errnoRet"] = rule.errno_ret
    return flat

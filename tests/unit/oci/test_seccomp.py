from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import msgspec
import pytest

from bento.errors import MissingTool
from bento.oci import seccomp

PROFILE: dict[str, Any] = {
    "defaultAction": "SCMP_ACT_ERRNO",
    "defaultErrnoRet": 38,
    "archMap": [
        {"architecture": "SCMP_ARCH_X86_64", "subArchitectures": ["SCMP_ARCH_X86", "SCMP_ARCH_X32"]},
        {"architecture": "SCMP_ARCH_AARCH64", "subArchitectures": ["SCMP_ARCH_ARM"]},
    ],
    "syscalls": [
        {
            "names": ["read", "unshare", "clone", "clone3", "keyctl"],
            "action": "SCMP_ACT_ALLOW",
            "args": [],
            "includes": {},
        },
        {"names": ["arch_prctl"], "action": "SCMP_ACT_ALLOW", "includes": {"arches": ["amd64"]}, "excludes": {}},
        {"names": ["chroot"], "action": "SCMP_ACT_ALLOW", "includes": {"caps": ["CAP_SYS_CHROOT"]}},
        {"names": ["chroot"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1, "excludes": {"caps": ["CAP_SYS_CHROOT"]}},
        {"names": ["ptrace"], "action": "SCMP_ACT_ALLOW", "includes": {"minKernel": "4.8"}},
        {
            "names": ["socket"],
            "action": "SCMP_ACT_ALLOW",
            "args": [{"index": 2, "value": 9, "valueTwo": 0, "op": "SCMP_CMP_NE"}],
        },
        {"name": "old_style", "action": "SCMP_ACT_ALLOW", "args": None},
    ],
}


def convert(*held: str, machine: str = "x86_64", kernel: tuple[int, int] = (6, 1), has_ia32: bool = True) -> Any:
    profile = msgspec.json.encode(PROFILE)
    return seccomp.convert(profile, frozenset(held), machine=machine, kernel=kernel, has_ia32=has_ia32)


def rules_for(result: Any, name: str) -> list[Any]:
    return [rule for rule in result["syscalls"] if name in rule["names"]]


def test_the_defaults_are_kept() -> None:
    result = convert()

    assert (result["defaultAction"], result["defaultErrnoRet"]) == ("SCMP_ACT_ERRNO", 38)


def test_only_architectures_that_can_run_here_are_filtered() -> None:
    assert convert()["architectures"] == ["SCMP_ARCH_X86_64", "SCMP_ARCH_X86"]
    assert convert(has_ia32=False)["architectures"] == ["SCMP_ARCH_X86_64"]
    assert convert(machine="aarch64")["architectures"] == ["SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"]
    assert "architectures" not in convert(machine="vax")


def test_rules_depend_on_architecture_capability_and_kernel() -> None:
    assert rules_for(convert(), "arch_prctl")
    assert not rules_for(convert(machine="aarch64"), "arch_prctl")
    assert rules_for(convert("CAP_SYS_CHROOT"), "chroot") == [{"names": ["chroot"], "action": "SCMP_ACT_ALLOW"}]
    assert rules_for(convert(), "chroot") == [{"names": ["chroot"], "action": "SCMP_ACT_ERRNO", "errnoRet": 1}]
    assert rules_for(convert(kernel=(4, 8)), "ptrace")
    assert not rules_for(convert(kernel=(4, 7)), "ptrace")


def test_rules_become_the_runtime_specs() -> None:
    assert rules_for(convert(), "socket")[0]["args"] == [{"index": 2, "value": 9, "valueTwo": 0, "op": "SCMP_CMP_NE"}]
    assert rules_for(convert(), "old_style") == [{"names": ["old_style"], "action": "SCMP_ACT_ALLOW"}]


def test_hardening_denies_namespaces_and_key_rings() -> None:
    result = seccomp.harden(convert(), frozenset(), machine="x86_64")

    for name in ("unshare", "mount", "setns", "keyctl", "add_key", "syslog", "reboot"):
        (rule,) = rules_for(result, name)
        assert (rule["action"], rule["errnoRet"]) == ("SCMP_ACT_ERRNO", 1)
    assert rules_for(result, "clone3") == [{"names": ["clone3"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}]
    (clone,) = rules_for(result, "clone")
    assert clone["args"][0]["value"] & 0x10000000  # CLONE_NEWUSER
    assert not clone["args"][0]["value"] & 0x100  # CLONE_VM: threads are fine
    assert rules_for(result, "read")


def test_hardening_leaves_an_administrators_container_its_namespaces_but_no_key_rings() -> None:
    result = seccomp.harden(convert(), frozenset(("CAP_SYS_ADMIN", "CAP_SYS_BOOT", "CAP_SYSLOG")), machine="x86_64")

    assert rules_for(result, "unshare")[0]["action"] == "SCMP_ACT_ALLOW"
    assert rules_for(result, "clone")[0] == rules_for(result, "read")[0]
    assert rules_for(result, "keyctl")[0]["action"] == "SCMP_ACT_ERRNO"
    assert not rules_for(result, "reboot")


def test_clone_has_its_flags_second_on_s390() -> None:
    (clone,) = rules_for(seccomp.harden(convert(), frozenset(), machine="s390x"), "clone")

    assert clone["args"][0]["index"] == 1


@pytest.mark.parametrize("profile", [b"", b"[]", b"{}", b'{"defaultAction": 1}'])
def test_an_unusable_profile_is_named(profile: bytes) -> None:
    with pytest.raises(MissingTool, match="seccomp"):
        seccomp.convert(profile, frozenset(), machine="x86_64", kernel=(6, 1))


def test_the_administrators_profile_comes_first(tmp_path: Path) -> None:
    mine, packaged = tmp_path / "mine.json", tmp_path / "packaged.json"
    packaged.write_bytes(b"packaged")

    assert seccomp.load((mine, packaged)) == (b"packaged", packaged)
    mine.write_bytes(b"mine")
    assert seccomp.load((mine, packaged)) == (b"mine", mine)


def test_no_profile_at_all_names_the_package(tmp_path: Path) -> None:
    with pytest.raises(MissingTool, match="apt install golang-github-containers-common"):
        seccomp.load((tmp_path / "none.json",))


@pytest.mark.parametrize(
    ("text", "version"),
    [("6.1.0-18-amd64", (6, 1)), ("5.10", (5, 10)), ("6.18.44-x", (6, 18)), ("7", (7, 0)), ("x", (0, 0))],
)
def test_kernel_versions_are_read(text: str, version: tuple[int, int]) -> None:
    assert seccomp._version(text) == version


def test_what_may_reboot_its_namespace_may_not_load_a_kernel() -> None:
    filtered = seccomp.without_kexec(
        {
            "defaultAction": "SCMP_ACT_ERRNO",
            "syscalls": [
                {"names": ["kexec_load", "read"], "action": "SCMP_ACT_ALLOW"},
                {"names": ["kexec_file_load"], "action": "SCMP_ACT_ALLOW"},
                {"names": ["reboot"], "action": "SCMP_ACT_ERRNO"},
            ],
        }
    )
    actions = {name: rule["action"] for rule in filtered["syscalls"] for name in rule["names"]}
    assert actions == {
        "read": "SCMP_ACT_ALLOW",
        "reboot": "SCMP_ACT_ALLOW",
        "kexec_load": "SCMP_ACT_ERRNO",
        "kexec_file_load": "SCMP_ACT_ERRNO",
    }
    names = [name for rule in filtered["syscalls"] for name in rule["names"]]
    assert len(names) == len(set(names))


def _answer(rules: list[dict[str, Any]], *arguments: int) -> int:
    """What a filter says to a call: 0 is let through."""
    for rule in rules:
        if all(arguments[arg["index"]] & arg["value"] == arg["valueTwo"] for arg in rule["args"]):
            return rule.get("errnoRet", 0)
    return errno.ENOSYS


@pytest.mark.parametrize("has_audit", [True, False])
def test_all_sockets_but_those_of_two_families_are_let_through(has_audit: bool) -> None:
    held = frozenset(["CAP_AUDIT_WRITE"] if has_audit else [])
    rules = rules_for(seccomp.harden(convert(), held, machine="x86_64"), "socket")
    for family in range(64):
        for protocol in range(32):
            expected = errno.EPERM if family in (38, 40) else 0
            if (family, protocol) == (16, 9) and not has_audit:
                expected = errno.EINVAL
            assert _answer(rules, family, 1, protocol) == expected, (family, protocol)
    assert _answer(rules, 40 | 7 << 40, 1, 0) == errno.EPERM

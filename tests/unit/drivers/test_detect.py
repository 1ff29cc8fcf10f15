"""Runtimes are found, asked once, and refused with the way out."""

from __future__ import annotations

from pathlib import Path

import pytest

from bento import command
from bento.drivers.runtime import detect
from bento.errors import MissingTool
from bento.kernel import cgroup
from bento.oci import limits

CRUN = "crun version {version}\ncommit: f8a0\nrundir: /run/crun\nspec: 1.0.0\n+SYSTEMD +SECCOMP +EBPF\n"


def program(path: Path, says: str, status: int = 0) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text(f"#!/bin/sh\necho run >> {path}.count\ncat <<'END'\n{says}\nEND\nexit {status}\n")
    path.chmod(0o755)
    return path


def runs(path: Path) -> int:
    return Path(f"{path}.count").read_text().count("run")


@pytest.fixture
def bin_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    directory = tmp_path / "bin"
    directory.mkdir()
    monkeypatch.setattr(command, "find_program", lambda name, package: _find(directory, name, package))
    return directory


def _find(directory: Path, name: str, package: str) -> Path:
    if (directory / name).exists():
        return directory / name
    raise MissingTool(f"the program {name} is missing", hint=f"apt install {package}")


def test_a_path_is_used_as_it_is_and_named_by_what_it_says(tmp_path: Path) -> None:
    binary = program(tmp_path / "my-own", CRUN.format(version="1.8.1"))

    runtime = detect.choose(str(binary), tmp_path / "run")

    assert (runtime.name, runtime.path) == ("crun", binary)
    assert runtime.shows_processes
    assert runtime.supports_seccomp
    assert runtime.monitor_arguments() == ["--root", str(tmp_path / "run" / "runtime" / "crun")]


def test_it_is_asked_once_and_again_only_when_it_changed(tmp_path: Path) -> None:
    binary = program(tmp_path / "crun", CRUN.format(version="1.8.1"))

    for _ in range(3):
        detect.choose(str(binary), tmp_path / "run")
    assert runs(binary) == 1
    program(binary, CRUN.format(version="1.14") + "longer")
    detect.choose(str(binary), tmp_path / "run")
    assert runs(binary) == 2


def test_a_broken_cache_is_no_cache(tmp_path: Path) -> None:
    binary = program(tmp_path / "crun", CRUN.format(version="1.8.1"))
    (tmp_path / "run").mkdir()
    (tmp_path / "run" / "runtime-probe.json").write_text("{broken")

    assert detect.choose(str(binary), tmp_path / "run").name == "crun"
    assert list((tmp_path / "run").iterdir()) == [tmp_path / "run" / "runtime-probe.json"]


def test_crun_is_preferred_and_runc_taken_when_crun_is_too_old(bin_dir: Path, tmp_path: Path) -> None:
    program(bin_dir / "runc", "runc version 1.1.5+ds1\nspec: 1.0.2-dev\nlibseccomp: 2.5.4")
    assert detect.choose("", tmp_path / "a").name == "runc"
    program(bin_dir / "crun", CRUN.format(version="0.17"))
    assert detect.choose("", tmp_path / "b").name == "runc"
    program(bin_dir / "crun", CRUN.format(version="1.8.1"))
    assert detect.choose("", tmp_path / "c").name == "crun"


def test_crun_is_passed_over_where_it_cannot_work(
    bin_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    program(bin_dir / "runc", "runc version 1.1.5+ds1\nspec: 1.0.2-dev\nlibseccomp: 2.5.4")
    program(bin_dir / "crun", CRUN.format(version="1.8.1"))
    monkeypatch.setattr(cgroup, "mode", lambda: "v2")

    monkeypatch.setattr(limits, "may_lock_memory", lambda: False)
    assert detect.choose("", tmp_path / "run").name == "runc"
    assert detect.choose("crun", tmp_path / "run").name == "crun"
    monkeypatch.setattr(limits, "may_lock_memory", lambda: True)
    assert detect.choose("", tmp_path / "run").name == "crun"


def test_none_at_all_says_what_to_install(bin_dir: Path, tmp_path: Path) -> None:
    with pytest.raises(MissingTool, match=r"crun is missing.*runc is missing.*apt install crun"):
        detect.choose("", tmp_path / "run")


@pytest.mark.parametrize(
    ("name", "hint"), [("runsc", "runsc"), ("nosuch", "--runtime takes"), ("youki", "--runtime takes")]
)
def test_only_a_package_that_there_is_is_named(bin_dir: Path, tmp_path: Path, name: str, hint: str) -> None:
    with pytest.raises(MissingTool) as raised:
        detect.choose(name, tmp_path / "run")
    assert name in raised.value.message
    assert hint in raised.value.hint
    assert ("apt" in raised.value.hint) == (name == "runsc")


def test_too_old_names_version_and_package(tmp_path: Path) -> None:
    binary = program(tmp_path / "crun", CRUN.format(version="0.17"))

    with pytest.raises(MissingTool, match=r"crun 0.17, too old \(needs 1.0 or newer: apt install crun\)"):
        detect.choose(str(binary), tmp_path / "run")


@pytest.mark.parametrize(
    ("says", "status"),
    [
        ("podman version 4.3.1", 0),
        ("conmon version 2.1.6\ncommit: unknown", 0),
        ("GNU bash, version 5.2.15(1)-release", 0),
        ("sleep (GNU coreutils) 9.1", 0),
        ("", 0),
        ("", 1),
        (CRUN.format(version="1.8.1"), 1),
    ],
)
def test_other_programs_are_not_taken_for_runtimes(tmp_path: Path, says: str, status: int) -> None:
    with pytest.raises(MissingTool, match="not an OCI runtime"):
        detect.choose(str(program(tmp_path / "it", says, status)), tmp_path / "run")


def test_no_file_there_is_said(tmp_path: Path) -> None:
    with pytest.raises(MissingTool, match="no runtime at"):
        detect.choose(str(tmp_path / "nowhere"), tmp_path / "run")


@pytest.mark.parametrize(
    ("text", "name", "version"),
    [
        ("runsc version release-20221219.0\nspec: 1.0.2", "runsc", (20221219, 0, 0)),
        ("youki version 0.3.3\ncommit: 1234", "youki", (0, 3, 3)),
        ("kata-runtime  : 3.2.0\n   commit   : abc\n   OCI specs: 1.0.2-dev", "kata-runtime", (3, 2, 0)),
        ("railcar version v1.0.4\nspec: 1.0.0", "railcar", (1, 0, 4)),
    ],
)
def test_kin_of_crun_and_runc_are_recognised(text: str, name: str, version: tuple[int, int, int]) -> None:
    probe = detect.parse_version(text)

    assert probe is not None
    assert (probe.name, probe.version) == (name, version)


def test_gvisor_hides_its_processes(tmp_path: Path) -> None:
    binary = program(tmp_path / "runsc", "runsc version release-20221219.0\nspec: 1.0.2")

    assert not detect.choose(str(binary), tmp_path / "run").shows_processes


def test_only_crun_on_a_hybrid_host_needs_another_view(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cgroup, "mode", lambda: "hybrid")
    crun = program(tmp_path / "crun", CRUN.format(version="1.8.1"))
    runc = program(tmp_path / "runc", "runc version 1.1.5\nspec: 1.0.2\nlibseccomp: 2.5.4")

    assert detect.choose(str(crun), tmp_path / "run")._hide_unified
    assert not detect.choose(str(runc), tmp_path / "run")._hide_unified


def test_a_virtualised_runtime_gets_its_arguments_or_those_configured(tmp_path: Path) -> None:
    binary = program(tmp_path / "runsc", "runsc version release-20221219.0\nspec: 1.0.2")
    root = ["--root", str(tmp_path / "run" / "runtime" / "runsc")]

    own = detect.choose(str(binary), tmp_path / "run")
    given = detect.choose(str(binary), tmp_path / "run", ("--platform=kvm",))

    assert own.monitor_arguments() == [*root, "--platform=ptrace", "--network=none"]
    assert given.monitor_arguments() == [*root, "--platform=kvm"]
    other = program(tmp_path / "crun", CRUN.format(version="1.8.1"))
    assert "--platform=kvm" not in detect.choose(str(other), tmp_path / "run", ("--platform=kvm",)).monitor_arguments()


@pytest.mark.parametrize(
    ("name", "version", "known"),
    [
        ("runc", (1, 1, 5), ["2024-21626", "2025-31133"]),
        ("runc", (1, 1, 12), ["2025-31133"]),
        ("runc", (1, 2, 7), ["2025-31133"]),
        ("runc", (1, 2, 8), []),
        ("runc", (1, 3, 2), ["2025-31133"]),
        ("runc", (1, 3, 3), []),
        ("runc", (1, 4, 0), []),
        ("crun", (1, 8, 1), []),
    ],
)
def test_a_version_from_before_a_fix_is_told(name: str, version: tuple[int, int, int], known: list[str]) -> None:
    found = detect.holes(name, version)
    assert len(found) == len(known)
    assert all(f"CVE-{number}" in line for line, number in zip(found, known, strict=True))

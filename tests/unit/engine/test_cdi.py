"""Devices of the Container Device Interface in the life of a container: their files, and what a start adds."""

from __future__ import annotations

import json
import os
import sys
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace

from bento.engine.resources import beside, cdi
from bento.errors import UsageError
from bento.model.container import ContainerSpec, Files, Mount, Sandbox
from bento.model.resources import Device
from bento.testing.drivers import FakeDrivers

GPU = "vendor.com/gpu=0"


@pytest.fixture
def directories(drivers: FakeDrivers, tmp_path: Path) -> tuple[Path, Path]:
    made = (tmp_path / "etc", tmp_path / "run")
    for directory in made:
        directory.mkdir()
    drivers.settings = replace(drivers.settings, cdi_directories=tuple(map(str, made)))
    return made


def write(path: Path, *, name: str = "0", for_all: dict[str, Any] | None = None, **edits: Any) -> Path:
    document = {"cdiVersion": "0.7.0", "kind": "vendor.com/gpu", "devices": [{"name": name, "containerEdits": edits}]}
    path.write_text(json.dumps(document | ({"containerEdits": for_all} if for_all else {})))
    path.chmod(0o644)
    return path


def spec(*names: str, **said: Any) -> ContainerSpec:
    return ContainerSpec(image="host", image_id="", layers=("/",), sandbox=Sandbox(cdi_devices=names or (GPU,)), **said)


def test_a_start_adds_what_the_file_says(drivers: FakeDrivers, directories: tuple[Path, Path], tmp_path: Path) -> None:
    library, program, link = tmp_path / "lib.so", tmp_path / "hook", tmp_path / "link"
    link.symlink_to(program)
    library.write_text("x")
    program.write_text("#!/bin/sh\n")
    program.chmod(0o755)
    write(
        directories[0] / "a.json",
        for_all={"env": ["ALL=1"]},
        env=["ONE=1"],
        deviceNodes=[{"path": "/dev/gpu0", "hostPath": "/dev/null", "permissions": "rw", "fileMode": 0o600, "gid": 7}],
        mounts=[{"hostPath": str(library), "containerPath": "/lib/x.so", "options": ["ro", "nosuid", "rbind"]}],
        additionalGids=[0, 4242],
        hooks=[{"hookName": "createContainer", "path": str(link), "args": ["hook", "x"], "timeout": 5}],
    )
    mine = Mount(kind="bind", source="/etc", destination="/lib/x.so/")
    added, hooks = cdi.added(drivers, spec(env=("ONE=0",), files=Files(mounts=(mine,))))
    assert added.env == ("ONE=0", "ALL=1", "ONE=1")
    assert added.files.mounts == (
        Mount(kind="bind", source=str(library), destination="/lib/x.so", read_only=True, options=("nosuid",)),
    )
    assert added.sandbox.devices == (
        Device(host_path="/dev/null", path="/dev/gpu0", access="rw", mode=0o600, gid=7, is_users=True),
    )
    assert added.sandbox.group_add == ("4242",)
    # What was looked at is what runs, whatever becomes of the link.
    assert hooks == {"createContainer": [{"path": str(program), "args": ["hook", "x"], "timeout": 5}]}


def test_others_files_are_left_alone(drivers: FakeDrivers, directories: tuple[Path, Path]) -> None:
    for name, content in (("a.json", "{"), ("b.json", "[]"), ("c.yaml", ":\n-"), ("d.txt", ""), ("e.json", "\xff")):
        (directories[1] / name).write_bytes(content.encode("latin-1"))
    (directories[1] / "f.json").mkdir()
    os.mkfifo(directories[1] / "g.json")
    (directories[1] / "h.json").symlink_to("nowhere")
    write(directories[1] / "open.json", env=["FROM=open"]).chmod(0o666)
    write(directories[0] / "link", env=["FROM=etc"])
    (directories[0] / "a.json").symlink_to("link")
    assert cdi.added(drivers, spec())[0].env == ("FROM=etc",)
    with pytest.raises(UsageError, match=r"no device other.com/gpu=0 .*/run/a.json.*\(and \d+ more\)"):
        cdi.check(drivers, ["other.com/gpu=0"])


def test_yaml_takes_its_reader(
    drivers: FakeDrivers, directories: tuple[Path, Path], monkeypatch: pytest.MonkeyPatch
) -> None:
    (directories[0] / "a.yaml").write_text(
        "cdiVersion: '0.5.0'\nkind: vendor.com/gpu\ndevices:\n- name: '0'\n  containerEdits:\n    env: [A=b]\n"
    )
    assert cdi.added(drivers, spec())[0].env == ("A=b",)
    monkeypatch.setitem(sys.modules, "yaml", None)
    with pytest.raises(UsageError, match=r"a.yaml is YAML, which takes PyYAML \(pip install 'bento\[cdi\]'"):
        cdi.check(drivers, [GPU])


@pytest.mark.parametrize(
    ("edits", "reason"),
    [
        ({"deviceNodes": [{"path": "/dev/no/such"}]}, "No such file"),
        ({"deviceNodes": [{"path": "/etc/passwd"}]}, "not the device"),
        ({"deviceNodes": [{"path": "/dev/x", "hostPath": "/dev/null", "type": "b"}]}, "not the device"),
        ({"deviceNodes": [{"path": "/dev/x", "hostPath": "/dev/null", "type": "c", "major": 9}]}, "not the device"),
        ({"deviceNodes": [{"path": "/etc/x", "hostPath": "/dev/null"}]}, "below /dev"),
        ({"deviceNodes": [{"path": "/dev/../etc/x", "hostPath": "/dev/null"}]}, "below /dev"),
        ({"mounts": [{"hostPath": "/no/such", "containerPath": "/a"}]}, "No such file"),
        ({"mounts": [{"hostPath": "/etc", "containerPath": "/proc"}]}, "nothing is mounted over /proc"),
        ({"mounts": [{"hostPath": "/etc", "containerPath": "/a", "options": ["rshared"]}]}, "cannot be shared"),
        ({"mounts": [{"hostPath": "/etc", "containerPath": "/a", "options": ["idmap"]}]}, "option idmap"),
        ({"mounts": [{"hostPath": "x", "containerPath": "/a", "type": "ext4"}]}, "file system ext4"),
        ({"hooks": [{"hookName": "poststart", "path": "/no/such"}]}, "No such file"),
        ({"hooks": [{"hookName": "poststart", "path": "/etc/passwd"}]}, "no program"),
    ],
)
def test_what_cannot_be_had_is_said_at_create(
    drivers: FakeDrivers, directories: tuple[Path, Path], edits: dict[str, Any], reason: str
) -> None:
    write(directories[0] / "a.json", **edits)
    with pytest.raises(UsageError, match=reason):
        beside.check_devices(drivers, (GPU,))
    with pytest.raises(UsageError, match=reason):
        cdi.added(drivers, spec())


def test_the_program_of_a_hook_is_roots_alone(
    drivers: FakeDrivers, directories: tuple[Path, Path], tmp_path: Path
) -> None:
    program = tmp_path / "hook"
    program.write_text("#!/bin/sh\n")
    program.chmod(0o777)
    write(directories[0] / "a.json", hooks=[{"hookName": "poststart", "path": str(program)}])
    with pytest.raises(UsageError, match="others than root may write"):
        cdi.check(drivers, [GPU])
    program.chmod(0o755)
    cdi.check(drivers, [GPU])


def test_numbers_that_are_right_and_no_permissions(drivers: FakeDrivers, directories: tuple[Path, Path]) -> None:
    node = {"path": "/dev/x", "hostPath": "/dev/null", "type": "u", "major": 1, "minor": 3, "permissions": "none"}
    write(directories[0] / "a.json", deviceNodes=[node])
    (device,) = cdi.added(drivers, spec())[0].sandbox.devices
    assert (device.access, device.mode, device.uid) == ("", None, None)

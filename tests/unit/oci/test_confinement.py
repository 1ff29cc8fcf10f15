"""AppArmor and SELinux, on trees of /sys as machines that have them show it: this project's own have neither."""

from __future__ import annotations

from pathlib import Path

import pytest

from bento.errors import UsageError
from bento.model.container import Sandbox
from bento.oci import confinement

APPARMOR = {
    "module/apparmor/parameters/enabled": "Y\n",
    "kernel/security/apparmor/profiles": "/usr/bin/man (enforce)\ndocker-default (enforce)\nweb (complain)\n",
}
SELINUX = {"fs/selinux/enforce": "1"}


@pytest.fixture
def machine(tmp_path: Path):
    """Lay out a /sys of these files."""

    def lay_out(files: dict[str, str]) -> Path:
        for name, text in files.items():
            (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
            (tmp_path / name).write_text(text)
        return tmp_path

    return lay_out


def test_what_is_not_asked_for_is_not_said(machine) -> None:
    sys = machine(APPARMOR | SELINUX)
    assert confinement.check(Sandbox(), sys) == ()
    assert confinement.words(Sandbox(), sys) == {}


def test_a_profile_is_obeyed_where_there_is_apparmor(machine) -> None:
    sys = machine(APPARMOR)
    for name in ("docker-default", "web", "unconfined"):
        assert confinement.check(Sandbox(apparmor=name), sys) == ()
        assert confinement.words(Sandbox(apparmor=name), sys) == {"apparmorProfile": name}
    with pytest.raises(UsageError, match="not loaded"):
        confinement.check(Sandbox(apparmor="nosuch"), sys)


@pytest.mark.parametrize("files", [{}, {"module/apparmor/parameters/enabled": "N\n"}], ids=["none", "off"])
def test_a_profile_is_a_note_where_there_is_none(machine, files) -> None:
    sys = machine(files)
    (note,) = confinement.check(Sandbox(apparmor="web"), sys)
    assert "web" in note
    assert confinement.words(Sandbox(apparmor="web"), sys) == {}
    assert confinement.check(Sandbox(apparmor="unconfined"), sys) == ()


def test_a_label_is_put_together_where_there_is_selinux(machine) -> None:
    asked = Sandbox(labels=("type:svirt_t", "level:s0:c1,c2"))
    (note,) = confinement.check(asked, machine({}))
    assert "svirt_t" in note
    sys = machine(SELINUX)
    assert confinement.check(asked, sys) == ()
    assert confinement.words(asked, sys) == {"selinuxLabel": "system_u:system_r:svirt_t:s0:c1,c2"}


@pytest.mark.parametrize(("files", "enforces"), [({}, False), (SELINUX, True), ({"fs/selinux/enforce": "0"}, False)])
def test_a_policy_is_enforced_where_the_kernel_says_so(machine, files: dict[str, str], enforces: bool) -> None:
    assert confinement.enforces_selinux(machine(files)) is enforces


def test_no_label_needs_no_selinux(machine) -> None:
    for sys in (machine({}), machine(SELINUX)):
        assert confinement.check(Sandbox(labels=("disable",)), sys) == ()
        assert confinement.words(Sandbox(labels=("disable",)), sys) == {}


@pytest.mark.parametrize("label", ["x", "type:", "colour:red", ""])
def test_other_labels_are_refused(machine, label) -> None:
    with pytest.raises(UsageError, match="label"):
        confinement.check(Sandbox(labels=(label,)), machine(SELINUX))

"""Files of the Container Device Interface: which are read, and which of them a device is taken from."""

from __future__ import annotations

from typing import Any

import pytest

from bento.errors import UsageError
from bento.oci import cdi


def file(path: str = "/etc/cdi/a.json", rank: int = 0, kind: str = "vendor.com/gpu", **said: Any) -> cdi.Described:
    document = {"cdiVersion": "1.1.0", "kind": kind, "devices": [{"name": "0"}]} | said
    return cdi.read(document, path, rank)


def device(name: str, **edits: Any) -> dict[str, Any]:
    return {"name": name, "containerEdits": edits}


def chosen(*names: str, files: list[cdi.Described], unread: list[str] | None = None) -> list[cdi.Edits]:
    return cdi.select(names, files, where="/etc/cdi or /var/run/cdi", unread=unread or [])


@pytest.mark.parametrize(
    ("said", "reason"),
    [
        ({"kind": "gpu"}, "bad kind"),
        ({"kind": "vendor.com/a/b"}, "bad kind"),
        ({"kind": "vendor.com/" + "x" * 64}, "bad kind"),
        ({"devices": []}, "no device"),
        ({"devices": [device("0"), device("0")]}, "twice"),
        ({"devices": [device("-x")]}, "bad name"),
        ({"devices": [{"name": 7}]}, "name"),
        ({"cdiVersion": "2.0.0"}, "not known"),
        ({"cdiVersion": 1}, "cdiVersion"),
        ({"more": 1}, "unknown field"),
        ({"devices": [device("0", colour="red")]}, "unknown field"),
        ({"containerEdits": {"env": ["=x"]}}, "bad variable"),
        ({"containerEdits": {"deviceNodes": [{"path": "/dev/a", "type": "x"}]}}, "bad device node"),
        ({"containerEdits": {"deviceNodes": [{"path": "/dev/a", "permissions": "rx"}]}}, "bad device node"),
        ({"containerEdits": {"mounts": [{"hostPath": "", "containerPath": "/a"}]}}, "no hostPath"),
        ({"containerEdits": {"hooks": [{"hookName": "later", "path": "/a"}]}}, "bad hook"),
        ({"containerEdits": {"hooks": [{"hookName": "poststart", "path": "a"}]}}, "bad hook"),
        ({"containerEdits": {"hooks": [{"hookName": "poststart", "path": "/a", "timeout": 0}]}}, "bad timeout"),
    ],
)  # fmt: skip
def test_what_is_no_file_of_cdi(said: dict[str, Any], reason: str) -> None:
    with pytest.raises(UsageError, match=reason):
        file(**said)


def test_what_is_no_document_at_all() -> None:
    documents: list[Any] = [None, [], "x", 1, {}]
    for document in documents:
        with pytest.raises(UsageError):
            cdi.read(document, "/etc/cdi/a.json", 0)


@pytest.mark.parametrize(
    ("version", "said"),
    [
        ("0.4.0", {"containerEdits": {"mounts": [{"hostPath": "/a", "containerPath": "/b", "type": "bind"}]}}),
        ("0.5.0", {"devices": [device("x", deviceNodes=[{"path": "/dev/a", "hostPath": "/dev/b"}])]}),
        ("0.5.0", {"devices": [device("0")]}),
        ("0.6.0", {"kind": "vendor.com/a.b", "devices": [device("x")]}),
        ("0.6.0", {"annotations": {"a": "b"}, "devices": [device("x")]}),
        ("0.7.0", {"devices": [device("x", additionalGids=[5])]}),
        ("0.7.0", {"devices": [device("x", intelRdt={"closID": "a"})]}),
        ("1.1.0", {"devices": [device("x", intelRdt={"schemata": []})]}),
        ("1.1.0", {"devices": [device("x", netDevices=[{"hostInterfaceName": "a", "name": "b"}])]}),
    ],
)  # fmt: skip
def test_a_file_has_nothing_that_is_newer_than_its_version(version: str, said: dict[str, Any]) -> None:
    major, minor, _ = map(int, version.split("."))
    before = f"{major}.{minor - 1}.0" if minor > 1 else "1.0.0"
    said = {"devices": [device("x")]} | said
    file(cdiVersion=version, **said)
    file(cdiVersion=f"v{version}", **said)
    with pytest.raises(UsageError, match=f"what {version} brought"):
        file(cdiVersion=before, **said)


def test_what_a_file_adds_for_all_comes_once_and_first() -> None:
    both = file(containerEdits={"env": ["ALL=1"]}, devices=[device("0", env=["D=0"]), device("1", env=["D=1"])])
    other = file("/etc/cdi/b.json", kind="other.com/net", devices=[device("x", env=["N=x"])])
    names = ("vendor.com/gpu=1", "other.com/net=x", "vendor.com/gpu=0", "vendor.com/gpu=1")
    env = [word for edits in chosen(*names, files=[both, other]) for word in edits.env]
    assert env == ["ALL=1", "D=1", "N=x", "D=0"]


def test_the_later_directory_wins_and_two_files_of_one_do_not() -> None:
    low = file("/etc/cdi/a.json", 0, devices=[device("0", env=["FROM=low"]), device("1", env=["ONLY=low"])])
    high = file("/var/run/cdi/a.json", 1, devices=[device("0", env=["FROM=high"])])
    assert [one.env for one in chosen("vendor.com/gpu=0", files=[low, high])] == [(), ("FROM=high",)]
    assert [one.env for one in chosen("vendor.com/gpu=1", files=[low, high])] == [(), ("ONLY=low",)]
    twin = file("/etc/cdi/b.json", 0, devices=[device("0")])
    assert chosen("vendor.com/gpu=0", files=[low, twin, high])
    with pytest.raises(UsageError, match=r"described twice: by /etc/cdi/a\.json and /etc/cdi/b\.json"):
        chosen("vendor.com/gpu=0", files=[low, twin])


def test_a_device_that_is_not_there() -> None:
    with pytest.raises(UsageError, match=r"no device vendor.com/gpu=9 \(of vendor.com/gpu there are 0\)"):
        chosen("vendor.com/gpu=9", files=[file()])
    with pytest.raises(UsageError, match="no file in /etc/cdi or /var/run/cdi has that kind"):
        chosen("other.com/gpu=0", files=[file()])
    with pytest.raises(UsageError, match=r"cannot be read: b.yaml: x \(and 1 more\)"):
        chosen("other.com/gpu=0", files=[file()], unread=["b.yaml: x", "c.yaml: y"])


@pytest.mark.parametrize(
    ("edits", "reason"),
    [
        ({"intelRdt": {"closID": "a"}}, "intelRdt"),
        ({"netDevices": [{"hostInterfaceName": "a", "name": "b"}]}, "netDevices"),
        ({"hooks": [{"hookName": "poststop", "path": "/a"}]}, "a stop does not wait"),
        ({"deviceNodes": [{"path": "/dev/a", "type": "p"}]}, "FIFO"),
    ],
)
def test_what_is_not_done_takes_the_device_that_asks_for_it_alone(edits: dict[str, Any], reason: str) -> None:
    mixed = file(devices=[device("0", **edits), device("1")])
    assert chosen("vendor.com/gpu=1", files=[mixed])
    with pytest.raises(UsageError, match=reason):
        chosen("vendor.com/gpu=0", files=[mixed])

"""The words of the sandbox, as Docker's users type them."""

from __future__ import annotations

import pytest

from bento.errors import UsageError
from bento.parse import sandbox


def test_each_security_option_is_its_field() -> None:
    words = [
        "no-new-privileges", "seccomp=p.json", "apparmor=web", "apparmor:unconfined", "label=type:svirt_t",
        "label:disable", "systempaths=unconfined",
    ]  # fmt: skip
    assert sandbox.parse_security(words, cwd="/srv") == {
        "no_new_privileges": True,
        "seccomp": "/srv/p.json",
        "apparmor": "unconfined",
        "labels": ("type:svirt_t", "disable"),
        "shows_system_paths": True,
    }
    assert sandbox.parse_security([]) == {}


@pytest.mark.parametrize("word", ["x", "seccomp", "apparmor=", "label", "systempaths=on", "no-new-privileges=maybe"])
def test_other_security_options_are_refused(word: str) -> None:
    with pytest.raises(UsageError, match="unknown security option"):
        sandbox.parse_security([word])


@pytest.mark.parametrize("text", ["c 1:3 r", "b *:* rwm", "a *:* m", "c 10:* mr"])
def test_device_rules(text: str) -> None:
    assert sandbox.parse_device_rule(text) == text


@pytest.mark.parametrize("text", ["", "c 1:3", "x 1:3 r", "c 1 r", "c 1:3 rr", "c 1:3 x", "c  1:3 r", "c 1:-3 r"])
def test_other_device_rules_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="bad device rule"):
        sandbox.parse_device_rule(text)


@pytest.mark.parametrize("text", ["vendor.com/gpu=0", "a/b=c", "v-1.com/net_x=GPU-1:2.3"])
def test_names_of_devices_of_cdi(text: str) -> None:
    assert sandbox.is_cdi(text)
    assert sandbox.parse_cdi(text) == text


@pytest.mark.parametrize("text", ["", "/dev/null", "a/b", "a=b", "a/b=", "/b=c", "1a/b=c", "a/b=c-", "a/b/c=d"])
def test_what_is_no_name_of_cdi(text: str) -> None:
    assert not sandbox.is_cdi(text)
    with pytest.raises(UsageError, match="bad device"):
        sandbox.parse_cdi(text)


@pytest.mark.parametrize(
    ("text", "names"),
    [
        ("all", ["all"]),
        ("2", ["0", "1"]),
        ("count=1", ["0"]),
        ("count=all", ["all"]),
        ("device=3", ["3"]),
        ('"device=0,GPU-ab"', ["0", "GPU-ab"]),
    ],
)
def test_gpus_are_devices_of_cdi(text: str, names: list[str]) -> None:
    assert sandbox.parse_gpus(text) == tuple(f"nvidia.com/gpu={name}" for name in names)


@pytest.mark.parametrize("text", ["", "x", "0", "-1", "1000", "device=", "device=a b", "all,capabilities=utility"])
def test_other_gpus_are_refused(text: str) -> None:
    with pytest.raises(UsageError, match="bad"):
        sandbox.parse_gpus(text)


@pytest.mark.parametrize("text", ["NET_ADMIN", "CAP_NET_ADMIN", "net_admin", "cap_Net_Admin"])
def test_capabilities_as_people_write_them(text: str) -> None:
    assert sandbox.parse_capability(text) == "CAP_NET_ADMIN"


@pytest.mark.parametrize("text", ["", "CAP_", "CAP_ALL", "NOPE", "CAP_CAP_KILL", "KILL "])
def test_what_is_no_capability(text: str) -> None:
    with pytest.raises(UsageError, match="unknown capability"):
        sandbox.parse_capability(text)


def test_several_capabilities_in_one_word() -> None:
    assert sandbox.parse_capabilities(["kill,CHOWN", "all"]) == ("CAP_KILL", "CAP_CHOWN", "ALL")
    assert sandbox.parse_capabilities([]) == ()

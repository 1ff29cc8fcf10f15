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

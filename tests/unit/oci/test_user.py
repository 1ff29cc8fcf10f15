from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from bento.errors import UsageError
from bento.model.container import MERGE, STRICT
from bento.oci.user import resolve

PASSWD = """root:x:0:0:root:/root:/bin/sh
# a comment
web:x:1000:1001:Web:/srv/web:/bin/sh
broken
negative:x:-1:0::/:
huge:x:99999999999:0::/:
nohome:x:1002:1002:::
1005:x:7:8:a name of digits:/seven:
"""
GROUP = """root:x:0:
web:x:1001:
video:x:44:web,other
audio:x:29:other
disk:x:6:web
short:x
odd:x:x:web
"""


@pytest.mark.parametrize(
    ("user", "expected"),
    [
        ("", (0, 0, (0,), "/root")),
        ("root", (0, 0, (0,), "/root")),
        ("0", (0, 0, (0,), "/root")),
        ("web", (1000, 1001, (1001, 44, 6), "/srv/web")),
        ("1000", (1000, 1001, (1001, 44, 6), "/srv/web")),
        ("web:audio", (1000, 29, (29,), "/srv/web")),
        ("web:5", (1000, 5, (5,), "/srv/web")),
        ("4242", (4242, 0, (0,), "/")),
        ("4242:4343", (4242, 4343, (4343,), "/")),
        (":44", (0, 44, (44,), "/root")),
        ("web:", (1000, 1001, (1001, 44, 6), "/srv/web")),
        ("1234:", (1234, 0, (0,), "/")),
        (":", (0, 0, (0,), "/root")),
        ("nohome", (1002, 1002, (1002,), "/")),
        ("1005", (7, 8, (8,), "/seven")),
    ],
)
def test_users_and_groups_are_found(user: str, expected: tuple[int, int, tuple[int, ...], str]) -> None:
    found = resolve(user, passwd=PASSWD, group=GROUP)

    assert (found.uid, found.gid, found.groups, found.home) == expected


def test_root_needs_no_files() -> None:
    found = resolve("", passwd="", group="")

    assert (found.uid, found.gid, found.groups, found.home) == (0, 0, (0,), "/")


@pytest.mark.parametrize(
    "user", ["nobody-here", "web:nogroup", "a:b:c", "::", "99999999999", "1:2147483648", "-1", "²"]
)
def test_what_cannot_be_resolved_is_a_usage_error(user: str) -> None:
    with pytest.raises(UsageError):
        resolve(user, passwd=PASSWD, group=GROUP)


@given(st.text(), st.text(), st.text())
def test_any_text_gives_ids_in_range_or_a_usage_error(user: str, passwd: str, group: str) -> None:
    try:
        found = resolve(user, passwd=passwd, group=group)
    except UsageError:
        return
    assert all(0 <= number < 2**31 for number in (found.uid, found.gid, *found.groups))


def test_groups_of_the_image_count_as_the_policy_says():
    passwd, group = "ann:x:5:6::/:/bin/sh\n", "staff:x:77:ann\nother:x:8:\n"
    for user, policy, groups in (
        ("ann:8", "", (8,)),
        ("ann:8", MERGE, (8, 77)),
        ("5", MERGE, (6, 77)),
        ("5", STRICT, (6,)),
        ("5", "", (6, 77)),
    ):
        assert resolve(user, passwd=passwd, group=group, policy=policy).groups == groups, (user, policy)

"""``-v`` and ``--mount``: what each word means, and what is said of a wrong one."""

from __future__ import annotations

from pathlib import Path

import pytest
from msgspec.structs import replace

from bento.engine.resources import mounting
from bento.errors import UsageError
from bento.model.container import Mount
from bento.parse.mounts import parse_mount, parse_volume, parse_volumes_from


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("/data", Mount(kind="volume", destination="/data")),
        ("v:/data", Mount(kind="volume", source="v", destination="/data")),
        ("v:/data:ro", Mount(kind="volume", source="v", destination="/data", read_only=True)),
        ("v:/data:rw,nocopy", Mount(kind="volume", source="v", destination="/data", no_copy=True)),
        ("/a:/b", Mount(kind="bind", source="/a", destination="/b")),
        ("/a:/b:ro,rslave", Mount(kind="bind", source="/a", destination="/b", read_only=True, options=("rslave",))),
        ("/a:/b:z,cached,rbind,exec", Mount(kind="bind", source="/a", destination="/b")),
        ("/a:/b:nosuid,bind", Mount(kind="bind", source="/a", destination="/b", options=("nosuid", "bind"))),
        ("v:/b:Z,noexec", Mount(kind="volume", source="v", destination="/b", options=("noexec",))),
        ("/a:/b:U,ro", Mount(kind="bind", source="/a", destination="/b", read_only=True, chown=True)),
        ("v:/b:U", Mount(kind="volume", source="v", destination="/b", chown=True)),
        ("./x/../a:/b", Mount(kind="bind", source="/home/a", destination="/b")),
    ],
)
def test_volume(text: str, expected: Mount) -> None:
    assert parse_volume(text, cwd="/home") == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "bad volume"), ("data", "absolute path"), (":/x", "bad volume"), ("v:x", "absolute"),
        ("v:/x:y", "'y'"), ("/a:/b:suid,nosuid", "bad volume"), ("v:/x:bind", "'bind'"),
        ("/a:/b:bind,rbind", "bad volume"), ("a/b:/x", "neither a volume's name nor a path"),
        ("/a:/b:nocopy", "'nocopy'"), ("v:/x:rslave", "'rslave'"), ("v:/x:ro,rw", "bad volume"),
        ("v:/x:", "''"), ("/data:ro", "bad volume"),
    ],
)  # fmt: skip
def test_bad_volume(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_volume(text)
    assert says in str(caught.value)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("dst=/x", Mount(kind="volume", destination="/x")),
        ("type=volume,source=v,target=/x,readonly", Mount(kind="volume", source="v", destination="/x", read_only=True)),
        ("src=v,destination=/x,volume-nocopy=true", Mount(kind="volume", source="v", destination="/x", no_copy=True)),
        ("src=v,dst=/x,volume-nocopy=0,ro=FALSE", Mount(kind="volume", source="v", destination="/x")),
        (
            "type=bind,src=/a,dst=/b,ro=1,bind-propagation=rshared",
            Mount(kind="bind", source="/a", destination="/b", read_only=True, options=("rshared",)),
        ),
        ('type=bind,"src=/a,""b",dst=/c', Mount(kind="bind", source='/a,"b', destination="/c")),
        ("type=bind,src=./a,dst=/b", Mount(kind="bind", source="/home/a", destination="/b")),
        (
            "type=tmpfs,dst=/x,tmpfs-size=64m,tmpfs-mode=0700",
            Mount(kind="tmpfs", destination="/x", options=("size=67108864", "mode=0700")),
        ),
    ],
)
def test_mount(text: str, expected: Mount) -> None:
    assert parse_mount(text, cwd="/home") == expected


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("", "has no value"), ("type=nfs,dst=/x", "unknown type 'nfs'"), ("type=bind,src=/a", "no destination"),
        ("dst=x", "no absolute path"), ("dst=", "empty value"), ("type=bind,dst=/x", "no source"),
        ("type=bind,src=a,dst=/x", "'a' is no path"), ("dst=/x,colour=red", "unknown key 'colour'"),
        ("type=tmpfs,src=a,dst=/x", "source is for type="), ("dst=/x,tmpfs-size=1m", "tmpfs-size is for type=tmpfs"),
        ("dst=/x,bind-propagation=rslave", "bind-propagation is for type=bind"),
        ("type=bind,src=/a,dst=/x,volume-nocopy", "volume-nocopy is for type=volume"),
        ("dst=/x,ro=maybe", "readonly=maybe"), ("dst=/x,target=/y", "destination is given twice"),
        ("type=bind,src=/a,dst=/x,bind-propagation=much", "bind-propagation=much"),
        ("type=tmpfs,dst=/x,tmpfs-size=much", "tmpfs-size"), ("type=tmpfs,dst=/x,tmpfs-size=0", "tmpfs-size=0"),
        ("type=tmpfs,dst=/x,tmpfs-mode=999", "tmpfs-mode=999"), ("type=tmpfs,dst=/x,tmpfs-mode=77777", "tmpfs-mode"),
        ('dst="/x', "quotes"), ("dst", "'dst' has no value"),
    ],
)  # fmt: skip
def test_bad_mount(text: str, says: str) -> None:
    with pytest.raises(UsageError) as caught:
        parse_mount(text)
    assert says in str(caught.value)


@pytest.mark.parametrize("word", ["z", "Z"])
def test_labels_are_refused_where_they_count(word: str) -> None:
    parse_volume(f"/a:/b:{word}")
    with pytest.raises(UsageError, match="SELinux"):
        parse_volume(f"/a:/b:{word}", has_selinux=True)
    parse_volume("/a:/b:cached", has_selinux=True)


def test_without_a_directory_of_the_caller_a_relative_source_is_refused() -> None:
    for parse, text in ((parse_volume, "./a:/b"), (parse_mount, "type=bind,src=../a,dst=/b")):
        with pytest.raises(UsageError, match="relative path"):
            parse(text)


@pytest.mark.parametrize("text", ["", ":", ":ro", "w:", "w:x", "w:ro:rw"])
def test_bad_container_to_take_volumes_from(text: str) -> None:
    with pytest.raises(UsageError, match="bad container"):
        parse_volumes_from(text)


def test_no_two_mounts_at_one_place() -> None:
    with pytest.raises(UsageError, match="two mounts at /x"):
        mounting.check([Mount(kind="volume", destination="/x"), Mount(kind="tmpfs", destination="/y/../x/")])


@pytest.mark.parametrize("destination", ["/", "//", "/..", "x", ""])
def test_nothing_is_mounted_on_the_root(destination: str) -> None:
    with pytest.raises(UsageError, match="destination"):
        mounting.check([Mount(kind="tmpfs", destination=destination)])


@pytest.mark.parametrize("kind", ["volume", "bind", "tmpfs"])
@pytest.mark.parametrize("destination", ["/proc", "/proc/", "//proc", "/x/../proc/sys", "/proc/self/attr"])
def test_nothing_is_mounted_over_proc(kind: str, destination: str) -> None:
    with pytest.raises(UsageError, match="nothing is mounted over /proc"):
        mounting.check([Mount(kind=kind, source="/etc" if kind == "bind" else "", destination=destination)])


def test_numbers_of_the_machine_may_be_others() -> None:
    mounting.check([Mount(kind="bind", source="/etc/passwd", destination="/proc/meminfo")])
    mounting.check([Mount(kind="tmpfs", destination="/process")])


def test_a_missing_source_is_refused_unless_it_is_to_be_made(tmp_path: Path) -> None:
    asked = Mount(kind="bind", source=str(tmp_path / "none"), destination="/x")
    with pytest.raises(UsageError, match="make it first"):
        mounting.check([asked])
    mounting.check([replace(asked, make_source=True)])
    with pytest.raises(UsageError, match="Not a directory"):
        mounting.check([replace(asked, source="/etc/passwd/x", make_source=True)])
    assert list(tmp_path.iterdir()) == []  # that is left to the start


@pytest.mark.parametrize("option", ["shared", "rshared"])
def test_nothing_is_shared_with_the_host(option: str) -> None:
    with pytest.raises(UsageError, match="use rslave"):
        mounting.check([Mount(kind="bind", source="/etc", destination="/x", options=(option,))])


def test_the_images_volumes_are_anonymous_where_nothing_else_is_wanted() -> None:
    asked = (Mount(kind="tmpfs", destination="/cache/"), Mount(kind="volume", destination="/mine"))
    done = mounting.complete(asked, ("/data", "/cache", "/data/", "/mine"))
    assert [(m.kind, m.destination, m.anonymous, len(m.source)) for m in done] == [
        ("tmpfs", "/cache/", False, 0), ("volume", "/mine", True, 64), ("volume", "/data", True, 64),
    ]  # fmt: skip

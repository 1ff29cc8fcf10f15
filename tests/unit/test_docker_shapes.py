"""Small records in Docker's words: what was pruned and changed, volumes, versions."""

from __future__ import annotations

from bento.docker import changes, disk, engine_info, volume
from bento.model.change import Change, Kind
from bento.model.disk import DiskUsage, Pruned, RemovedImage
from bento.model.volume import Volume


def test_changes_have_docker_s_numbers_and_letters() -> None:
    found = [Change(Kind.CHANGED, "/a"), Change(Kind.ADDED, "/a/b"), Change(Kind.DELETED, "/c")]
    assert [changes.line(each) for each in found] == ["C /a", "A /a/b", "D /c"]
    assert changes.document(found)[2] == {"Kind": 2, "Path": "/c"}


def test_what_was_pruned() -> None:
    image = RemovedImage(untagged=("docker.io/library/web:1",), deleted="sha256:a")
    assert disk.freed(
        Pruned(containers=("c",), networks=("n",), images=(image,), strays=("sha256:b",), freed_bytes=7)
    ) == {
        "ContainersDeleted": ["c"],
        "ImagesDeleted": [{"Untagged": "web:1"}, {"Deleted": "sha256:a"}, {"Deleted": "sha256:b"}],
        "NetworksDeleted": ["n"],
        "VolumesDeleted": [],
        "SpaceReclaimed": 7,
    }


def test_a_volume_in_inspect_and_in_a_listing() -> None:
    found = Volume(name="v", created_unix_ns=0, labels={"a": "1", "b": ""})
    shown = volume.inspect(found, "/srv/v", ["web"])
    assert (shown["Mountpoint"], shown["Anonymous"], shown["Containers"]) == ("/srv/v", False, ["web"])
    assert set(volume.fields(shown)) == set(volume.FIELDS)
    assert volume.fields(shown)["Labels"] == "a=1,b="


def test_client_and_server_have_one_version() -> None:
    shown = engine_info.version("1.2", python="3.11", kernel="6.1", machine="x86_64")
    assert list(shown) == ["Version", "Python", "Kernel", "Arch"]
    assert engine_info.version_fields(shown)["Client"] == engine_info.version_fields(shown)["Server"] == shown


def test_the_disk_in_words() -> None:
    usage = DiskUsage(
        images=(), images_bytes=4000, images_reclaimable_bytes=1000, containers=(), containers_bytes=0,
        containers_reclaimable_bytes=0, volumes=(), volumes_bytes=0, volumes_reclaimable_bytes=0,
    )  # fmt: skip
    lines = disk.fields(usage)
    assert [set(line) for line in lines] == [set(disk.FIELDS)] * 3
    assert (lines[0]["Size"], lines[0]["Reclaimable"], lines[1]["Reclaimable"]) == ("4kB", "1kB (25%)", "0B")

"""What is taken of the disk, as Docker's API has it."""

from __future__ import annotations

from bento.docker import disk
from bento.model.disk import DiskUsage, VolumeUsage


def test_volumes_say_what_they_take_and_one_that_has_gone_is_left_out():
    usage = DiskUsage(
        images=(), images_bytes=0, images_reclaimable_bytes=0, containers=(), containers_bytes=0,
        containers_reclaimable_bytes=0, volumes=(VolumeUsage(name="a", size_bytes=7, containers=("x", "y")),),
        volumes_bytes=7, volumes_reclaimable_bytes=0,
    )  # fmt: skip
    assert disk.volumes(usage, [{"Name": "a"}, {"Name": "new"}]) == [
        {"Name": "a", "UsageData": {"Size": 7, "RefCount": 2}}
    ]


def test_what_builds_have_kept_is_one_entry_where_there_is_something():
    assert disk.build_cache(0, 0) == []
    (entry,) = disk.build_cache(5, 1_700_000_000_000_000_000)
    assert (entry["Size"], entry["InUse"], entry["UsageCount"]) == (5, False, 0)
    assert entry["LastUsedAt"].startswith("2023-11-14T22:13:20")

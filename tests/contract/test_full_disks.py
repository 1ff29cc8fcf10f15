"""A full disk of every kind: the store opens, and takes the ends of all containers, whatever their number."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

KINDS = {
    "ext4-1k": ("40M", "mkfs.ext4 -q -b 1024 -i 16384"),
    "ext4-4k": ("40M", "mkfs.ext4 -q -b 4096 -i 16384"),
    "btrfs": ("120M", "mkfs.btrfs -q"),  # writes down all it has at each sign of fullness, which takes its time
    "xfs": ("310M", "mkfs.xfs -q"),  # no smaller one can be made
    "tmpfs": ("30M", ""),
}
MOUNT = """
set -eu
if [ -n "$MAKE" ]; then
    truncate -s "$SIZE" "$IMAGE"
    $MAKE "$IMAGE" >/dev/null 2>&1
    mount -o loop "$IMAGE" "$PLACE"  # detached by the kernel with the last mount, which goes with this namespace
else
    mount -t tmpfs -o "size=$SIZE" tmpfs "$PLACE"
fi
exec "$@"
"""
CODE = """
import os, sys
from pathlib import Path
import msgspec
from bento.drivers.state.sqlite import SqliteStore
from bento.model.container import Container, ContainerSpec, Status

COUNT = int(sys.argv[2])
path = Path(sys.argv[1]) / "root" / "bento.db"
spec = ContainerSpec(image="host", image_id="host", layers=("/",))
store = SqliteStore(path)
for number in range(COUNT):
    store.add(Container(id=f"{number:064}", name=f"c{number}", created_unix_ns=number, spec=spec))
store.close()

filler = os.open(path.parent.with_name("filler"), os.O_WRONLY | os.O_CREAT)

def fill(fd):
    for size in (1 << 24, 1 << 20, 1 << 16, 1 << 12, 1 << 9):  # quickly, and to the last block
        end = os.fstat(fd).st_size
        try:
            while True:
                os.posix_fallocate(fd, end, size)
                end += size
        except OSError:
            continue
    os.fsync(fd)

for turn in range(2):
    fill(filler)
    store = SqliteStore(path)
    for number in range(turn, COUNT, 2):
        name = f"{number:064}"
        store.modify(name, lambda c: msgspec.structs.replace(c, status=Status.STOPPING))
        store.modify(name, lambda c: msgspec.structs.replace(c, status=Status.STOPPED, notes=("x" * 8000,)))
    store.close()
store = SqliteStore(path)
print(sum(c.status is Status.STOPPED and len(c.notes) == 1 for c in store.list()))
store.close()
"""


@pytest.mark.parametrize("kind", KINDS)
def test_c15_the_ends_of_all_are_recorded_on_a_full_disk(tmp_path: Path, kind: str) -> None:
    size, make = KINDS[kind]
    count = 12 if kind == "btrfs" else 60
    image, place = tmp_path / "image", tmp_path / "place"
    place.mkdir()
    done = subprocess.run(
        ["unshare", "-m", "/bin/sh", "-c", MOUNT, "sh", sys.executable, "-c", CODE, str(place), str(count)],
        env=os.environ
        | {"SIZE": size, "MAKE": make, "IMAGE": str(image), "PLACE": str(place)}
        | {"PYTHONPATH": os.pathsep.join(sys.path), "PATH": f"{os.environ['PATH']}:/usr/sbin:/sbin"},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert (done.returncode, done.stdout) == (0, f"{count}\n"), done.stderr
    if make:
        attached = subprocess.run(["losetup", "-j", str(image)], capture_output=True, text=True, check=True)
        assert attached.stdout == ""

"""What the tests of hostile layers and images commit, and what must be refused."""

from __future__ import annotations

import os
import subprocess
import tarfile
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest

from bento.drivers.image.store.image_store import ImageStore
from bento.errors import BentoError
from bento.model.image import Image

from support import layers
from support.layers import (
    Entry,
    bundle,
    sha256,
    tar,
)


def commit(images: ImageStore, *stack: Sequence[Entry] | bytes, **lies: Any) -> Image:
    made = bundle([each if isinstance(each, bytes) else tar(each) for each in stack], **lies)
    with images.ingest() as ingest:
        return ingest.commit(made.put(ingest))


def assert_refused(images: ImageStore, root: Path, match: str, *stack: Sequence[Entry] | bytes, **lies: Any) -> None:
    with pytest.raises(BentoError, match=match) as caught:
        commit(images, *stack, **lies)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 1000
    left = [path for path in root.glob("[bl]*s/**/*") if path.is_file() or path.parent.name == "layers"]
    assert left == []


def top(image: Image) -> Path:
    return Path(image.layers[0])


def record(text: str, kind: bytes = b"x") -> bytes:
    """Return a pax header that says one thing."""
    size = next(n for n in range(len(text), len(text) + 12) if len(f"{n} {text}\n") == n)
    content = f"{size} {text}\n".encode()
    header = tarfile.TarInfo("pax")
    header.type, header.size = kind, size
    return header.tobuf(tarfile.USTAR_FORMAT) + content + bytes(-size % 512)


def assert_names(directory: Path, names: list[str]) -> None:
    assert sorted(os.listdir(directory)) == names


def zstd(content: bytes) -> bytes:
    return subprocess.run(["zstd", "-q", "-c"], input=content, capture_output=True, check=True).stdout


def commit_packed(images: ImageStore, packed: bytes, whole: bytes) -> Image:
    made = bundle([packed], diff_ids=[sha256(whole)], layer={"mediaType": layers.GZIP})
    with images.ingest() as ingest:
        return ingest.commit(made.put(ingest))


def nothing_outside(store: Path, root: Path) -> Iterator[None]:
    """For a fixture: hold that nothing beside ``root``, in ``store``, is made, changed or linked meanwhile."""
    victims = store / "victims"
    (victims / "inner").mkdir(parents=True)
    (victims / "precious").write_text("precious")
    before = sorted(os.listdir(store))
    yield
    assert sorted(set(os.listdir(store)) - {"root"}) == before
    assert sorted(path.name for path in victims.rglob("*")) == ["inner", "precious"]
    there = (victims / "precious").stat()
    assert ((victims / "precious").read_text(), there.st_nlink, there.st_uid) == ("precious", 1, 0)
    assert [path.name for path in root.glob("layers/tmp-*")] == []

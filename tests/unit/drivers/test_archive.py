"""Archives of images: what is read, and that nothing else gets through. No root, no unpacking."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from bento.drivers.image.base import ArchivedImage
from bento.drivers.image.formats import writer
from bento.drivers.image.formats.reader import read_archive
from bento.errors import StorageUnusable, UsageError
from bento.oci.image import OCI_CONFIG, OCI_MANIFEST, Descriptor
from bento.oci.image_writing import write_manifest
from bento.oci.layout import as_oci, blob_path, digest_of, generate, image_manifest, media_type
from bento.oci.platform import Platform

AMD64 = Platform("linux", "amd64")
LAYER = b"a layer, as far as anybody looks here" * 50
PACKED = gzip.compress(LAYER, mtime=0)
CONFIG = json.dumps({
    "architecture": "amd64", "os": "linux", "config": {"Healthcheck": {"Test": ["CMD", "x"]}},
    "rootfs": {"type": "layers", "diff_ids": [digest_of(LAYER)]},
}).encode()  # fmt: skip
MANIFEST = write_manifest(
    Descriptor(OCI_CONFIG, digest_of(CONFIG), len(CONFIG)),
    [Descriptor("application/vnd.oci.image.layer.v1.tar+gzip", digest_of(PACKED), len(PACKED))],
)
NAME = "docker.io/library/web:1"


class Inbox:
    """A store of blobs that unpacks nothing."""

    def __init__(self, base: Path) -> None:
        self.directory = base / "in"
        self.directory.mkdir()
        self.blobs: dict[str, bytes] = {}
        self.begun: list[str] = []

    def find(self, digest: str) -> Path | None:
        if digest not in self.blobs:
            return None
        path = self.directory.parent / digest
        path.write_bytes(self.blobs[digest])
        return path

    def add_file(self, digest: str, path: Path) -> None:
        self.blobs[digest] = path.read_bytes()

    def begin_layer(self, digest: str) -> None:
        self.begun.append(digest)

    def add_bytes(self, content: bytes) -> str:
        self.blobs[digest_of(content)] = content
        return digest_of(content)


@pytest.fixture
def inbox(tmp_path: Path) -> Inbox:
    return Inbox(tmp_path)


def tar(files: dict[str, bytes | str]) -> bytes:
    """An archive; text is a symbolic link."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            if isinstance(content, str):
                info.type, info.linkname = tarfile.SYMTYPE, content
                archive.addfile(info)
            else:
                info.size = len(content)
                archive.addfile(info, io.BytesIO(content))
    return out.getvalue()


def load(content: bytes, inbox: Inbox, tmp_path: Path, *, head: int = 0) -> list[ArchivedImage]:
    path = tmp_path / "archive"
    path.write_bytes(content[head:])
    with open(path, "rb") as file:
        return read_archive(file.fileno(), content[:head], inbox, AMD64)  # type: ignore[arg-type]


def docker(entries: object, **files: bytes | str) -> dict[str, bytes | str]:
    return {"manifest.json": json.dumps(entries).encode(), "config.json": CONFIG, "layer.tar": LAYER, **files}


ENTRY = {"Config": "config.json", "RepoTags": ["web:1"], "Layers": ["layer.tar"]}


def layout(index: object = None, **files: bytes | str) -> dict[str, bytes | str]:
    entry = {"mediaType": OCI_MANIFEST, "digest": digest_of(MANIFEST), "size": len(MANIFEST)}
    named = entry | {"annotations": {"org.opencontainers.image.ref.name": "web:1"}}
    blobs = {f"blobs/sha256/{digest_of(each)[7:]}": each for each in (MANIFEST, CONFIG, PACKED)}
    whole = {"schemaVersion": 2, "manifests": [named]} if index is None else index
    return {"index.json": json.dumps(whole).encode(), "oci-layout": b"{}", **blobs, **files}


@pytest.mark.parametrize("head", [0, 6, 600])
@pytest.mark.parametrize("files", [docker([ENTRY]), layout()], ids=["docker", "oci"])
@pytest.mark.parametrize("order", [1, -1])
def test_both_kinds_are_read_in_any_order_of_their_files(inbox, tmp_path, files, order, head):
    (found,) = load(tar(dict(list(files.items())[::order])), inbox, tmp_path, head=head)
    assert found.names == (NAME,)
    manifest = image_manifest(inbox.blobs[found.manifest_digest])
    assert inbox.blobs[manifest.config.digest] == CONFIG  # as it came, with all that OCI has no word for
    assert [inbox.blobs[layer.digest] for layer in manifest.layers] in ([LAYER], [PACKED])
    assert inbox.begun == [layer.digest for layer in manifest.layers]


def test_a_layer_of_several_images_may_be_a_link(inbox, tmp_path):
    other = json.dumps(json.loads(CONFIG) | {"author": "somebody else"}).encode()
    entries = [ENTRY, {"Config": "other.json", "Layers": ["other/layer.tar"]}]
    more: dict[str, bytes | str] = {"other.json": other, "other/layer.tar": "../layer.tar"}
    found = load(tar(docker(entries, **more)), inbox, tmp_path)
    assert [each.names for each in found] == [(NAME,), ()]
    assert inbox.begun == [digest_of(LAYER)] * 2


def test_an_image_that_is_listed_for_each_of_its_names_is_one(inbox, tmp_path):
    entries = [ENTRY, ENTRY | {"RepoTags": ["web:2"]}, ENTRY | {"RepoTags": None}]
    (found,) = load(tar(docker(entries)), inbox, tmp_path)
    assert found.names == (NAME, "docker.io/library/web:2")


def test_layers_are_typed_by_what_they_hold(inbox, tmp_path):
    (found,) = load(tar(docker([ENTRY], **{"layer.tar": PACKED})), inbox, tmp_path)
    assert image_manifest(inbox.blobs[found.manifest_digest]).layers[0].media_type.endswith("tar+gzip")


def test_what_is_here_already_is_not_written_again(inbox, tmp_path):
    inbox.add_bytes(PACKED)
    load(tar(layout()), inbox, tmp_path)
    assert digest_of(PACKED)[7:] not in {path.name for path in inbox.directory.iterdir()}


DEEP = b"[" * 100_000
BROKEN: dict[str, dict[str, bytes | str]] = {
    "empty": {},
    "no list": {"layer.tar": LAYER},
    "only an old list": {"repositories": b"{}", "layer.tar": LAYER},
    "no images": docker([]),
    "not a list": docker({}),
    "not JSON": docker([], **{"manifest.json": b"{nope"}),
    "not text": docker([], **{"manifest.json": b"\xff\xfe"}),
    "too deep": docker([], **{"manifest.json": DEEP}),
    "no config": docker([ENTRY | {"Config": "none.json"}]),
    "no layer": docker([ENTRY | {"Layers": ["none.tar"]}]),
    "too few layers": docker([ENTRY | {"Layers": []}]),
    "too many layers": docker([ENTRY | {"Layers": ["layer.tar"] * 2}]),
    "a layer outside": docker([ENTRY | {"Layers": ["../../../etc/passwd"]}]),
    "a link outside": docker([ENTRY | {"Layers": ["out"]}], out="/etc/passwd"),
    "a link to itself": docker([ENTRY | {"Layers": ["loop"]}], loop="loop"),
    "a bad name": docker([ENTRY | {"RepoTags": ["A B"]}]),
    "a bad config": docker([ENTRY], **{"config.json": b"[]"}),
    "a config too large": docker([ENTRY], **{"config.json": b" " * (9 << 20)}),
    "an index that is no index": layout(json.loads(MANIFEST)),
    "an empty index": layout({"schemaVersion": 2, "manifests": []}),
    "an index of nonsense": layout({"schemaVersion": 2, "manifests": [{}]}),
    "a manifest that is missing": {k: v for k, v in layout().items() if digest_of(MANIFEST)[7:] not in k},
    "a layer that is missing": {k: v for k, v in layout().items() if digest_of(PACKED)[7:] not in k},
    "a blob that is another": layout(**{f"blobs/sha256/{'0' * 64}": b"x"}),
}


@pytest.mark.parametrize("name", BROKEN)
def test_what_makes_no_sense_is_refused_in_one_line(inbox, tmp_path, name):
    with pytest.raises(UsageError) as caught:
        load(tar(BROKEN[name]), inbox, tmp_path)
    assert "\n" not in str(caught.value)
    assert len(str(caught.value)) < 400


@settings(max_examples=150)
@given(data=st.data())
def test_damaged_archives_are_read_or_refused(data, tmp_path_factory):
    content = bytearray(tar(data.draw(st.sampled_from([docker([ENTRY]), layout()]))))
    for at in data.draw(st.lists(st.integers(0, len(content) - 1), max_size=6)):
        content[at] = data.draw(st.integers(0, 255))
    base = tmp_path_factory.mktemp("damaged")
    try:
        found = load(bytes(content[: data.draw(st.integers(0, len(content)))]), Inbox(base), base)
    except UsageError:
        return
    assert found


def saved(tmp_path: Path) -> tuple[writer.Saved, Path]:
    blobs = tmp_path / "blobs"
    for content in (MANIFEST, CONFIG, PACKED):
        path = blob_path(blobs, digest_of(content))
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(content)
    return writer.Saved(MANIFEST, (NAME, "localhost/other:2")), blobs


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_what_is_written_is_read_again(inbox, tmp_path, kind):
    image, blobs = saved(tmp_path)
    target = tmp_path / "out.tar"
    writer.write([image], blobs, kind, target)
    with tarfile.open(target) as archive:
        names = archive.getnames()
    assert len(names) == len(set(names))
    assert ("manifest.json" in names) == (kind == "docker-archive")
    (found,) = load(target.read_bytes(), inbox, tmp_path)
    assert found == ArchivedImage(digest_of(MANIFEST), image.names)


def test_a_name_with_another_digest_than_what_is_written_has_is_not_written(inbox, tmp_path):
    image, blobs = saved(tmp_path)
    own, other = f"localhost/web@{digest_of(MANIFEST)}", f"localhost/web@{digest_of(CONFIG)}"
    writer.write([writer.Saved(image.manifest, (own, other))], blobs, "oci-archive", tmp_path / "out.tar")
    assert load((tmp_path / "out.tar").read_bytes(), inbox, tmp_path)[0].names == (own,)


@pytest.mark.parametrize("kind", ["docker-archive", "docker-dir"])
def test_a_target_that_fails_is_named_and_what_was_there_stays(tmp_path, kind):
    image, blobs = saved(tmp_path)
    with pytest.raises(UsageError, match="/dev/null/x"):
        writer.write([image], blobs, kind, Path("/dev/null/x"))
    with pytest.raises(StorageUnusable, match="/dev/full cannot be written: its disk is full"):
        writer.write([image], blobs, "docker-archive", Path("/dev/full"))


def test_a_broken_store_leaves_no_half_of_a_file(tmp_path):
    image, blobs = saved(tmp_path)
    blob_path(blobs, digest_of(PACKED)).unlink()
    (tmp_path / "out").mkdir()
    for kind in writer.FORMATS:
        with pytest.raises(OSError, match=digest_of(PACKED)[7:]):
            writer.write([image], blobs, kind, tmp_path / "out" / kind)
    assert list((tmp_path / "out").iterdir()) == []


def test_docker_manifests_are_put_into_the_words_of_oci_and_nothing_else_changes():
    docker_type = "application/vnd.docker.distribution.manifest.v2+json"
    document = json.loads(MANIFEST) | {"mediaType": docker_type}
    document["config"]["mediaType"] = "application/vnd.docker.container.image.v1+json"
    document["layers"][0]["mediaType"] = "application/vnd.docker.image.rootfs.diff.tar.gzip"
    content = json.dumps(document).encode()
    assert media_type(content) == docker_type
    assert as_oci(content) == MANIFEST
    assert as_oci(MANIFEST) is MANIFEST
    assert generate(CONFIG, image_manifest(MANIFEST).layers) == MANIFEST

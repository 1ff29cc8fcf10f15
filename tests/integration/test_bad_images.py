"""A day-one corpus of malformed images: each is refused by ``bento load`` with one line, and nothing of it stays."""

from __future__ import annotations

import gzip
import io
import json
import tarfile
from pathlib import Path
from typing import Any

from bento.oci.image import OCI_MANIFEST

from support.cli import BentoCli, Roots
from support.layers import Bundle, bundle, descriptor, file, sha256, tar
from support.workload import ONE_RUNTIME, assert_clean

pytestmark = ONE_RUNTIME

LAYER = tar([file("bin/sh")])
OTHER = "sha256:" + "0" * 64


def pack(files: dict[str, bytes]) -> bytes:
    made = io.BytesIO()
    with tarfile.open(fileobj=made, mode="w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return made.getvalue()


def oci(made: Bundle, **replaced: bytes) -> bytes:
    """An OCI archive; ``index`` and ``layout`` replace its files."""
    entry = descriptor(OCI_MANIFEST, made.blobs.get(made.manifest, b"")) | {"digest": made.manifest}
    index = replaced.get("index") or json.dumps({"schemaVersion": 2, "manifests": [entry]}).encode()
    layout = replaced.get("layout") or b'{"imageLayoutVersion": "1.0.0"}'
    blobs = {f"blobs/sha256/{digest[7:]}": content for digest, content in made.blobs.items()}
    return pack({"oci-layout": layout, "index.json": index, **blobs})


def without(made: Bundle, number: int) -> Bundle:
    """The layer (0), the configuration (1) or the manifest (2) is missing."""
    digest = list(made.blobs)[number]
    return Bundle({each: content for each, content in made.blobs.items() if each != digest}, made.manifest)


def renamed(made: Bundle, number: int) -> Bundle:
    """A blob with another content than its name says."""
    digest = list(made.blobs)[number]
    return Bundle(made.blobs | {digest: made.blobs[digest] + b" "}, made.manifest)


def docker(manifest: Any, **more: bytes) -> bytes:
    config = json.dumps({"os": "linux", "rootfs": {"type": "layers", "diff_ids": [sha256(LAYER)]}}).encode()
    listed = manifest if isinstance(manifest, bytes) else json.dumps(manifest).encode()
    return pack({"config.json": config, "layer.tar": LAYER, "manifest.json": listed, **more})


GOOD = bundle([LAYER])
DEEP = b"[" * 200_000

CORPUS: dict[str, bytes] = {
    "empty file": b"",
    "text": b"this is no archive\n" * 100,
    "zeros": bytes(10240),
    "a truncated archive": oci(GOOD)[:3000],
    "a damaged header": oci(GOOD)[:1024] + b"x" * 512 + oci(GOOD)[1536:],
    "a truncated gzip stream": gzip.compress(oci(GOOD))[:-200],
    "an archive of something else": pack({"hello": b"world"}),
    "no layout version": oci(GOOD, index=b"{}"),
    "index of no image": oci(GOOD, index=b'{"schemaVersion": 2, "manifests": []}'),
    "index that is no JSON": oci(GOOD, index=b"{"),
    "index that nests": oci(GOOD, index=DEEP),
    "index that is no UTF-8": oci(GOOD, index=b'{"schemaVersion": 2, "\xff": 1}'),
    "index with a wrong digest": oci(GOOD, index=json.dumps(
        {"schemaVersion": 2, "manifests": [descriptor(OCI_MANIFEST, b"x", digest="sha256:../../etc")]}).encode()),
    "index to nowhere": oci(GOOD, index=json.dumps(
        {"schemaVersion": 2, "manifests": [descriptor(OCI_MANIFEST, b"x")]}).encode()),
    "no layer": oci(without(GOOD, 0)),
    "no configuration": oci(without(GOOD, 1)),
    "no manifest": oci(without(GOOD, 2)),
    "a layer that is another": oci(renamed(GOOD, 0)),
    "a configuration that is another": oci(renamed(GOOD, 1)),
    "a manifest that is another": oci(renamed(GOOD, 2)),
    "manifest of schema 1": oci(bundle([LAYER], manifest={"schemaVersion": 1})),
    "manifest of schema 9": oci(bundle([LAYER], manifest={"schemaVersion": 9})),
    "manifest and index at once": oci(bundle([LAYER], manifest={"manifests": []})),
    "manifest without layers": oci(bundle([LAYER], manifest={"layers": []})),
    "manifest with a negative size": oci(bundle([LAYER], layer={"size": -1})),
    "manifest with a wrong size": oci(bundle([LAYER], layer={"size": len(LAYER) + 1})),
    "manifest with text for a size": oci(bundle([LAYER], layer={"size": "many"})),
    "manifest of an unknown layer type": oci(bundle([LAYER], layer={"mediaType": "text/plain"})),
    "an artifact, no image": oci(bundle([LAYER], manifest={
        "config": descriptor("application/vnd.example", b"{}")})),
    "configuration of no layers": oci(bundle([LAYER], config={"rootfs": {"type": "layers", "diff_ids": []}})),
    "configuration without a rootfs": oci(bundle([LAYER], config={"rootfs": None})),
    "configuration for another system": oci(bundle([LAYER], config={"os": "windows"})),
    "configuration with a NUL": oci(bundle([LAYER], config={"config": {"Cmd": ["a\0b"]}})),
    "configuration with a number for a command": oci(bundle([LAYER], config={"config": {"Cmd": 7}})),
    "a wrong DiffID": oci(bundle([LAYER], diff_ids=[OTHER])),
    "a layer that is no archive": oci(bundle([b"text " * 1000])),
    "a layer that escapes": oci(bundle([tar([file("../x")])])),
    "docker: a list of nothing": docker([]),
    "docker: no list": docker({"Config": 1}),
    "docker: no such configuration": docker([{"Config": "nowhere", "Layers": ["layer.tar"]}]),
    "docker: no such layer": docker([{"Config": "config.json", "Layers": ["../../etc/passwd"]}]),
    "docker: too few layers": docker([{"Config": "config.json", "Layers": []}]),
    "docker: a bad name": docker([{"Config": "config.json", "Layers": ["layer.tar"], "RepoTags": ["UPPER CASE"]}]),
    "docker: a configuration that is none": docker(
        [{"Config": "config.json", "Layers": ["layer.tar"]}], **{"config.json": b"[]"}),
}  # fmt: skip


def test_each_is_refused_with_one_line(bento: BentoCli, roots: Roots, tmp_path: Path) -> None:
    wrong = []
    for name, content in CORPUS.items():
        archive = tmp_path / "archive"
        archive.write_bytes(content)
        done = bento("load", "-q", "-i", archive, check=False)
        lines = done.stderr.strip().splitlines()
        left = [path.name for place in ("layers/*", "blobs/*/*") for path in roots.root.glob(place)]
        if done.returncode == 0 or len(lines) != 1 or left or done.stdout:
            wrong.append(f"{name}: {done}, left: {left}")
    assert not wrong, "\n".join(wrong)
    assert bento("images", "-q").stdout == ""
    assert bento("doctor").returncode == 0
    archive.write_bytes(oci(GOOD))
    assert "Loaded image" in bento("load", "-q", "-i", archive).stdout  # it is not the corpus' way of packing
    bento("rmi", *bento("images", "-q").stdout.split())
    assert_clean(bento)


def test_what_is_pulled_and_refused_leaves_nothing(bento: BentoCli, roots: Roots, tmp_path: Path) -> None:
    """Not even for the next pull: it would be refused again. What another image has stays."""
    good, hostile = tar([file("x")]), tar([file("../out")])
    bento("pull", f"oci:{bundle([good]).write_layout(tmp_path / 'good')}:latest")
    before = sorted(roots.root.glob("blobs/*/*"))
    for number, layers in enumerate([[hostile], [good, hostile], [tar([file("a"), file("a")])]]):
        layout = bundle(layers).write_layout(tmp_path / str(number))
        for _ in range(2):
            assert "layer sha256:" in bento.fails("pull", "-q", f"oci:{layout}:latest")
            assert sorted(roots.root.glob("blobs/*/*")) == before
    assert bento("doctor").returncode == 0
    bento("rmi", "-a")


def test_a_blob_that_the_disk_has_damaged_is_not_saved(bento: BentoCli, roots: Roots, tmp_path: Path) -> None:
    made = bundle([LAYER])
    source = f"oci:{made.write_layout(tmp_path / 'layout')}:latest"
    bento("pull", source)
    image = bento("images", "-q").stdout.strip()
    blob = roots.root / "blobs" / "sha256" / sha256(LAYER).removeprefix("sha256:")
    blob.write_bytes(bytes([LAYER[0] ^ 1]) + LAYER[1:])
    line = bento.fails("save", "-o", tmp_path / "saved", image)
    assert "is damaged" in line
    assert "remove the image" in line
    assert not (tmp_path / "saved").exists()
    bento("rmi", "-f", image)
    bento("pull", source)
    bento("save", "-o", tmp_path / "saved", bento("images", "-q").stdout.strip())
    bento("rmi", "-a")


def test_an_archive_in_a_pipe_is_judged_the_same(bento: BentoCli) -> None:
    line = bento.fails("load", stdin="no archive " * 1000)
    assert "archive" in line

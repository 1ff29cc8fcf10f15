"""Images by way of the engine: which names an archive may give, which manifest stays, and what is left of a refusal."""

from __future__ import annotations

import io
import json
import os
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from bento import Engine, Settings, log
from bento.engine.images.images import record
from bento.errors import BadImage, Conflict, NotFound, UsageError
from bento.oci.image import OCI_MANIFEST

from support.cli import Roots
from support.layers import Bundle, bundle, descriptor, file, sha256, tar

LAYER = tar([file("bin/sh", b"#!")])
PLAIN = bundle([LAYER], config={"created": "2026-01-02T03:04:05Z"})
PACKED = bundle([LAYER], config={"created": "2026-01-02T03:04:05Z"}, is_packed=True)
"""The same image with another manifest."""


@pytest.fixture
def engine(roots: Roots) -> Iterator[Engine]:
    with Engine(Settings(root=roots.root, run_root=roots.run_root)) as made:
        yield made


@pytest.fixture
def warnings(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    said: list[str] = []
    monkeypatch.setattr(log, "sink", lambda _, text: said.append(text))
    return said


def write(path: Path, files: dict[str, bytes]) -> Path:
    with tarfile.open(path, "w") as archive:
        for name, content in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(content)
            archive.addfile(info, io.BytesIO(content))
    return path


def oci(path: Path, made: Bundle, *names: str) -> Path:
    """An OCI archive with an entry for each name."""
    entry = descriptor(OCI_MANIFEST, made.blobs[made.manifest])
    entries = [entry | {"annotations": {"org.opencontainers.image.ref.name": name}} for name in names] or [entry]
    blobs = {f"blobs/sha256/{digest[7:]}": content for digest, content in made.blobs.items()}
    index = json.dumps({"schemaVersion": 2, "manifests": entries}).encode()
    return write(path, {"oci-layout": b'{"imageLayoutVersion": "1.0.0"}', "index.json": index, **blobs})


def docker(path: Path, *names: str) -> Path:
    """A docker-archive of PLAIN."""
    layer, config, _ = PLAIN.blobs.values()
    listed = json.dumps([{"Config": "config.json", "Layers": ["layer.tar"], "RepoTags": names}]).encode()
    return write(path, {"config.json": config, "layer.tar": layer, "manifest.json": listed})


def put(engine: Engine, made: Bundle, *names: str) -> str:
    """Record an image as a pull does; return its id."""
    with engine.drivers.images.ingest() as ingest:
        return ingest.commit(made.put(ingest), lambda image: record(engine.drivers, image, *names, events=())).id


def blobs(engine: Engine) -> set[str]:
    return set(engine.drivers.images.idle_blobs())


OTHER = f"docker.io/library/web@sha256:{'a' * 64}"


def test_a_digest_in_a_name_is_believed_only_when_it_is_that_of_the_manifest(engine, tmp_path, warnings) -> None:
    own = f"docker.io/library/web@{PACKED.manifest}"
    loaded = engine.load(oci(tmp_path / "a", PACKED, OTHER, own, "web:1"))
    assert [each.name for each in loaded] == [own, "docker.io/library/web:1"]
    assert len(warnings) == 1
    assert OTHER in warnings[0]
    with pytest.raises(NotFound):
        engine.inspect_image(OTHER)


def test_a_docker_archive_gives_no_name_with_a_digest(engine, tmp_path, warnings) -> None:
    (loaded,) = engine.load(docker(tmp_path / "a", OTHER))
    assert (loaded.name, loaded.image.names) == ("", ())
    assert len(warnings) == 1


@pytest.mark.parametrize("kind", ["oci", "docker"])
def test_no_archive_can_be_the_machine_itself(engine, tmp_path, warnings, kind: str) -> None:
    archive = (
        oci(tmp_path / "a", PACKED, "host:latest", "web:1")
        if kind == "oci"
        else docker(tmp_path / "a", "host:latest", "web:1")
    )
    assert [each.name for each in engine.load(archive)] == ["docker.io/library/web:1"]
    assert engine.images()[0].names == ("docker.io/library/web:1",)
    assert len(warnings) == 1


def test_each_name_is_loaded_once(engine, tmp_path) -> None:
    names = ["docker.io/library/web:1", "docker.io/library/web:2", "localhost/x:1"]
    assert [each.name for each in engine.load(oci(tmp_path / "a", PACKED, *names))] == names


def test_the_manifest_that_an_image_came_with_first_stays(engine, tmp_path) -> None:
    put(engine, PACKED, "docker.io/library/web:1")
    (loaded,) = engine.load(docker(tmp_path / "a", "other:1"))
    assert loaded.image.digest == PACKED.manifest
    assert loaded.image.names == ("docker.io/library/other:1", "docker.io/library/web:1")
    assert blobs(engine) == set(PACKED.blobs)
    assert not engine.doctor()
    engine.save(["web:1"], tmp_path / "saved", "oci-archive")
    with tarfile.open(tmp_path / "saved") as archive:
        assert f"blobs/sha256/{PACKED.manifest[7:]}" in archive.getnames()


def test_a_layer_that_is_unpacked_is_not_unpacked_again(engine, tmp_path) -> None:
    def phases(archive: Path) -> list[str]:
        seen: list[str] = []
        engine.load(archive, on_progress=lambda progress: seen.append(progress.phase))
        return [phase for phase in seen if phase == "unpacking"]

    put(engine, PACKED, "docker.io/library/web:1")
    assert phases(docker(tmp_path / "a", "other:1")) == []
    engine.remove_image("web:1")
    engine.remove_image("other:1")
    assert phases(docker(tmp_path / "a", "other:1")) == ["unpacking"]
    assert not engine.doctor()


def test_an_image_that_has_lost_a_blob_takes_the_manifest_that_comes(engine, roots) -> None:
    put(engine, PACKED, "docker.io/library/web:1")
    (roots.root / "blobs" / PACKED.manifest.replace(":", "/")).unlink()
    put(engine, PLAIN, "docker.io/library/web:1")
    assert engine.images()[0].digest == PLAIN.manifest
    assert blobs(engine) == set(PLAIN.blobs)


def test_an_image_that_does_not_say_when_it_was_made_does_not_become_younger(engine) -> None:
    timeless = bundle([LAYER])
    for _ in range(2):
        put(engine, timeless, "docker.io/library/web:1")
    first = engine.images()[0].created_unix_ns
    put(engine, timeless, "docker.io/library/web:2")
    assert engine.images()[0].created_unix_ns == first


def test_a_time_that_no_record_can_hold_is_none(engine) -> None:
    put(engine, bundle([LAYER], config={"created": "9999-12-31T23:59:59Z"}), "docker.io/library/web:1")
    assert engine.inspect_image("web:1")["Created"] < "2262"


REFUSED = {
    "a wrong DiffID": bundle([LAYER], diff_ids=[sha256(b"other")]),
    "a layer that is no archive": bundle([b"text " * 1000]),
    "a configuration for another system": bundle([LAYER], config={"os": "windows"}),
    "too few layers": bundle([LAYER], config={"rootfs": {"type": "layers", "diff_ids": []}}),
}


@pytest.mark.parametrize("name", REFUSED)
def test_a_refused_archive_leaves_nothing(engine, tmp_path, name: str) -> None:
    with pytest.raises(BadImage):
        engine.load(oci(tmp_path / "a", REFUSED[name], "web:1"))
    assert (
        engine.drivers.images.layers() == engine.drivers.images.idle_blobs() == engine.drivers.images.leftovers() == []
    )
    assert engine.doctor() == []


def test_what_a_pull_has_brought_in_part_is_kept_counted_and_pruned(engine, roots) -> None:
    put(engine, PACKED, "docker.io/library/web:1")
    before = engine.disk_usage()
    part = roots.root / "blobs/sha256" / ("ab" * 32)
    part.write_bytes(b"x" * 777)
    (found,) = engine.doctor()
    assert (found.what, found.is_kept, found.is_fixed) == (f"sha256:{'ab' * 32}", True, False)
    usage = engine.disk_usage()
    assert usage.images_bytes - before.images_bytes == 777
    assert usage.images_reclaimable_bytes - before.images_reclaimable_bytes == 777
    pruned = engine.prune_images()
    assert (pruned.strays, pruned.strays_bytes, pruned.freed_bytes) == ((f"sha256:{'ab' * 32}",), 777, 777)
    assert not part.exists()


def test_an_import_says_when_it_was_made_and_of_what(engine, tmp_path) -> None:
    source = tmp_path / os.fsdecode(b"r\xff")
    source.mkdir()
    (source / "file").write_text("x" * 100_000)
    image = engine.import_image(source, "box")
    (step,) = engine.history("box")
    assert step.comment == f"Imported from {tmp_path}/r�"
    assert step.created_unix_ns == image.created_unix_ns
    document = json.loads((engine.drivers.images.blobs_dir / image.id.replace(":", "/")).read_bytes())
    assert document["created"].startswith("20")
    assert image.layer_digests == image.diff_ids  # not packed


def test_only_a_whole_name_is_removed(engine) -> None:
    first, second = PACKED, bundle([LAYER], config={"author": "b"})
    put(engine, first, "docker.io/library/box:latest")
    put(engine, second, "127.0.0.1:5000/box:latest")
    assert engine.remove_image("box").deleted
    with pytest.raises(NotFound, match=r"did you mean 127\.0\.0\.1:5000/box:latest\?"):
        engine.remove_image("box")
    assert engine.inspect_image("box")["RepoTags"] == ["127.0.0.1:5000/box:latest"]
    assert engine.remove_image("127.0.0.1:5000/box").deleted


def test_a_digest_removes_as_an_id_does(engine) -> None:
    put(engine, PACKED, "docker.io/library/box:1", "localhost/box:1")
    with pytest.raises(Conflict, match="several names"):
        engine.remove_image(f"box@{PACKED.manifest}")
    engine.remove_image("localhost/box:1")
    assert engine.remove_image(f"box@{PACKED.manifest}").untagged == ("docker.io/library/box:1",)
    assert engine.images() == []


def test_a_digest_is_saved_and_pushed_under_the_names_of_its_repository(engine, tmp_path) -> None:
    put(engine, PACKED, "a.example/other:1", "b.example/box:1")
    ref = f"b.example/box@{PACKED.manifest}"
    assert engine.inspect_image(ref)["RepoTags"] == ["a.example/other:1", "b.example/box:1"]
    engine.save([ref], tmp_path / "saved")
    engine.remove_image(ref, force=True)
    assert [each.name for each in engine.load(tmp_path / "saved")] == ["b.example/box:1"]


@pytest.mark.parametrize(("verb", "words"), [("push", "cannot be pushed"), ("history", "has no history")])
def test_the_machine_itself_is_no_image_to_push_or_look_into(engine, verb: str, words: str) -> None:
    arguments = ("host", "localhost/x") if verb == "push" else ("host",)
    for ref in ("host", engine.inspect_image("host")["Id"]):
        with pytest.raises(UsageError, match=f"'host' is this machine itself and {words}"):
            getattr(engine, verb)(ref, *arguments[1:])

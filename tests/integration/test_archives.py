"""``save`` and ``load``: what Bento writes others read, what others write Bento reads, and nothing half made."""

from __future__ import annotations

import hashlib
import json
import os
import signal
import subprocess
import sys
import tarfile
from pathlib import Path

import pytest

from support import leaks, webimages
from support.cli import BentoCli, Roots
from support.images import make_image
from support.layers import bundle, file, tar
from support.registry import run, skopeo
from support.terminal import Terminal
from support.workload import ONE_RUNTIME, assert_clean, ended

pytestmark = ONE_RUNTIME


@pytest.fixture
def filled(bento: BentoCli, leak_check: leaks.LeakWatch) -> dict[str, str]:
    """An engine with base:1, as Docker would have made it, and nginx:1; their ids by name."""
    layout = webimages.layout()
    docker = f"dir:{leak_check.base}/docker"
    skopeo("copy", "--format=v2s2", f"oci:{layout}:base", docker)
    ids = {}
    for source, name in ((docker, "base:1"), (f"oci:{layout}:nginx", "nginx:1")):
        ids[name] = bento("pull", "-q", source).stdout.strip()
        bento("tag", ids[name], name)
    return ids


def forget(bento: BentoCli) -> None:
    bento("rmi", "-f", *bento("images", "-q").stdout.split())
    assert bento("images", "-q").stdout == ""


def ids(bento: BentoCli) -> dict[str, str]:
    found = bento.listing("images", "--no-trunc")
    return {f"{each['Repository']}:{each['Tag']}": each["ID"] for each in found}


class Podman:
    """Podman with a store of its own, that mounts nothing."""

    def __init__(self, base: Path) -> None:
        self.store = f"containers-storage:[vfs@{base}/p+{base}/pr]"
        self._words = ("podman", "--storage-driver=vfs", f"--root={base}/p", f"--runroot={base}/pr")

    def __call__(self, *words: str | Path) -> str:
        return run(*self._words, *words)

    def ids(self) -> dict[str, str]:
        """The images it has."""
        lines = self("images", "--no-trunc", "--format={{.Repository}}:{{.Tag}} {{.ID}}").splitlines()
        return {name.removeprefix("docker.io/library/"): found for name, found in map(str.split, lines)}


def test_what_is_saved_others_load_with_the_same_ids(bento: BentoCli, filled, tmp_path, leak_check) -> None:
    podman = Podman(leak_check.base)
    both = tmp_path / "both.tar"
    bento("save", "-o", both, "base:1", "nginx:1")
    assert podman("load", "-i", both).count("Loaded image") == 2
    assert podman.ids() == filled
    for name, identifier in filled.items():
        manifest = json.loads(skopeo("inspect", "--raw", f"docker-archive:{both}:{name}"))
        assert manifest["config"]["digest"] == identifier
        bento("save", "--format", "oci-archive", "-o", tmp_path / "one.tar", name)
        podman("rmi", "-f", identifier)
        podman("load", "-i", tmp_path / "one.tar")
        assert podman.ids()[name] == identifier
    for kind, transport in (("oci-dir", "oci"), ("docker-dir", "dir")):
        bento("save", "--format", kind, "-o", tmp_path / kind, "base:1")
        manifest = json.loads(skopeo("inspect", "--raw", f"{transport}:{tmp_path / kind}"))
        assert manifest["config"]["digest"] == filled["base:1"]
        skopeo("copy", f"{transport}:{tmp_path / kind}", f"{podman.store}localhost/{kind}:1")  # verifies every blob


def test_what_others_saved_is_loaded_with_the_same_ids(bento: BentoCli, filled, tmp_path, leak_check) -> None:
    podman = Podman(leak_check.base)
    layout = webimages.layout()
    for name in ("base", "nginx"):
        skopeo("copy", f"oci:{layout}:{name}", f"{podman.store}docker.io/library/{name}:1")
    archives = {}
    for kind in ("docker-archive", "oci-archive"):
        archives[f"podman {kind}"] = tmp_path / f"podman-{kind}.tar"
        podman("save", f"--format={kind}", "-o", archives[f"podman {kind}"], "base:1")
        archives[f"skopeo {kind}"] = tmp_path / f"skopeo-{kind}.tar"
        skopeo("copy", f"oci:{layout}:base", f"{kind}:{archives[f'skopeo {kind}']}:docker.io/library/base:1")
    several = tmp_path / "several.tar"
    podman("save", "--multi-image-archive", "-o", several, "base:1", "nginx:1")
    for archive in archives.values():
        forget(bento)
        assert bento("load", "-q", "-i", archive).stdout == "Loaded image: base:1\n"
        assert ids(bento)["base:1"] == filled["base:1"]
    assert bento("run", "--rm", "base:1", "echo", "runs").stdout == "runs\n"
    forget(bento)
    assert sorted(bento("load", "-i", several).stdout.splitlines()) == ["Loaded image: base:1", "Loaded image: nginx:1"]
    assert ids(bento) == filled


@pytest.mark.parametrize(("kind", "packer"), [("docker-archive", "gzip"), ("oci-archive", "zstd")])
def test_through_pipes_packed_or_not_images_stay_what_they_are(
    bento: BentoCli, filled, kind: str, packer: str, tmp_path
) -> None:
    archive = tmp_path / "images.tar"
    bento("save", "--format", kind, "-o", archive, "nginx:1", "base:1", filled["base:1"])
    with (
        open(tmp_path / "piped.tar", "wb") as file,
        bento.start("save", "--format", kind, "nginx:1", "base:1", stdout=file) as process,
    ):
        assert process.wait(60) == 0
    assert archive.read_bytes() == (tmp_path / "piped.tar").read_bytes()  # the same images, the same bytes
    packed = archive.with_name(archive.name + {"gzip": ".gz", "zstd": ".zst"}[packer])
    run(packer, "-1", "-k", archive)
    for source in (archive, packed):
        forget(bento)
        # Through a pipe that nothing can be put back into.
        with (
            subprocess.Popen(["cat", str(source)], stdout=subprocess.PIPE) as cat,
            bento.start("load", "-q", stdin=cat.stdout) as load,
        ):
            out, err = load.communicate(timeout=60)
        assert (load.returncode, err) == (0, "")
        assert sorted(out.splitlines()) == ["Loaded image: base:1", "Loaded image: nginx:1"]
        assert ids(bento) == filled
    forget(bento)
    if packer == "gzip":  # which says nothing of what stands behind its last member but a warning
        packed.write_bytes(packed.read_bytes() + b"behind")
    bento("load", "-q", "-i", packed)
    assert ids(bento) == filled


def test_a_pipe_that_does_not_block_gets_all_of_it(bento: BentoCli, filled, tmp_path) -> None:
    bento("save", "-o", tmp_path / "images.tar", "base:1")
    reader, writer = os.pipe2(os.O_CLOEXEC)
    os.set_blocking(writer, False)  # as some parents leave what they share with their children
    with bento.start("save", "base:1", stdout=writer) as process, open(reader, "rb") as piped:
        os.close(writer)
        assert piped.read() == (tmp_path / "images.tar").read_bytes()
        assert process.wait(60) == 0


def test_a_copy_that_cannot_be_made_leaves_what_was_there(bento: BentoCli, filled, tmp_path) -> None:
    target = tmp_path / "there.tar"
    target.write_text("precious")
    assert "no such image" in bento.fails("save", "-o", target, "base:1", "none:1")
    layer = next((bento.roots.root / "blobs/sha256").iterdir())
    assert "directory" in bento.fails("save", "-o", tmp_path, "base:1", code=2)
    assert "stream" in bento.fails("save", "--format", "oci-dir", "base:1", code=2)
    assert "not empty" in bento.fails("save", "--format", "oci-dir", "-o", tmp_path, "base:1", code=2)
    assert "one image" in bento.fails(
        "save", "--format", "docker-dir", "-o", tmp_path / "d", "base:1", "nginx:1", code=2
    )
    assert "host" in bento.fails("save", "-o", target, "host", code=2)
    assert "/nonexistent" in bento.fails("save", "-o", "/nonexistent/x.tar", "base:1", code=2)
    layer.unlink()
    assert "missing" in bento.fails("save", "-o", target, "base:1", "nginx:1")
    assert target.read_text() == "precious"
    assert sorted(path.name for path in tmp_path.iterdir()) == ["there.tar"]


def test_an_archive_is_not_shown_on_a_terminal_nor_asked_for_on_one(bento: BentoCli, filled) -> None:
    terminal = Terminal()
    try:
        with ended(bento.start("save", "base:1", stdout=terminal.slave)) as process:
            assert process.wait(60) == 2
            assert "terminal" in process.stderr.read()
        with ended(bento.start("load", stdin=terminal.slave)) as process:
            assert process.wait(60) == 2
            assert "terminal" in process.stderr.read()
    finally:
        terminal.close()


def test_what_is_no_archive_of_images_is_refused_in_one_line(bento: BentoCli, tmp_path) -> None:
    junk = tmp_path / "junk"
    junk.write_bytes(os.urandom(100_000))
    empty = tmp_path / "empty.tar"
    with tarfile.open(empty, "w"):
        pass
    plain = tmp_path / "plain.tar"
    with tarfile.open(plain, "w") as tar:
        tar.add(junk, "junk")
    broken = tmp_path / "broken.gz"
    broken.write_bytes(b"\x1f\x8b" + os.urandom(1000))
    for path in (junk, empty, plain, broken, Path("/dev/null")):
        assert str(path) in bento.fails("load", "-i", path)
    assert "bento pull oci:" in bento.fails("load", "-i", tmp_path)
    line = bento.fails("load", "-i", "/nonexistent")
    assert "/nonexistent: no such file" in line
    assert "give a directory" not in line
    assert "standard input" in bento.fails("load", stdin="")
    assert bento("images", "-q").stdout == ""
    assert_clean(bento)
    assert not list((bento.roots.root / "layers").glob("tmp-*"))


def test_an_archive_for_several_platforms_gives_the_one_that_is_wanted(bento: BentoCli, tmp_path) -> None:
    layout = webimages.layout()
    skopeo("copy", f"oci:{layout}:base", f"oci:{tmp_path}/l:amd")
    skopeo("copy", f"oci:{layout}:base", f"oci:{tmp_path}/l:arm")
    run("umoci", "config", "--image", f"{tmp_path}/l:arm", "--architecture=arm64")
    index = json.loads((tmp_path / "l/index.json").read_text())
    platforms = {"amd": "amd64", "arm": "arm64"}
    for entry in index["manifests"]:
        tag = entry.pop("annotations")["org.opencontainers.image.ref.name"]
        entry["platform"] = {"os": "linux", "architecture": platforms[tag]}
    inner = json.dumps(index | {"mediaType": "application/vnd.oci.image.index.v1+json"}).encode()
    digest = hashlib.sha256(inner).hexdigest()
    (tmp_path / f"l/blobs/sha256/{digest}").write_bytes(inner)
    outer = {"schemaVersion": 2, "manifests": [{
        "mediaType": "application/vnd.oci.image.index.v1+json", "digest": f"sha256:{digest}", "size": len(inner),
        "annotations": {"io.containerd.image.name": "docker.io/library/multi:1"}}]}  # fmt: skip
    (tmp_path / "l/index.json").write_text(json.dumps(outer))
    run("tar", "-C", tmp_path / "l", "-cf", tmp_path / "multi.tar", ".")
    for architecture in platforms.values():
        bento("load", "-q", "--platform", f"linux/{architecture}", "-i", tmp_path / "multi.tar")
        names = [f"{each['Repository']}:{each['Tag']}" for each in bento.listing("images") if each["Tag"] != "<none>"]
        assert [bento.inspect(name)["Architecture"] for name in names] == [architecture]
    assert "linux/arm64" in bento.fails("load", "-q", "--platform", "linux/s390x", "-i", tmp_path / "multi.tar")


def test_foreign_layers_are_taken_where_their_bytes_are(bento: BentoCli, tmp_path) -> None:
    """And stay foreign. skopeo leaves out those that the manifest has addresses for: then that is said."""
    kind, layer = "application/vnd.oci.image.layer.nondistributable.v1.tar", tar([file("hello", b"x")])
    for name, lies in (("plain", {}), ("elsewhere", {"urls": ["http://127.0.0.1:9/layer"]})):
        layout = bundle([layer], layer={"mediaType": kind, **lies}).write_layout(tmp_path / name)
        archive = tmp_path / f"{name}.tar"
        run("tar", "-C", layout, "-cf", archive, ".")
        if name == "plain":
            identifier = bento("pull", "-q", f"oci:{layout}:latest").stdout.strip()
            bento("rmi", identifier)
        else:
            assert "fetched from elsewhere" in bento.fails("pull", "-q", f"oci:{layout}:latest")
        identifier = bento("load", "-q", "-i", archive).stdout.split()[-1]
        bento("create", "--name", name, identifier)
        saved = tmp_path / "saved.tar"
        bento("save", "-o", saved, identifier)
        assert kind.encode() in saved.read_bytes()
        bento("rm", name)
        bento("rmi", identifier)
    assert_clean(bento)


def test_a_save_that_nothing_reads_ends_silently(bento: BentoCli, filled) -> None:
    words = ["/bin/sh", "-c", '{ "$@"; echo $? >&2; } | head -c 10 >/dev/null', "sh", *bento.prefix, "save", "nginx:1"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=60, check=False)
    assert done.stderr == "141\n"


def test_a_full_target_is_not_taken_for_the_engines_own_disk(bento: BentoCli, filled, tmp_path) -> None:
    assert "/dev/full cannot be written: its disk is full" in bento.fails("save", "-o", "/dev/full", "base:1")
    place = tmp_path / "small"
    place.mkdir()
    script = (
        'mount -t tmpfs -o size=100k tmpfs "$0" && echo old >"$0/a.tar" || exit 9; '
        'for kind in docker-archive oci-dir; do "$@" save --format $kind -o "$0/$kind" base:1 && exit 8; done; '
        'ls -A "$0"'
    )
    done = subprocess.run(
        ["unshare", "-m", "--propagation", "slave", "/bin/sh", "-c", script, place, *bento.prefix],
        capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert (done.returncode, done.stdout) == (0, "a.tar\n")
    lines = done.stderr.splitlines()
    assert len(lines) == 2
    assert all(str(place) in line and "its disk is full" in line for line in lines)


def test_a_killed_save_leaves_no_draft(bento: BentoCli, filled, tmp_path) -> None:
    target = tmp_path / "out" / "a.tar"
    target.parent.mkdir()
    probe = "import os, sys; os.open(sys.argv[1], os.O_TMPFILE | os.O_WRONLY)"
    if subprocess.run([sys.executable, "-c", probe, target.parent], check=False, capture_output=True).returncode:
        pytest.skip(f"kernel: no files without a name in {tmp_path}")
    killer = (
        "import os, signal, sys\n"
        "from bento.drivers.image.formats import writer\n"
        "writer._pour = lambda *_: os.kill(os.getpid(), signal.SIGKILL)\n"
        "from bento.cli.main import main\n"
        "main(sys.argv[1:])\n"
    )
    words = [*bento.prefix[3:], "save", "-o", str(target), "base:1"]
    done = subprocess.run([sys.executable, "-c", killer, *words], check=False, timeout=60)
    assert done.returncode == -signal.SIGKILL
    assert list(target.parent.iterdir()) == []
    target.write_text("old")
    bento("save", "-o", target, "base:1")
    assert tarfile.is_tarfile(target)
    assert [path.name for path in target.parent.iterdir()] == ["a.tar"]
    bento("doctor", "--fix", check=False)


@pytest.mark.parametrize("kind", ["docker-archive", "oci-archive"])
def test_archives_are_places_to_pull_from_and_to_push_to(
    bento: BentoCli, roots: Roots, tmp_path: Path, kind: str
) -> None:
    made = make_image(roots, "web", layers=[{"x": b"x"}])
    other = make_image(roots, "other", layers=[{"y": b"y"}])
    assert bento("push", "web", f"{kind}:{tmp_path}/web.tar").stdout == f"{made.digest}\n"
    bento("push", "web", f"{kind}:{tmp_path}/named.tar:h.example/team/web:2")
    bento("save", "--format", kind, "-o", tmp_path / "both.tar", "web", "other")
    bento("rmi", "web", "other")
    assert bento("pull", f"{kind}:{tmp_path}/web.tar").stdout == "docker.io/library/web:latest\n"
    assert bento("pull", "-q", f"{kind}:{tmp_path}/named.tar").stdout == "h.example/team/web:2\n"
    assert bento("pull", "-q", f"{kind}:{tmp_path}/both.tar:other").stdout == "docker.io/library/other:latest\n"
    assert len(bento("pull", "-q", f"{kind}:{tmp_path}/both.tar").stdout.splitlines()) == 2
    assert set(bento("images", "-q", "--no-trunc").stdout.split()) == {made.id, other.id}
    assert "holds no image nobody:latest" in bento.fails("pull", f"{kind}:{tmp_path}/both.tar:nobody")
    assert "names no file" in bento.fails("pull", f"{kind}:", code=2)
    assert "bad/NAME" in bento.fails("push", "web", f"{kind}:{tmp_path}/new.tar:bad/NAME", code=2)
    assert "load it" in bento.fails("create", f"{kind}:{tmp_path}/web.tar", code=2)
    assert not (tmp_path / "new.tar").exists()


def test_a_name_has_no_scheme(bento: BentoCli) -> None:
    for name in ("http://127.0.0.1:5000/web", "https://docker.io/nginx"):
        assert "no scheme" in bento.fails("pull", name, code=2)

"""What hands type that know Docker and Podman: switches with values, small verbs, options of listings."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from bento import __version__
from bento.oci.platform import host_platform

from support.cli import BentoCli, Roots
from support.images import make_image
from support.registry import Registry, registry
from support.workload import ONE_RUNTIME, busybox_rootfs

pytestmark = ONE_RUNTIME

HISTORY = [{"created": "2026-01-01T00:00:00Z", "created_by": "ADD x"}]


@pytest.fixture
def place(scratch: Path) -> Iterator[Registry]:
    with registry(scratch) as served:
        yield served


@pytest.mark.parametrize("kind", ["container", "image", "volume"])
def test_exists_answers_by_its_exit_status(bento: BentoCli, roots: Roots, kind: str) -> None:
    make_image(roots, "thing", layers=[{"x": b"x"}])
    bento("create", "--name", "thing", "thing", "/x")
    bento("volume", "create", "thing")
    for name, code in (("thing", 0), ("nothing", 1)):
        finished = bento(kind, "exists", name, check=False)
        assert (finished.returncode, finished.stdout, finished.stderr) == (code, "", "")
    assert "required" in bento.fails(kind, "exists", code=2)


def test_ps_shows_the_newest(bento: BentoCli) -> None:
    for name in ("one", "two", "three"):
        bento("create", "--name", name, "host", "true")
        time.sleep(0.01)
    names = ("--format", "{{.Names}}")
    assert bento("ps", *names).stdout == ""
    assert bento("ps", "-l", *names).stdout == bento("ps", "--latest", *names).stdout == "three\n"
    assert bento("ps", "-n", "2", *names).stdout == bento("ps", "--last", "2", *names).stdout == "three\ntwo\n"
    assert bento("ps", "-l", "--filter", "name=one", *names).stdout == "one\n"
    for bad in ("0", "-1", "x", ""):
        bento.fails("ps", f"--last={bad}", code=2)


def test_ps_filters_and_sorts_in_dockers_words(bento: BentoCli) -> None:
    for name, labels in (("web", ("tier=front", "x")), ("db", ("tier=back", "x")), ("webber", ())):
        words = [word for label in labels for word in ("--label", label)]
        bento("create", "--name", name, *words, "host", "true")

    def names(*words: str) -> list[str]:
        return bento("ps", "-a", "--format", "{{.Names}}", *words).stdout.split()

    assert names("-f", "name=^/web$") == ["web"]
    assert names("-f", "label=x", "-f", "label=tier=back") == ["db"]
    assert names("-f", "label!=x") == names("-f", "label!=tier=front", "-f", "label!=tier=back") == ["webber"]
    assert names("--sort", "names") == ["db", "web", "webber"]
    assert names("--sort=created") == ["web", "db", "webber"]
    assert sorted(names("--sort", "size")) == ["db", "web", "webber"]
    assert "choose from 'command'" in bento.fails("ps", "--sort", "speed", code=2)


def test_a_stop_of_what_has_stopped_is_no_error_where_that_is_configured(bento: BentoCli) -> None:
    bento("run", "--name", "w", "host", "true")
    assert "already stopped" in bento.fails("stop", "w")
    assert bento("stop", "--ignore", "w").stdout == ""
    environ = {"BENTO_STOP_OF_STOPPED": "ok"}
    assert bento("stop", "w", env=environ).stdout == "w\n"
    finished = bento("stop", "w", "nothing", env=environ, check=False)
    assert (finished.returncode, finished.stdout) == (1, "w\n")
    assert "no such container: nothing" in finished.stderr
    (result,) = json.loads(bento("stop", "--format", "json", "w", env=environ).stdout)
    assert (result["name"], result["error"]) == ("w", None)


@pytest.mark.parametrize("network", ["host", "none"])
def test_ports_that_no_network_can_publish_are_a_warning(bento: BentoCli, network: str) -> None:
    finished = bento("create", "--name", "w", "--network", network, "-p", "80:80", "-P", "host", "true")
    assert f"no port is published with --network {network}" in finished.stderr
    shown = bento.inspect("w")
    assert shown["HostConfig"]["PortBindings"] == {}
    assert shown["Notes"][0].startswith("no port is published")


def test_logs_of_several_containers_come_in_the_order_of_their_times(bento: BentoCli) -> None:
    for name, word in (("one", "a"), ("two", "b"), ("one-more", "c")):
        bento("run", "--name", name, "host", "sh", "-c", f"echo {word}; echo {word}{word} >&2")
    shown = bento("logs", "--names", "two", "one", "one-more")
    assert shown.stdout == "one a\ntwo b\none-more c\n"
    assert shown.stderr == "one aa\ntwo bb\none-more cc\n"
    finished = bento("logs", "two", "nothing", "one", check=False)
    assert (finished.returncode, finished.stdout) == (1, "a\nb\n")
    assert "no such container: nothing" in finished.stderr
    for name in ("w", "v"):
        bento.run("--name", name, "host", "sh", "-c", f"echo {name}; read line </dev/tty || sleep 0.2; echo end")
    followed = bento("logs", "-f", "--names", "w", "v").stdout.splitlines()
    assert sorted(followed) == ["v end", "v v", "w end", "w w"]


def test_inspect_and_info_name_what_scripts_of_docker_read(bento: BentoCli) -> None:
    bento.run("--name", "w", "host", "sleep", "1000")
    shown = bento.inspect("w")
    data = shown["GraphDriver"]["Data"]
    assert Path(data["UpperDir"]).is_dir()
    assert Path(data["WorkDir"]).is_dir()
    assert Path(data["MergedDir"], "etc/resolv.conf").exists()
    assert Path(shown["HostsPath"]).read_text().startswith("127.0.0.1")
    assert Path(shown["ResolvConfPath"]).exists()
    assert Path(shown["HostnamePath"]).read_text().strip() == shown["Config"]["Hostname"]
    assert shown["Platform"] == "linux"
    bento("rm", "-f", "w")
    facts = json.loads(bento("info", "--format", "json").stdout)
    assert facts["NCPU"] >= 1
    assert facts["MemTotal"] > 1 << 20
    assert (facts["CgroupDriver"], facts["Driver"], facts["OSType"]) == ("cgroupfs", "overlay", "linux")
    assert facts["CgroupVersion"] == ("2" if facts["CgroupMode"] == "v2" else "1")
    assert bento("info", "-f", "{{.ServerVersion}} {{.Containers}}").stdout == f"{__version__} 0\n"


def test_ps_shows_sizes(bento: BentoCli, tmp_path: Path) -> None:
    bento("import", busybox_rootfs(tmp_path / "fs"), "bb")
    bento("run", "--name", "w", "bb", "/bin/sh", "-c", "yes | head -c 300000 > /file")
    assert "SIZE" not in bento("ps", "-a").stdout
    header, line = bento("ps", "-a", "-s").stdout.splitlines()
    assert header.endswith("SIZE")
    size = line.split()[-1]
    assert 300 <= float(size.removesuffix("kB")) < 500
    assert bento("ps", "-a", "--format", "{{.Size}}").stdout == f"{size}\n"
    assert bento.listing("ps", "-a", "-s")[0]["Size"] == size
    assert "Size" not in bento.listing("ps", "-a")[0]
    assert bento("ps", "-s").stdout.split() == header.split()

    assert "SizeRw" not in bento.inspect("w")
    own, both = map(int, bento("inspect", "-s", "-f", "{{.SizeRw}} {{.SizeRootFs}}", "w").stdout.split())
    assert 300_000 <= own < 500_000
    assert both == own + bento.inspect("bb")["Size"]
    bento("create", "--name", "h", "host", "true")
    assert bento("inspect", "-s", "-f", "{{json .SizeRootFs}}", "h").stdout == "null\n"


def test_headers_can_be_left_away(bento: BentoCli, roots: Roots) -> None:
    assert bento("ps", "-a", "--noheading").stdout == bento("images", "-n").stdout == ""
    make_image(roots, "web", layers=[{"x": b"x"}])
    bento("create", "--name", "w", "web", "/x")
    for words in (("ps", "-a"), ("images",), ("ps", "-a", "--format", "table {{.ID}}")):
        lines = bento(*words).stdout.splitlines(keepends=True)
        assert bento(*words, "--noheading").stdout == "".join(lines[1:]), words
        assert len(lines) == 2


def test_history_for_machines(bento: BentoCli, roots: Roots) -> None:
    make_image(roots, "web", layers=[{"x": b"x" * 2000}], history=HISTORY)
    assert "2kB" in bento("history", "-H", "web").stdout
    line = bento("history", "--human=false", "web").stdout.splitlines()[1]
    assert line.split()[1] == "2026-01-01T00:00:00.000000000Z"
    assert "2000" in line.split()
    assert bento("history", "-H=false", "--format", "{{.Size}}", "web").stdout == "2000\n"


def test_import_needs_no_name_and_says_what_it_is_told(bento: BentoCli, tmp_path: Path) -> None:
    rootfs = busybox_rootfs(tmp_path / "fs")
    made = bento("import", "-m", "from a test", "--platform", "linux/riscv64", rootfs).stdout.strip()
    document = json.loads(bento("image", "inspect", made).stdout)[0]
    assert (document["RepoTags"], document["Comment"], document["Architecture"]) == ([], "from a test", "riscv64")
    plain = json.loads(bento("inspect", bento("import", rootfs, "plain").stdout.strip()).stdout)[0]
    assert (plain["Comment"], plain["Architecture"]) == (f"Imported from {rootfs}", host_platform().architecture)
    assert "platform" in bento.fails("import", "--platform", "plan9", rootfs, code=2)


def test_tag_takes_several_names(bento: BentoCli, roots: Roots) -> None:
    made = make_image(roots, "web", layers=[{"x": b"x"}])
    assert bento("tag", "web", "a:1", "b:2").stdout == ""
    tags = json.loads(bento("image", "inspect", made.id).stdout)[0]["RepoTags"]
    assert sorted(tags) == ["a:1", "b:2", "web:latest"]


def test_rmi_of_all_and_of_what_is_not_there(bento: BentoCli, roots: Roots) -> None:
    make_image(roots, "used", layers=[{"x": b"x"}])
    make_image(roots, "free", "also:free", layers=[{"y": b"y"}])
    bento("create", "--name", "w", "used", "/x")
    assert bento("rmi", "-i", "nobody").stdout == ""
    assert "no such image" in bento.fails("rmi", "nobody")
    assert "--all" in bento.fails("rmi", code=2)
    assert "--all" in bento.fails("rmi", "-a", "free", code=2)
    finished = bento("rmi", "-a", check=False)
    assert finished.returncode == 1
    assert "is used by w" in finished.stderr
    assert bento("images", "--format", "{{.Repository}}").stdout == "used\n"
    bento("rmi", "-a", "-f")
    assert bento("images", "--format", "{{.Repository}}").stdout == "<none>\n"
    nameless = bento("images", "-q").stdout.strip()
    line = bento.fails("rmi", "-f", nameless)
    assert "is used by w" in line
    assert "-f" not in line


def test_commit_takes_pause_as_a_switch(bento: BentoCli, tmp_path: Path) -> None:
    bento("import", busybox_rootfs(tmp_path / "fs"), "bb")
    bento("create", "--name", "w", "bb", "true")
    for flags in (("-p",), ("--pause",), ("--pause=false",), ("-p=false", "-q")):
        assert bento("commit", *flags, "w").stdout.startswith("sha256:")
    bento.fails("commit", "--pause=maybe", "w", code=2)
    archive = tmp_path / "a.tar"
    bento("save", "-q", "-o", archive, "bb")
    assert archive.stat().st_size


def test_tls_verify_takes_no_image_for_its_value(bento: BentoCli, place: Registry, roots: Roots) -> None:
    make_image(roots, "bb", layers=[{"x": b"x"}])
    name = place.name("bb:1")
    bento("push", "-q", "--tls-verify=false", "bb", name)
    for tag in ("1", "2"):
        bento("tag", "bb", f"{name.rpartition(':')[0]}-all:{tag}")
    pushed = bento("push", "-a", "-q", "--tls-verify=false", f"{name.rpartition(':')[0]}-all").stdout.split()
    assert len(pushed) == 2
    assert "has a tag" in bento.fails("push", "-a", name, code=2)
    assert "no image has a tag in" in bento.fails("push", "-a", "nothing")
    bento("rmi", "bb")
    assert "--tls-verify=false" in bento.fails("pull", "--tls-verify", name)
    assert "--tls-verify=false" in bento.fails("create", "-q", "--tls-verify", name, "/x")
    finished = bento("create", "-q", "--tls-verify=false", "--platform", host_platform().architecture, name, "/x")
    assert finished.stderr == ""
    assert "not for linux/s390x" in bento.fails("create", "--pull", "never", "--platform", "s390x", name, "/x")


def test_what_is_no_image_is_no_mistake_of_the_call(bento: BentoCli, roots: Roots, tmp_path: Path) -> None:
    make_image(roots, "bb", layers=[{"x": b"x"}])
    junk = tmp_path / "junk"
    junk.write_text("junk")
    for words in (("load", "-i", junk), ("import", junk), ("pull", f"docker-archive:{junk}")):
        assert str(junk) in bento.fails(*words)
    for words in (("load", "-i", tmp_path / "no"), ("import", tmp_path / "no")):
        assert f"{tmp_path}/no: no such file" in bento.fails(*words)
    line = bento.fails("push", "bb", f"oci:{tmp_path}/no/where")
    assert f"{tmp_path}/no/where cannot be written" in line
    assert "make that directory first" in line


def test_containers_and_images_are_removed_by_that_word_too(bento: BentoCli, tmp_path: Path) -> None:
    bento("import", busybox_rootfs(tmp_path / "box"), "box")
    bento("create", "--name", "w", "box", "true")
    for group in ("container", "image", "volume"):
        words = bento(group, "--help").stdout.replace(",", " ").split()
        assert {"rm", "remove", "ls", "list"} <= set(words)
    assert bento("container", "remove", "w").stdout == "w\n"
    assert "no container named" in bento.fails("container", "remove", code=2)
    bento("image", "remove", "box")
    assert bento("images", "-q").stdout == ""

"""Volumes as users see them: made, filled, shared, kept and removed."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from bento import CreateOptions, Engine, Settings
from bento.model.container import Files, Mount

from support import procs
from support.cli import BentoCli
from support.workload import ONE_RUNTIME, assert_clean, assert_one_line, busybox_rootfs

SH = ("/bin/sh", "-c")


@pytest.fixture
def image(bento: BentoCli, tmp_path: Path) -> str:
    """An image that has something at /srv/data, and links that lead out of it."""
    rootfs = busybox_rootfs(tmp_path / "fs")
    data = rootfs / "srv" / "data"
    data.mkdir(parents=True)
    (data / "file").write_text("of the image\n")
    os.chown(data / "file", 1234, 1235)
    os.chown(data, 1234, 77)
    data.chmod(0o750)
    (rootfs / "outside").symlink_to("../../../../etc")
    (rootfs / "etc" / "mark").write_text("the image's own etc\n")
    bento("import", rootfs, "bb")
    return "bb"


def engine_of(bento: BentoCli) -> Engine:
    return Engine(Settings(root=bento.roots.root, run_root=bento.roots.run_root, runtime=bento.runtime))


def volumes(bento: BentoCli) -> list[str]:
    with engine_of(bento) as engine:
        return [volume.name for volume in engine.volumes()]


def data_of(bento: BentoCli, name: str) -> Path:
    with engine_of(bento) as engine:
        return Path(engine.inspect_volume(name)["Mountpoint"])


def mounts(bento: BentoCli, name: str) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = bento.inspect(name)["Mounts"]
    return found


# -- in containers --------------------------------------------------------------------------------


def test_named_volume_is_made_filled_and_outlives_its_containers(bento: BentoCli, image: str) -> None:
    text = bento("run", "--rm", "-v", "v:/srv/data", image, *SH, "cat /srv/data/file; echo more >/srv/data/new").stdout
    assert text == "of the image\n"
    top = data_of(bento, "v")
    assert (top.stat().st_uid, top.stat().st_gid, top.stat().st_mode & 0o7777) == (1234, 77, 0o750)
    assert (top / "file").stat().st_uid == 1234
    second = bento("run", "--rm", "-v", "v:/mnt:ro", image, *SH, "cat /mnt/new; echo x >/mnt/new", check=False)
    assert second.stdout == "more\n"
    assert second.returncode != 0
    assert "Read-only" in second.stderr
    assert volumes(bento) == ["v"]
    bento("volume", "rm", "v")
    assert not top.exists()
    assert_clean(bento)


@ONE_RUNTIME
def test_nocopy_leaves_it_empty_and_what_is_there_stays(bento: BentoCli, image: str) -> None:
    assert bento("run", "--rm", "-v", "v:/srv/data:nocopy", image, "ls", "/srv/data").stdout == ""
    assert bento("run", "--rm", "-v", "v:/mnt", image, "touch", "/mnt/mine").stdout == ""
    assert bento("run", "--rm", "-v", "v:/srv/data", image, "ls", "/srv/data").stdout == "mine\n"


@ONE_RUNTIME
def test_volume_is_filled_at_the_first_start_alone(bento: BentoCli, image: str) -> None:
    bento("run", "--name", "w", "-v", "v:/srv/data", image, *SH, "ls /srv/data; rm -f /srv/data/file")
    bento("start", "w")
    bento("wait", "w")
    assert bento("logs", "w").stdout == "file\n"


@ONE_RUNTIME
def test_links_of_the_image_lead_nowhere_else(bento: BentoCli, image: str) -> None:
    bento("run", "--rm", "-v", "v:/outside", image, "true")
    assert (data_of(bento, "v") / "mark").read_text() == "the image's own etc\n"


@ONE_RUNTIME
def test_volume_cannot_be_where_the_image_has_a_file(bento: BentoCli, image: str) -> None:
    line = bento.fails("run", "-v", "v:/etc/passwd", image, "true", code=125)
    assert "/etc/passwd" in line
    assert "not a directory" in line
    assert_clean(bento)


@pytest.fixture
def dangling(bento: BentoCli, tmp_path: Path) -> str:
    """An image with links to what it has not."""
    rootfs = busybox_rootfs(tmp_path / "links")
    (rootfs / "link").symlink_to("/not/there")
    (rootfs / "out").symlink_to(f"../../..{tmp_path}/outside")
    (rootfs / "file").symlink_to("no/file")
    (rootfs / "loop").symlink_to("loop")
    bento("import", rootfs, "links")
    return "links"


def test_where_a_link_of_the_image_dangles_what_it_points_to_is_made(
    bento: BentoCli, dangling: str, tmp_path: Path
) -> None:
    (tmp_path / "mine").write_text("mine\n")
    flags = ("-v", "v:/link", "-v", "w:/out/deep", "-v", f"{tmp_path}/mine:/file", "-w", "/link/work")
    script = f"pwd; touch /not/there/one /out/deep/two; cat /no/file; ls {tmp_path}/outside"
    done = bento("run", "--name", "w", *flags, dangling, *SH, script)
    assert done.stdout == "/not/there/work\nmine\ndeep\n"
    assert sorted(os.listdir(data_of(bento, "v"))) == ["one", "work"]
    assert os.listdir(data_of(bento, "w")) == ["two"]
    assert not (tmp_path / "outside").exists()
    assert bento("run", "--rm", "-w", "/link/work", dangling, *SH, "pwd").stdout == "/not/there/work\n"
    bento("rm", "w")
    assert_clean(bento)


@ONE_RUNTIME
@pytest.mark.parametrize("flags", [("-v", "v:/loop"), ("--tmpfs", "/loop/x"), ("-v", "/etc:/loop")])
def test_link_that_leads_back_to_itself_is_named(bento: BentoCli, dangling: str, flags: tuple[str, ...]) -> None:
    line = bento.fails("run", *flags, dangling, "true", code=125)
    assert "at /loop" in line
    assert "a link that leads back to itself" in line


@ONE_RUNTIME
def test_bentos_own_root_is_not_copied_from_the_machine(bento: BentoCli) -> None:
    parent = bento.roots.root.parent
    (parent / "beside").touch()
    bento("run", "--rm", "-v", f"v:{parent}", "host", "true")
    assert (data_of(bento, "v") / "beside").exists()
    assert not (data_of(bento, "v") / bento.roots.root.name).exists()


def test_mount_in_words(bento: BentoCli, image: str, tmp_path: Path) -> None:
    (tmp_path / "shown").mkdir()
    (tmp_path / "shown" / "file").write_text("outside\n")
    script = "cat /b/file; touch /b/x; touch /t/x && df -k /t | tail -1; ls /v"
    done = bento(
        "run", "--name", "w", "--mount", f"type=bind,src={tmp_path}/shown,target=/b,readonly",
        "--mount", "type=tmpfs,dst=/t,tmpfs-size=1m,tmpfs-mode=700", "--mount", "source=v,destination=/v,volume-nocopy",
        "host", *SH, script,
    )  # fmt: skip
    assert done.stdout.startswith("outside\ntmpfs ")
    assert " 1024 " in done.stdout
    assert "Read-only" in done.stderr
    assert mounts(bento, "w") == [
        {"Type": "bind", "Source": f"{tmp_path}/shown", "Destination": "/b", "Mode": "ro", "RW": False,
         "Propagation": "rprivate"},
        {"Type": "tmpfs", "Source": "", "Destination": "/t", "Mode": "", "RW": True,
         "Propagation": ""},
        {"Type": "volume", "Name": "v", "Source": str(data_of(bento, "v")), "Driver": "local"}
        | {"Destination": "/v", "Mode": "nocopy", "RW": True, "Propagation": ""},
    ]  # fmt: skip
    assert bento("ps", "-aq", "--filter", "volume=v").stdout != ""
    assert bento("ps", "-aq", "--filter", "volume=other").stdout == ""


@pytest.fixture
def shared(tmp_path: Path) -> Iterator[Path]:
    """A mount of the host's that tells its copies of what is mounted below it."""
    path = tmp_path / "shared"
    path.mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "bento-test", path], check=True)
    try:
        subprocess.run(["mount", "--make-shared", path], check=True)
        (path / "later").mkdir()
        yield path
    finally:
        subprocess.run(["umount", "-R", path], check=True)


def mount_later(shared: Path) -> None:
    subprocess.run(["mount", "-t", "tmpfs", "bento-test", shared / "later"], check=True)
    (shared / "later" / "file").write_text("new\n")


@pytest.mark.parametrize("option", ["rslave", "slave", "ro,rslave"])
def test_later_mounts_of_the_host_are_seen_by_a_slave(bento: BentoCli, image: str, shared: Path, option: str) -> None:
    bento.run("--name", "w", "-v", f"{shared}:/m:{option}", "-v", f"{shared}:/p", image, *SH, "exec sleep 1000")
    root = Path(f"/proc/{bento.state('w')['Pid']}/root")
    mount_later(shared)
    assert (root / "m/later/file").read_text() == "new\n"
    assert not (root / "p/later/file").exists()
    words = option.split(",")
    assert mounts(bento, "w")[0] == {
        "Type": "bind", "Source": str(shared), "Destination": "/m", "Mode": option, "RW": "ro" not in words,
        "Propagation": words[-1],
    }  # fmt: skip
    bound = option if "ro" in words else f"rw,{option}"
    assert bento.inspect("w")["HostConfig"]["Binds"][0] == f"{shared}:/m:{bound}"
    subprocess.run(["umount", shared / "later"], check=True)
    assert not (root / "m/later/file").exists()
    mount_later(shared)
    bento("rm", "-f", "w")
    assert_clean(bento)


@ONE_RUNTIME
def test_propagation_that_cannot_work_is_refused(bento: BentoCli, image: str, shared: Path) -> None:
    for option in ("shared", "rshared"):
        assert "use rslave" in bento.fails("run", "-v", f"{shared}:/m:{option}", image, "true", code=125)
    subprocess.run(["mount", "--make-private", shared], check=True)
    line = bento.fails("run", "-v", f"{shared}:/m:rslave", image, "true", code=125)
    assert f"{shared} is on a mount that is private on the host" in line
    assert_clean(bento)


# -- anonymous ones -------------------------------------------------------------------------------


@ONE_RUNTIME
@pytest.mark.parametrize(
    ("flags", "remove", "left"),
    [((), ("rm",), 1), ((), ("rm", "-v"), 0), ((), ("rm", "-f", "-v"), 0), (("--rm",), (), 0)],
    ids=["rm", "rm -v", "rm -fv", "--rm"],
)
def test_anonymous_volume(
    bento: BentoCli, image: str, flags: tuple[str, ...], remove: tuple[str, ...], left: int
) -> None:
    bento("run", "--name", "w", *flags, "-v", "/srv/data", "-v", "v:/v", image, "cat", "/srv/data/file")
    if remove:
        assert mounts(bento, "w")[0]["Name"] in volumes(bento)
        bento(*remove, "w")
    names = volumes(bento)
    assert "v" in names
    assert len(names) == 1 + left
    assert_clean(bento)  # what rm has left was to be left
    assert bento("volume", "prune", "-f").stdout.count("\n") == 1 + 2 * left
    assert volumes(bento) == ["v"]


@ONE_RUNTIME
def test_the_detached_one_removes_its_volumes_with_itself(bento: BentoCli, image: str) -> None:
    bento.run("--rm", "-v", "/srv/data", image, "true")
    procs.wait_until(lambda: bento("ps", "-aq").stdout == "", what="the removal", every_s=0.05)
    assert volumes(bento) == []
    bento.run("--rm", "--name", "w", "-v", "/srv/data", image, "sleep", "1000")
    bento("stop", "-t", "0", "w")
    assert volumes(bento) == []
    assert_clean(bento)


@ONE_RUNTIME
def test_run_that_fails_leaves_no_anonymous_volume(bento: BentoCli, image: str) -> None:
    for words in (
        ("-v", "/srv/data", image, "no-such-program"),
        ("-v", "/srv/data", "-v", "/etc/passwd", image, "true"),
    ):
        bento("run", *words, check=False)
        assert volumes(bento) == []
    assert_clean(bento)


@ONE_RUNTIME
def test_volumes_that_an_image_declares(bento: BentoCli, image: str) -> None:
    """No instruction of ``import`` says so yet: the record is written as a registry's image would be."""
    with engine_of(bento) as engine:
        found = engine.drivers.store.find_image(image)
        engine.drivers.store.put_image(_with_volumes(found, ("/srv/data", "/cache")), events=())
        options = CreateOptions(
            image=image, command=("true",), files=Files(mounts=(Mount(kind="tmpfs", destination="/cache"),))
        )
        made = engine.create(options)
        assert [(m.destination, m.kind) for m in made.spec.files.mounts] == [
            ("/cache", "tmpfs"),
            ("/srv/data", "volume"),
        ]
        engine.start(made.id)
        engine.wait(made.id)
        assert [volume.container_id for volume in engine.volumes()] == [made.id]
        engine.remove(made.id, volumes=True)
        assert engine.volumes() == []


def _with_volumes(image: Any, paths: tuple[str, ...]) -> Any:
    from msgspec.structs import replace

    return replace(image, config=replace(image.config, volumes=paths))


# -- the verbs ------------------------------------------------------------------------------------


@ONE_RUNTIME
def test_volume_in_use_is_kept_and_its_user_named(bento: BentoCli) -> None:
    bento("create", "--name", "w", "-v", "v:/v", "host", "true")
    line = bento.fails("volume", "rm", "v")
    assert "used by w" in line
    assert json.loads(bento("volume", "inspect", "v").stdout)[0]["Containers"] == ["w"]
    assert bento("volume", "prune", "-a", "-f").stdout == "Total reclaimed space: 0B\n"
    bento("rm", "w")
    assert bento("volume", "rm", "v").stdout == "v\n"
    assert_one_line(bento("volume", "rm", "v", check=False), "no such volume: v")
    assert bento("volume", "rm", "-f", "v").stdout == ""
    assert_one_line(bento("volume", "inspect", "v", check=False), "no such volume: v")


@ONE_RUNTIME
def test_flags_of_mounts_hold_inside(bento: BentoCli, image: str, tmp_path: Path) -> None:
    words = ("-v", f"{tmp_path}:/b:nosuid,nodev,noexec,z", "-v", "v:/v:noexec", "-v", f"{tmp_path}:/c:cached,rbind")
    tried = "; ".join(f"cp /bin/busybox {path}/true; {path}/true; echo $?" for path in ("/b", "/v", "/c"))
    script = f"{tried}; cat /proc/self/mountinfo"
    lines = bento("run", "--rm", *words, image, "/bin/busybox", "sh", "-c", script).stdout.splitlines()
    assert lines[:3] == ["126", "126", "0"]
    options = {fields[4]: set(fields[5].split(",")) for line in lines[3:] if (fields := line.split())}
    assert {"nosuid", "nodev", "noexec"} <= options["/b"]
    assert "noexec" in options["/v"]
    assert options["/c"].isdisjoint({"nosuid", "noexec"})


def test_what_is_mounted_below_is_left_out_when_asked(bento: BentoCli, image: str) -> None:
    def seen(option: str) -> str:
        return bento("run", "--rm", "-v", f"/sys:/x:{option}", image, "/bin/ls", "/x/fs/cgroup").stdout

    assert seen("rbind")
    assert seen("bind") == ""


def test_volumes_from_another_container_are_used_by_both(bento: BentoCli, image: str, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("bound\n")
    giver = ("-v", f"{tmp_path}:/b", "-v", "/anon", "-v", "v:/v", "--tmpfs", "/t")
    bento("create", "--name", "giver", *giver, image, "/bin/true")
    bento("run", "--rm", "--volumes-from", "giver", image, "/bin/sh", "-c", "echo in >/anon/x; echo in >/v/x")
    assert [path.name for path in data_of(bento, "v").iterdir()] == ["x"]
    assert bento("doctor").returncode == 0  # what the first taker left is the giver's still

    script = "cat /b/file /anon/x /v/x; touch /b/y /anon/y /v/y; ls /t; echo done"
    words = ("-v", "other:/v", "--volumes-from", "giver:ro", image, "/bin/sh", "-c", f"{script}; exec sleep 1000")
    bento.run("--name", "taker", *words)
    bento.wait_for_log("taker", "done")
    said = bento("logs", "taker")
    assert said.stdout == "bound\nin\ndone\n"
    assert "/t" in said.stderr  # a tmpfs is its container's own
    assert (data_of(bento, "other") / "y").exists()  # what -v says wins
    assert not (tmp_path / "y").exists()
    found = bento.inspect("taker")
    assert found["HostConfig"]["VolumesFrom"] == [bento.inspect("giver")["Id"] + ":ro"]
    anonymous = next(m["Name"] for m in found["Mounts"] if m["Destination"] == "/anon")
    assert anonymous in [m.get("Name") for m in mounts(bento, "giver")]

    bento("rm", "-v", "giver")
    assert anonymous in volumes(bento)  # the taker has it still
    assert "taker" in bento.fails("volume", "rm", anonymous)
    bento("rm", "-f", "-v", "taker")
    assert anonymous not in volumes(bento)  # no container has it any more
    assert "nobody" in bento.fails("create", "--volumes-from", "nobody", image, "/bin/true")


def test_anonymous_volumes_are_not_told_as_asked_for(bento: BentoCli, image: str) -> None:
    bento("create", "--name", "w", "-v", "/anon", "-v", "v:/v:ro,noexec", image, "/bin/true")
    found = bento.inspect("w")
    assert found["HostConfig"]["Binds"] == ["v:/v:ro,noexec"]
    assert found["Config"]["Volumes"] == {"/anon": {}}


@ONE_RUNTIME
def test_drivers_and_options_of_volumes(bento: BentoCli) -> None:
    assert bento("volume", "create", "-d", "local", "v").stdout == "v\n"
    assert "driver is local" in bento.fails("volume", "create", "-d", "nfs", "x", code=2)
    for words, option in (("unknown option 'size'", "size=1"), ("needs a device", "type=ext4"), ("a type", "o=ro")):
        assert words in bento.fails("volume", "create", "--opt", option, "x", code=2)
    assert "absolute" in bento.fails("volume", "create", "-o", "o=bind", "-o", "device=here", "x", code=2)
    assert bento("volume", "remove", "v").stdout == "v\n"
    assert volumes(bento) == []


@ONE_RUNTIME
def test_a_volume_may_be_what_is_mounted_for_its_containers_alone(bento: BentoCli, tmp_path: Path) -> None:
    (tmp_path / "data").mkdir()
    (tmp_path / "data/file").write_text("here\n")
    bento("volume", "create", "-o", "type=none", "-o", "o=bind", "-o", f"device={tmp_path}/data", "bound")
    bento("volume", "create", "--opt=type=tmpfs", "--opt=o=size=64k,nodev", "memory")
    bento("volume", "create", "--opt=type=ext4", "--opt=device=/nonexistent", "lost")
    assert json.loads(bento("volume", "inspect", "memory").stdout)[0]["Options"] == {
        "type": "tmpfs",
        "o": "size=64k,nodev",
    }
    bento.run("--name", "w", "-v", "bound:/b", "-v", "memory:/m", "host", "sleep", "1000")
    assert bento("exec", "w", "cat", "/b/file").stdout == "here\n"
    bento("exec", "w", "sh", "-c", "echo new > /b/made; stat -f -c %T /m > /b/kind")
    assert (tmp_path / "data/kind").read_text() == "tmpfs\n"
    assert str(bento.roots.root / "volumes") not in Path("/proc/self/mountinfo").read_text()
    bento("stop", "w")
    assert bento("cp", "w:/b/made", "-").returncode == 0, "and so are they where it does not run"
    failed = bento("run", "--name", "bad", "-v", "lost:/l", "host", "true", check=False)
    assert (failed.returncode, len(failed.stderr.splitlines())) == (125, 1)
    assert "volume lost cannot be mounted" in failed.stderr
    bento("rm", "w")
    bento("volume", "rm", "bound", "memory", "lost")
    assert sorted(os.listdir(tmp_path / "data")) == ["file", "kind", "made"]


def test_create_list_and_filter(bento: BentoCli) -> None:
    assert bento("volume", "create", "--label", "a=1", "--label", "b", "one").stdout == "one\n"
    assert bento("volume", "create", "one").stdout == "one\n"
    anonymous = bento("volume", "create").stdout.strip()
    assert len(anonymous) == 64
    bento("create", "-v", "used:/v", "host", "true")

    def fitting(*filters: str) -> list[str]:
        words = [word for text in filters for word in ("--filter", text)]
        return bento("volume", "ls", "-q", *words).stdout.split()

    assert set(fitting()) == {"one", "used", anonymous}
    assert fitting("dangling=false") == ["used"]
    assert set(fitting("dangling=1")) == {"one", anonymous}
    assert fitting("name=on", "name=se") == ["one", "used"]
    assert fitting("label=a=1", "label=b") == ["one"]
    assert fitting("label=a=2") == []
    assert set(fitting("label!=a")) == {"used", anonymous}
    assert fitting("driver=nfs") == []
    assert bento("volume", "ls", "--filter", "name=one").stdout.split() == ["DRIVER", "VOLUME", "NAME", "local", "one"]
    assert bento("volume", "list", "--filter", "name=one", "--format", "json").stdout.count('"Name"') == 1
    described = json.loads(bento("volume", "inspect", "one").stdout)[0]
    assert (described["Labels"], described["Scope"], described["Driver"]) == ({"a": "1", "b": ""}, "local", "local")
    assert fitting("label=com.docker.volume.anonymous") == [anonymous]
    assert bento("volume", "prune", "-f").stdout.splitlines()[:2] == ["Deleted Volumes:", anonymous]
    assert set(fitting()) == {"one", "used"}


@ONE_RUNTIME
def test_prune_asks_and_says_what_it_freed(bento: BentoCli) -> None:
    bento("volume", "create", "v")
    (data_of(bento, "v") / "big").write_bytes(b"x" * 1_000_000)
    for answer in ("n\n", "", "\n"):
        finished = bento("volume", "prune", "-a", stdin=answer, check=False)
        assert finished.returncode == 1
        assert "nothing was removed" in finished.stderr
    assert volumes(bento) == ["v"]
    done = bento("volume", "prune", "-a", stdin="y\n")
    assert done.stdout.startswith("Deleted Volumes:\nv\nTotal reclaimed space: 1")
    assert "MB" in done.stdout
    assert volumes(bento) == []


@ONE_RUNTIME
def test_system_prune_takes_volumes_only_when_told_to(bento: BentoCli) -> None:
    bento("volume", "create", "named")
    bento("create", "--name", "c", "-v", "/data", "host", "true")
    bento("rm", "c")
    (anonymous,) = set(volumes(bento)) - {"named"}
    bento("prune", "-f")
    assert sorted(volumes(bento)) == sorted([anonymous, "named"])
    assert bento.fails("prune", "-f", "--volumes", "--filter", "until=1h", code=2)
    assert anonymous in bento("system", "prune", "-f", "--volumes").stdout
    assert volumes(bento) == ["named"]


@ONE_RUNTIME
def test_bad_mount_leaves_nothing(bento: BentoCli) -> None:
    for flags in (
        ("-v", "-a:/x"), ("-v", "v:/x:y"), ("-v", "/tmp:/x:nocopy"), ("-v", "/"), ("--mount", ""), ("-v", "v:/x:ro,rw"),
        ("-v", "v:/x", "--tmpfs", "/x/"), ("--mount", "type=bind,src=/no/such,dst=/x"), ("--mount", "src=a/b,dst=/x"),
        ("--mount", "dst=/x,type=nfs"), ("-v", "a:/x", "-v", "b:/x"),
    ):  # fmt: skip
        bento.fails("create", *flags, "host", "true", code=2)
    assert volumes(bento) == []
    assert_clean(bento)


@ONE_RUNTIME
def test_bad_words_of_the_verbs(bento: BentoCli) -> None:
    for words in (
        ("volume",), ("volume", "nosuch"), ("volume", "create", "a/b"), ("volume", "create", "--label", "=x"),
        ("volume", "create", "a", "b"), ("volume", "ls", "--filter", "x=y"), ("volume", "ls", "--format", "xml"),
        ("volume", "ls", "--filter", "dangling=maybe"), ("volume", "rm"), ("volume", "inspect"),
        ("volume", "prune", "-f", "--filter", "name=x"),
    ):  # fmt: skip
        bento.fails(*words, code=2)
    assert volumes(bento) == []


@ONE_RUNTIME
def test_doctor_finds_half_made_volumes(bento: BentoCli) -> None:
    bento("create", "--name", "w", "-v", "/a", "-v", "held:/b", "host", "true")
    bento("volume", "create", "lost")
    own = mounts(bento, "w")[0]["Name"]
    where = data_of(bento, "lost").parent.parent
    with engine_of(bento) as engine:  # as a record lost with its file is
        engine.drivers.store.remove_volume("lost")
        engine.drivers.store.remove(engine.get("w").id)
    (where / "held" / "filling").mkdir()
    (where / ".removed-old.00").mkdir()
    (where / "kept" / "_data").mkdir(parents=True)
    (where / "kept" / "_data" / "precious").touch()

    found = bento("doctor", check=False).stdout
    for line in (f"volume: {own}, anonymous", "volume: lost has no record", "volume: kept has no record",
                 "volume: .removed-old.00", "volume: unfinished copy into held"):  # fmt: skip
        assert line in found, found
    fixed = bento("doctor", "--fix", check=False)
    assert fixed.returncode == 1
    assert [line for line in fixed.stdout.splitlines() if "(removed)" not in line] == ["volume: kept has no record"]
    assert (where / "kept" / "_data" / "precious").exists()
    bento("volume", "create", "kept")  # it has a record again
    assert volumes(bento) == ["held", "kept"]
    assert bento("doctor").returncode == 0


@ONE_RUNTIME
def test_many_make_and_remove_one_volume_at_once(bento: BentoCli) -> None:
    """Each container that is made has its volume, whatever removes it meanwhile."""
    makers = [bento.start("run", "--rm", "-v", "v:/v", "host", "touch", f"/v/{n}") for n in range(4)]
    removers = [bento.start("volume", "rm", "-f", "v") for _ in range(4)]
    for process in makers:
        out, err = process.communicate(timeout=60)
        assert process.returncode == 0, (out, err)
    for process in removers:
        process.communicate(timeout=60)
    assert_clean(bento)

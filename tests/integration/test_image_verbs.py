"""What is said of images, what a container takes from one, and what prunes leave alone."""

from __future__ import annotations

import json
import os
import pty
import sqlite3
import subprocess
from contextlib import closing
from pathlib import Path
from typing import Any

import pytest

from bento import CreateOptions, Engine, Settings
from bento.drivers.state import migrations
from bento.engine.maintenance import prune

from support import procs
from support.cli import BentoCli, Roots
from support.images import make_image
from support.workload import ONE_RUNTIME, assert_clean, assert_one_line, busybox_rootfs, wait_for_status

pytestmark = ONE_RUNTIME

SH = ("/bin/sh", "-c")
BASE = {"base": b"b" * 1000}
HISTORY = [
    {"created": "2026-01-01T00:00:00Z", "created_by": "ADD rootfs.tar /", "comment": "first\x1b[31m"},
    {"created": "2026-01-01T00:00:01Z", "created_by": "ENV A=b", "empty_layer": True},
    {"created": "2026-01-01T00:00:02Z", "created_by": "RUN " + "x" * 100},
]


@pytest.fixture
def busybox(tmp_path: Path) -> Path:
    return busybox_rootfs(tmp_path / "fs")


def listed(bento: BentoCli, *words: str) -> set[str]:
    """The names that ``images`` shows, as its table has them."""
    lines = bento("images", *words).stdout.splitlines()[1:]
    return {":".join(line.split()[:2]) for line in lines}


# -- images ---------------------------------------------------------------------------------------


def test_images_shows_names_digests_and_whole_ids(bento: BentoCli, roots: Roots) -> None:
    made = make_image(roots, "web", "registry.example/team/web:1", layers=[BASE])
    header, *lines = bento("images").stdout.splitlines()
    assert header.split() == ["REPOSITORY", "TAG", "IMAGE", "ID", "CREATED", "SIZE", "SHARED"]
    short = made.id.removeprefix("sha256:")[:12]
    assert [line.split()[:3] for line in lines] == [["web", "latest", short], ["registry.example/team/web", "1", short]]
    assert all(line.split()[-2:] == ["1kB", "0B"] for line in lines)
    whole = bento("images", "--digests", "--no-trunc", "-a").stdout.splitlines()
    assert whole[1].split()[:4] == ["web", "latest", made.digest, made.id]
    assert bento("images", "-q").stdout == f"{short}\n"
    assert bento("images", "-q", "--no-trunc").stdout == f"{made.id}\n"
    bento("rmi", "web", "registry.example/team/web:1")
    assert len(bento("images").stdout.splitlines()) == 1


def test_images_filters(bento: BentoCli, roots: Roots) -> None:
    old = make_image(roots, "old", "lib/old:2", layers=[BASE], created="2025-01-01T00:00:00Z")
    labels = {"Labels": {"tier": "front", "x": "y"}}
    make_image(roots, "new", layers=[BASE], config=labels, created="2026-01-01T00:00:00Z")
    lost = make_image(roots, layers=[BASE], created="2026-02-01T00:00:00Z")
    none = "<none>:<none>"
    assert listed(bento) == {"old:latest", "lib/old:2", "new:latest", none}
    assert listed(bento, "old") == listed(bento, "--filter", "reference=o?d:*") == {"old:latest"}
    assert listed(bento, "*/old") == listed(bento, "docker.io/lib/old:2") == {"lib/old:2"}
    assert listed(bento, "--filter", "reference=new", "--filter", "reference=lib/*") == {"lib/old:2", "new:latest"}
    assert listed(bento, "--filter", "dangling=true") == {none}
    assert listed(bento, "--filter", "dangling=false") == {"old:latest", "lib/old:2", "new:latest"}
    assert listed(bento, "--filter", "label=tier") == listed(bento, "--filter", "label=tier=front") == {"new:latest"}
    assert listed(bento, "--filter", "label=tier=front", "--filter", "label=x=z") == set()
    assert listed(bento, "--filter", f"before={lost.id[7:19]}", "--filter", "since=old") == {"new:latest"}
    assert listed(bento, "--filter", "until=2025-06-01T00:00:00Z") == {"old:latest", "lib/old:2"}
    assert bento("images", "-q", "--filter", "before=new").stdout == f"{old.id[7:19]}\n"


def test_shared_and_unique_sizes_come_from_the_layers(bento: BentoCli, roots: Roots) -> None:
    one = make_image(roots, "one", layers=[BASE, {"one": b"1" * 300}])
    two = make_image(roots, "two", layers=[BASE, {"two": b"2" * 20}])
    bento("create", "--name", "w", "one", "/x")
    sizes = {
        each["ID"]: (each["Size"], each["SharedSize"], each["UniqueSize"], each["Containers"])
        for each in bento.listing("images", "--no-trunc")
    }
    assert sizes == {one.id: ("1.3kB", "1kB", "300B", 1), two.id: ("1.02kB", "1kB", "20B", 0)}
    header, *lines = bento("images").stdout.splitlines()
    assert header.split()[-2:] == ["SIZE", "SHARED"]
    assert {tuple(line.split()[-2:]) for line in lines} == {("1.3kB", "1kB"), ("1.02kB", "1kB")}
    bento("rmi", "two")
    assert [each["SharedSize"] for each in bento.listing("images")] == ["0B"]


def totals(bento: BentoCli) -> list[dict[str, Any]]:
    found: list[dict[str, Any]] = bento.listing("system", "df", "-v")[0]["Totals"]
    return found


def test_system_df_says_what_a_prune_would_free(bento: BentoCli, roots: Roots, busybox: Path) -> None:
    make_image(roots, "base", layers=[busybox])
    make_image(roots, "more", layers=[busybox, {"more": b"m" * 5000}])
    bento.run("--name", "up", "base", *SH, "echo > /file; sleep 1000")
    bento("run", "--name", "over", "base", *SH, "yes | head -c 100000 > /file")
    bento("volume", "create", "free")
    bento("create", "--name", "holder", "-v", "held:/v", "host", "true")
    for name, size in (("free", 50_000), ("held", 200_000)):
        mountpoint = json.loads(bento("volume", "inspect", name).stdout)[0]["Mountpoint"]
        (Path(mountpoint) / "file").write_bytes(b"x" * size)
    images, containers, volumes = totals(bento)
    assert (volumes["Type"], volumes["Total"], volumes["Active"]) == ("Local Volumes", 2, 1)
    assert 50_000 <= volumes["Reclaimable"] < 200_000 < volumes["Size"]
    bento("rm", "holder")
    images, containers, volumes = totals(bento)
    assert volumes["Reclaimable"] == volumes["Size"]
    assert (images["Type"], images["Total"], images["Active"]) == ("Images", 2, 1)
    assert (containers["Type"], containers["Total"], containers["Active"]) == ("Containers", 2, 1)
    assert 100_000 < containers["Reclaimable"] < containers["Size"]
    assert "(" in bento("system", "df").stdout.splitlines()[1]
    assert [line["TotalCount"] for line in bento.listing("system", "df")] == ["2", "2", "2"]
    verbose = bento("system", "df", "-v").stdout
    assert all(word in verbose for word in ("SHARED SIZE", "over", "more", "LINKS", "held"))
    (details,) = bento.listing("system", "df", "-v")
    assert {each["Names"][0]: each["Containers"] for each in details["Images"]} == {
        "base:latest": ["over", "up"],
        "more:latest": [],
    }
    freed = json.loads(bento("prune", "-a", "-f", "--format", "json").stdout)
    assert freed["SpaceReclaimed"] == images["Reclaimable"] + containers["Reclaimable"]


# -- history and inspect --------------------------------------------------------------------------


def test_history_has_a_line_for_each_step_and_the_size_of_its_layer(bento: BentoCli, roots: Roots) -> None:
    made = make_image(roots, "web", layers=[BASE, {"x": b"x" * 20}], history=HISTORY)
    lines = bento("history", "web").stdout.splitlines()
    assert lines[0].split() == ["IMAGE", "CREATED", "CREATED", "BY", "SIZE", "COMMENT"]
    assert lines[1].startswith(made.id[7:19])
    assert "RUN xxx" in lines[1]
    assert "x…" in lines[1]
    assert lines[2].startswith("<missing>")
    assert lines[3].endswith("first?[31m")
    steps = bento.listing("history", "--no-trunc", "-H=false", "web")
    assert [step["ID"] for step in steps] == [made.id, "<missing>", "<missing>"]
    assert [step["Size"] for step in steps] == ["20", "0", "1000"]
    assert [step["Layer"] for step in steps] == [made.diff_ids[1], "", made.diff_ids[0]]
    assert bento("history", "-q", "web").stdout.split() == [made.id[7:19], "<missing>", "<missing>"]
    assert "x" * 100 in bento("history", "--no-trunc", made.id[7:]).stdout


@pytest.mark.parametrize("history", [[], HISTORY[:1], [*HISTORY, *HISTORY]], ids=["none", "short", "long"])
def test_history_that_does_not_fit_the_layers(bento: BentoCli, roots: Roots, history: list[dict[str, Any]]) -> None:
    make_image(roots, "web", layers=[BASE, {"x": b"x" * 20}], history=history)
    steps = bento.listing("image", "history", "-H=false", "web")
    assert sum(int(step["Size"]) for step in steps) == 1020
    assert len(steps) == max(2, len(history))


def test_inspect_of_an_image_has_dockers_fields(bento: BentoCli, roots: Roots) -> None:
    config = {"Cmd": ["/x"], "Env": ["A=b"], "ExposedPorts": {"80/tcp": {}}, "Labels": {"k": "v"}, "User": "ann"}
    made = make_image(
        roots,
        "web",
        "registry.example/a/web:2",
        layers=[BASE],
        config=config,
        author="Ann",
        history=[{"comment": "done"}],
    )
    bento("create", "--name", "w", "web")
    found = json.loads(bento("image", "inspect", "web").stdout)[0]
    assert found["Id"] == made.id
    assert found["RepoTags"] == ["web:latest", "registry.example/a/web:2"]
    assert found["RepoDigests"] == [f"registry.example/a/web@{made.digest}", f"web@{made.digest}"]
    assert (found["Created"], found["Author"], found["Comment"]) == ("2026-01-02T03:04:05.000000000Z", "Ann", "done")
    assert (found["Os"], found["Architecture"], found["Size"]) == ("linux", made.architecture, 1000)
    assert found["RootFS"] == {"Type": "layers", "Layers": list(made.diff_ids)}
    assert {key: found["Config"][key] for key in config} == config
    assert found["Containers"] == ["w"]


def test_inspect_looks_for_containers_first_then_for_images(bento: BentoCli, roots: Roots) -> None:
    made = make_image(roots, "web", layers=[BASE])
    bento("create", "--name", "one", "web", "/x")
    assert json.loads(bento("inspect", "web").stdout)[0]["Id"] == made.id
    identifier = bento("create", "--name", "web", "web", "/x").stdout.strip()
    assert json.loads(bento("inspect", "web").stdout)[0]["Id"] == identifier
    assert json.loads(bento("inspect", "--type", "image", "web").stdout)[0]["Id"] == made.id
    both = bento("inspect", "one", "nobody", made.id, check=False)
    assert both.returncode == 1
    assert len(json.loads(both.stdout)) == 2
    assert "no such container, image, network or volume: nobody" in both.stderr
    assert "no such container: quay" in bento.fails("container", "inspect", "quay", code=1)
    assert "no such image: one" in bento.fails("image", "inspect", "one", code=1)


# -- ps --filter ancestor -------------------------------------------------------------------------


def test_ps_finds_the_containers_of_an_image(bento: BentoCli, roots: Roots) -> None:
    made = make_image(roots, "base", layers=[BASE])
    child = make_image(roots, "child", layers=[BASE, {"x": b"x"}])
    make_image(roots, "other", layers=[{"y": b"y"}])
    for name, image in (("named", "base"), ("by-id", made.id[7:20]), ("built", "child"), ("far", "other")):
        bento("create", "--name", name, image, "/x")

    def found(ancestor: str) -> set[str]:
        return {each["Names"] for each in bento.listing("ps", "-a", "--filter", f"ancestor={ancestor}")}

    for spelling in ("base", "base:latest", "docker.io/library/base", made.id, made.id[7:], made.id[7:19]):
        assert found(spelling) == {"named", "by-id", "built"}, spelling
    assert found(child.id[7:19]) == found("child") == {"built"}
    assert found("nobody") == set()
    bento("rmi", "-f", "other")
    assert found("other") == {"far"}


# -- what a container takes from its image --------------------------------------------------------


def test_config_of_the_image_is_obeyed(bento: BentoCli, roots: Roots, busybox: Path) -> None:
    (busybox / "etc/group").write_text("root:x:0:\nstaff:x:77:ann\nextra:x:78:bob,ann\n")
    script = 'trap "exit 9" USR1; echo "$0 $1|$A|$(pwd)|$(id -u):$(id -g):$(id -G)"; while :; do sleep 0.1; done'
    config = {
        "Entrypoint": ["/bin/sh", "-c", script], "Cmd": ["first", "second"], "Env": ["A=b"],
        "WorkingDir": "/made/for/it", "User": "ann", "StopSignal": "SIGUSR1", "Labels": {"k": "v"},
        "ExposedPorts": {"80/tcp": {}}, "Healthcheck": {"Test": ["CMD", "true"], "Interval": 5, "Retries": 3},
    }  # fmt: skip
    make_image(roots, "web", layers=[busybox], config=config)
    bento.run("--name", "w", "web")
    bento.wait_for_log("w", "|")
    assert bento("logs", "w").stdout == "first second|b|/made/for/it|1234:1235:1235 77 78\n"
    found = bento.inspect("w")["Config"]
    expected = {key: config[key] for key in ("ExposedPorts", "Healthcheck", "Labels", "StopSignal", "User")}
    assert {key: found[key] for key in expected} == expected
    bento("stop", "w")
    assert bento.state("w")["ExitCode"] == 9
    assert bento("run", "--rm", "-e", "A=c", "-w", "/", "-u", "0:77", "--entrypoint", "/bin/sh", "web", "-c",
                 'echo "$A $(pwd) $(id -u):$(id -g):$(id -G)"').stdout == "c / 0:77:77\n"  # fmt: skip


def test_stop_signal_that_there_is_not_can_be_overridden(bento: BentoCli, roots: Roots) -> None:
    make_image(roots, "web", layers=[BASE], config={"StopSignal": "SIGNOPE"})
    assert "SIGNOPE" in bento.fails("create", "web", "/x", code=2)
    bento("create", "--stop-signal", "INT", "web", "/x")


def test_image_for_another_machine_is_warned_of_and_noted(bento: BentoCli, roots: Roots, busybox: Path) -> None:
    make_image(roots, "web", layers=[busybox], config={"Cmd": ["/bin/true"]}, architecture="s390x")
    created = bento("create", "--name", "w", "web")
    assert len(created.stderr.splitlines()) == 1
    assert "linux/s390x" in created.stderr
    assert "linux/s390x" in bento.inspect("w")["Notes"][0]
    bento("start", "w")
    bento("wait", "w")
    assert "linux/s390x" in bento.inspect("w")["Notes"][0]
    ran = bento("run", "--rm", "web")
    assert len(ran.stderr.splitlines()) == 1
    make_image(roots, "mine", layers=[busybox], config={"Cmd": ["/bin/true"]})
    assert bento("run", "--rm", "mine").stderr == ""


# -- prune ----------------------------------------------------------------------------------------


def over(bento: BentoCli, name: str, *flags: str) -> str:
    """A container that has run and ended."""
    bento("run", "--name", name, *flags, "host", *SH, "head -c 50000 /dev/zero > /file")
    return str(bento.inspect(name)["Id"])


def test_container_prune_takes_what_does_not_run(bento: BentoCli) -> None:
    db, web = over(bento, "db"), over(bento, "web", "--requires", "db")
    needed = over(bento, "needed")
    bento.run("--name", "up", "--requires", "needed", "host", "sleep", "1000")
    wait_for_status(bento, "needed", "stopped")
    pruned = bento("container", "prune", "-f")
    assert pruned.stdout.splitlines()[:3] == ["Deleted Containers:", web, db]
    assert needed not in pruned.stdout
    reclaimed = pruned.stdout.splitlines()[-1]
    assert reclaimed.startswith("Total reclaimed space: ")
    assert not reclaimed.endswith(" 0B")
    assert {each["Names"] for each in bento.listing("ps", "-a")} == {"up", "needed"}
    assert bento("container", "prune", "-f").stdout == "Total reclaimed space: 0B\n"
    assert bento("doctor").returncode == 0


def test_container_prune_takes_an_old_one_that_was_never_started(
    roots: Roots, bento: BentoCli, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Engine(Settings(root=roots.root, run_root=roots.run_root)) as engine:
        made = engine.create(CreateOptions(image="host", command=("true",)))
        monkeypatch.setattr(prune, "FRESH_S", 1000.0)
        assert engine.prune_containers().containers == ()
        monkeypatch.setattr(prune, "FRESH_S", 0.0)
        with engine.drivers.locks.hold(made.id, 0.0):  # another process starts it
            assert engine.prune_containers().containers == ()
        assert engine.prune_containers().containers == (made.id,)
    assert_clean(bento)


def test_prune_filters(bento: BentoCli, roots: Roots) -> None:
    over(bento, "front", "--label", "tier=front")
    over(bento, "back", "--label", "tier=back", "--label", "keep")
    make_image(roots, layers=[BASE], config={"Labels": {"tier": "front"}})

    def left(*filters: str) -> set[str]:
        bento("prune", "-f", *(word for text in filters for word in ("--filter", text)))
        return {each["Names"] for each in bento.listing("ps", "-a")}

    assert left("until=1h") == left("label=tier", "label=nope") == left("label!=tier") == {"front", "back"}
    assert left("label=tier", "label!=keep") == {"back"}
    assert bento.listing("images") == []
    assert left("until=0s") == set()


def test_image_prune_takes_the_nameless_then_all_that_no_container_needs(bento: BentoCli, roots: Roots) -> None:
    lost = make_image(roots, layers=[BASE, {"lost": b"l" * 3000}])
    held = make_image(roots, layers=[BASE, {"held": b"h"}])
    bento("create", "--name", "w", held.id, "/x")
    used = make_image(roots, "used", layers=[BASE, {"used": b"u"}])
    bento("create", "--name", "v", "used", "/x")
    idle = make_image(roots, "idle", "idle:2", layers=[BASE, {"idle": b"i"}])
    pruned = json.loads(bento("image", "prune", "-f", "--format", "json").stdout)
    assert pruned["ImagesDeleted"] == [{"Deleted": lost.id}]
    assert pruned["ContainersDeleted"] == []
    assert pruned["SpaceReclaimed"] > 3000
    said = bento("image", "prune", "-a", "-f").stdout.splitlines()
    assert said[:4] == ["Deleted Images:", "untagged: idle:2", "untagged: idle:latest", f"deleted: {idle.id}"]
    assert {each["ID"] for each in bento.listing("images", "--no-trunc")} == {held.id, used.id}
    assert all(os.path.isdir(layer) for layer in (*held.layers, *used.layers))
    bento("rm", "w", "v")
    bento("image", "prune", "-af")
    assert [path for path in roots.root.glob("[bl]*s/**/*") if path.is_file()] == []


def test_image_prune_takes_what_an_interrupted_pull_has_left(bento: BentoCli, roots: Roots) -> None:
    made = make_image(roots, "web", layers=[BASE])
    stray = roots.root / "blobs/sha256" / ("ab" * 32)
    stray.write_bytes(b"x" * 777)
    assert "777B" in bento("image", "prune", "-f").stdout
    assert not stray.exists()
    assert bento.listing("images", "--no-trunc")[0]["ID"] == made.id
    bento("doctor")


def test_prune_takes_containers_before_the_images_they_hold(bento: BentoCli, roots: Roots, busybox: Path) -> None:
    make_image(roots, "web", layers=[busybox])
    bento("run", "web", "/bin/true")
    assert "untagged: web:latest" in bento("system", "prune", "-a", "-f").stdout
    assert bento.listing("images") == []
    assert_clean(bento)


@pytest.mark.parametrize(("answer", "status", "is_left"), [("n\n", 1, True), ("\n", 1, True), ("y\n", 0, False)])
def test_prune_asks(bento: BentoCli, roots: Roots, answer: str, status: int, is_left: bool) -> None:
    make_image(roots, "web", layers=[BASE])
    ours, theirs = pty.openpty()
    try:
        os.write(ours, answer.encode())
        with bento.start("image", "prune", "-a", stdin=theirs) as asked:
            _, said = asked.communicate(timeout=60)
    finally:
        os.close(ours)
        os.close(theirs)
    assert asked.returncode == status
    assert "Continue? [y/N]" in said
    assert bool(bento.listing("images")) == is_left
    if is_left:
        assert "nothing was removed" in said
        assert "nothing was removed" in bento("image", "prune", "-a", check=False).stderr  # nothing answers
        assert bento("image", "prune", "-a", stdin="y\n").stdout.startswith("Deleted Images:")
        assert bento.listing("images") == []


def test_prunes_and_runs_at_once_do_not_hurt_each_other(bento: BentoCli, roots: Roots, busybox: Path) -> None:
    make_image(roots, "web", layers=[busybox])
    bento.run("--name", "keeper", "web", "/bin/sleep", "1000")
    pruner = [*bento.prefix, "prune", "-a", "-f"]
    command = f"while [ ! -e {roots.root}/done ]; do {' '.join(pruner)} || exit 1; done"
    with subprocess.Popen(["/bin/sh", "-c", command], stdout=subprocess.DEVNULL) as pruning:
        try:
            for number in range(2):
                assert bento("run", "--rm", "web", "/bin/echo", str(number)).stdout == f"{number}\n"
                made = bento("run", "-d", "web", "/bin/sleep", "1000").stdout.strip()
                assert bento.state(made)["Running"]
                bento("rm", "-f", made)
        finally:
            (roots.root / "done").touch()
    assert pruning.returncode == 0
    (roots.root / "done").unlink()
    bento("rm", "-f", "keeper")
    procs.wait_until(lambda: bento("doctor", check=False).returncode == 0, what="a clean engine")


# -- bad input ------------------------------------------------------------------------------------


def test_bad_words_are_told_in_one_line_and_change_nothing(bento: BentoCli, roots: Roots) -> None:
    make_image(roots, layers=[BASE])
    wrong = [
        "images --filter nope=1", "images --filter dangling", "images --filter dangling=maybe", "images a b",
        "images --filter until=soon", "images --format xml", "history", "history --format xml x", "inspect",
        "inspect --type volcano x", "image inspect", "prune -f --filter nope=1", "prune -f --filter until=soon",
        "prune x",
        "container prune -f --filter label", "container prune -a", "image prune -f --filter until=",
        "image prune --format xml", "system prune --all=maybe", "system df --format xml", "system df x", "system",
        "system nope", "ps --filter ancestor",
    ]  # fmt: skip
    unknown = [
        "images --filter before=nobody",
        "images --filter since=nobody",
        "history nobody",
        "image inspect nobody",
    ]
    for line in wrong:
        assert bento.fails(*line.split(), code=2).startswith("bento: "), line
    for line in unknown:
        bento_said = bento(*line.split(), check=False)
        assert bento_said.returncode == 1, line
        assert "no such image: nobody" in assert_one_line(bento_said), line
    assert len(bento.listing("images")) == 1


# -- roots of an older Bento ----------------------------------------------------------------------

OLD_LAYER = "edc33c30cce0b63e13d934a78fb77091465f2df2ea37c62d930d8584bf1410cd"
OLD_IDS = {"web": f"sha256:{'9d' * 32}", "other": f"sha256:{'fb' * 32}"}
OLD_IMAGE = """{"id":"%s","name":"%s","layers":["%s"],"config":{"command":["/bin/sh","-c","echo $A"],"env":["A=%s"],
"labels":{"k":"v"},"exposed_ports":["80/tcp"]},"created_unix_ns":1795463438929207949,"size_bytes":1996800}"""
OLD_CONTAINER = """{"id":"%s","name":"w","created_unix_ns":1795463440746262289,"spec":{"image":"web","image_id":"%s",
"layers":["%s"],"command":["/bin/sh","-c","echo $A"],"env":["A=old"],"labels":{"k":"v"},"restart":{},
"runtime":"/usr/bin/crun"},"status":"created","run":null,"exit":null,"restarts":0,"restart_boot_s":null,
"restart_streak":0,"stop_asked":false,"shut_down":false,"intent":null,"report":null,"notes":[]}"""


def make_old_roots(roots: Roots, tmp_path: Path) -> None:
    """What a Bento of the first schema has left: two images of one layer, and a container. Documents are its own."""
    layer = roots.root / "layers" / OLD_LAYER
    layer.parent.mkdir(parents=True)
    busybox_rootfs(tmp_path / "old").rename(layer)
    identifier = "55" * 32
    for name in ("upper", "rootfs", "work"):
        (roots.root / "containers" / identifier / name).mkdir(parents=True)
    with closing(sqlite3.connect(roots.root / "bento.db")) as connection:
        connection.execute("PRAGMA journal_mode = WAL")
        migrations.apply_step(connection, 0)
        for name, image_id in OLD_IDS.items():
            document = OLD_IMAGE % (image_id, name, layer, "old" if name == "web" else "other")
            connection.execute("INSERT INTO images VALUES (?, ?, ?, ?)", (name, image_id, 1, document.encode()))
        document = OLD_CONTAINER % (identifier, OLD_IDS["web"], layer)
        row = (identifier, "w", 1, "created", document.encode())
        connection.execute("INSERT INTO containers VALUES (?, ?, ?, ?, ?)", row)
        connection.commit()


def test_images_and_containers_of_the_first_schema_work(bento: BentoCli, roots: Roots, tmp_path: Path) -> None:
    make_old_roots(roots, tmp_path)
    assert listed(bento) == {"web:latest", "other:latest"}
    assert [each["SharedSize"] for each in bento.listing("images")] == ["2MB", "2MB"]
    assert json.loads(bento("image", "inspect", "web").stdout)[0]["Config"]["ExposedPorts"] == {"80/tcp": {}}
    assert [step["Size"] for step in bento.listing("history", "-H=false", "web")] == ["1996800"]
    assert bento("run", "--rm", "other").stdout == "other\n"
    bento("tag", "web", "web:2")
    bento("start", "w")
    bento("wait", "w")
    assert bento("logs", "w").stdout == "old\n"
    assert bento.listing("ps", "-a", "--filter", "ancestor=web")[0]["Names"] == "w"
    bento("rmi", "web:2")
    assert "used by w" in bento.fails("rmi", "web", code=1)
    bento("rm", "w")
    bento("prune", "-a", "-f")
    assert os.listdir(roots.root / "layers") == []
    assert_clean(bento)

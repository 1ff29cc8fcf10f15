"""One bad item ends nothing but itself: records, files of the run root, config.json, and trees that are too deep."""

from __future__ import annotations

import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from support.cli import BentoCli
from support.workload import ONE_RUNTIME, assert_clean, assert_one_line

REMOVALS = [(b"garbage", ("rm", "-f", "bad")), (b'{"id": 5}', ("doctor", "--fix"))]


def garble(bento: BentoCli, table: str, key: str, document: bytes) -> None:
    with closing(sqlite3.connect(bento.roots.root / "bento.db", isolation_level=None)) as connection:
        column = {"containers": "name", "volumes": "name", "images": "id"}[table]
        done = connection.execute(f"UPDATE {table} SET document = ? WHERE {column} = ?", (document, key))
        assert done.rowcount == 1


def run_dir(bento: BentoCli, container_id: str) -> Path:
    return bento.roots.run_root / "containers" / container_id


@pytest.mark.parametrize(("document", "words"), REMOVALS, ids=["rm", "doctor"])
def test_c13_a_container_with_a_bad_record_is_ended_and_removed(
    bento: BentoCli, document: bytes, words: tuple[str, ...]
) -> None:
    identity = bento("run", "-d", "--name", "bad", "--network", "bridge", "host", "sleep", "1000").stdout.strip()
    garble(bento, "containers", "bad", document)
    line = bento.fails("rm", "bad")
    assert identity in line
    assert "rm -f" in line
    assert f"record: unreadable document of {identity[:12]}\n" in bento("doctor", check=False).stdout
    said = bento(*words)
    assert "bad\n" in said.stdout or f"{identity[:12]} (removed)" in said.stdout
    assert bento("ps", "-aq").stdout == ""
    assert_clean(bento)


@ONE_RUNTIME
def test_c13_verbs_over_many_go_on_beside_a_bad_record(bento: BentoCli) -> None:
    for name in ("bad", "good"):
        bento("run", "-d", "--name", name, "--network", "bridge", "-v", f"{name}:/v", "host", "sleep", "1000")
    address = bento("inspect", "bad", "--format", "{{.NetworkSettings.IPAddress}}").stdout.strip()
    garble(bento, "containers", "bad", b'{"id": 5, "address": "%s"}' % address.encode())
    other = bento("run", "-d", "-p", "0:80", "--name", "other", "host", "sleep", "1000").stdout.strip()
    assert bento("inspect", other, "--format", "{{.NetworkSettings.IPAddress}}").stdout.strip() != address
    assert len(bento("ps", "-q", check=False).stdout.split()) == 2
    for words in ("images", "system df", "volume ls", "prune -f", "image prune -a -f", "volume prune -a -f"):
        said = bento(*words.split())
        assert said.stderr.count("the record of container") <= 1, said
    assert bento("volume", "ls", "-q").stdout.split() == ["bad", "good"]  # whose they are is not known
    assert "bento rm -f" in bento("volume", "rm", "bad", check=False).stderr
    assert set(bento("rm", "-f", "-a").stdout.split()) == {"bad", "good", "other"}
    bento("volume", "rm", "bad", "good")
    assert_clean(bento)


@ONE_RUNTIME
def test_c13_images_and_volumes_with_a_bad_record(bento: BentoCli, tmp_path: Path) -> None:
    for name in ("one", "two"):
        (tmp_path / name).mkdir()
        (tmp_path / name / "file").write_text(name)
        bento("import", tmp_path / name, name)
    bento("volume", "create", "v")
    bad = bento("images", "-q", "--no-trunc", "one").stdout.strip()
    garble(bento, "images", bad, b"[]")
    garble(bento, "volumes", "v", b"[]")
    assert bento("images", "--format", "{{.Repository}}").stdout.split() == ["two"]
    bento("system", "df")
    bento("image", "prune", "-a", "-f")
    assert (bento("volume", "ls", "-q").stdout, bento("ps", "-aq").stdout) == ("", "")
    bento("doctor", "--fix", check=False)  # the layers of what it has forgotten are strays at the next look
    bento("doctor", "--fix", check=False)
    assert bento("volume", "ls", "-q").stdout == "v\n"
    bento("volume", "rm", "v")
    assert_clean(bento)


def fifo(path: Path) -> None:
    os.mkfifo(path)


def garbage(path: Path) -> None:
    path.write_bytes(b"9" * 5000)


def directory(path: Path) -> None:
    path.mkdir()


@ONE_RUNTIME
@pytest.mark.parametrize("make", [fifo, garbage, directory])
def test_c13_what_the_run_root_holds_is_looked_at_first(bento: BentoCli, make: Callable[[Path], None]) -> None:
    identity = bento("run", "-d", "--name", "c", "host", "sleep", "1000").stdout.strip()
    where = run_dir(bento, identity)
    for name in ("pidfile", "conmon.pid"):
        (where / name).unlink()
    for name in (f"exit/{identity}", "exit-owner", "driver", "hook.pid", "pidfile", "conmon.pid"):
        make(where / name)
    for words in ("ps -a", "inspect c", "explain c", "doctor", "exec c true"):
        bento(*words.split(), check=False, timeout_s=60)
    bento("stop", "-t", "1", "c", timeout_s=60)
    bento("ps", "-a", timeout_s=60)
    bento("rm", "-f", "c", timeout_s=60)
    assert_clean(bento)


@ONE_RUNTIME
def test_c13_a_config_json_of_another_shape_is_one_line(bento: BentoCli) -> None:
    identity = bento("run", "-d", "--name", "c", "host", "sleep", "1000").stdout.strip()
    for content in ("[]", "{}", '{"process": 5}', '{"process": {"args": [], "env": 1}}', "{"):
        (bento.roots.root / "containers" / identity / "config.json").write_text(content)
        said = bento("exec", "c", "true", check=False)
        assert said.returncode == 125
        assert_one_line(said)
        assert "config.json" in said.stderr
    bento("rm", "-f", "c")


@ONE_RUNTIME
def test_c13_trees_are_counted_name_by_name(bento: BentoCli) -> None:
    bento("volume", "create", "deep")
    bento("volume", "create", "flat")
    data = bento("volume", "inspect", "deep", "--format", "{{.Mountpoint}}").stdout.strip()
    at = os.open(data, os.O_PATH)
    for _ in range(40):
        os.mkdir("d" * 200, dir_fd=at)
        below = os.open("d" * 200, os.O_PATH, dir_fd=at)
        os.close(at)
        at = below
    fd = os.open("file", os.O_CREAT | os.O_WRONLY, dir_fd=at)
    os.write(fd, bytes(300_000))
    os.fsync(fd)
    os.close(fd)
    os.close(at)
    assert "deep" in (said := bento("system", "df", "-v").stdout)
    assert any("deep" in line and "kB" in line for line in said.splitlines()), said
    assert set(bento("volume", "prune", "-a", "-f").stdout.split()) >= {"deep", "flat"}
    assert_clean(bento)

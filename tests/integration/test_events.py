"""The log of events: what each verb leaves in it, what its followers see, and what is left of it by a kill."""

from __future__ import annotations

import io
import json
import os
import signal
import subprocess
import sys
import tarfile
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

import pytest

from bento import CreateOptions, Engine, ExecOptions, Settings
from bento.engine.facade import EngineFacade
from bento.model.container import Files, Mount, RestartPolicy
from bento.model.create import UpdateOptions
from bento.model.event import Event

from support.cli import BentoCli, Roots
from support.procs import wait_until
from support.workload import ONE_RUNTIME, busybox_rootfs

pytestmark = ONE_RUNTIME

CRASH_AT = Path(__file__).parents[1] / "support/crash_at.py"
LIMIT_S = 60.0

READS = {
    "builder_bytes", "builder_used_unix_ns",
    "check_container", "check_foreign", "container_size", "container_user", "containers",
    "dependants_first", "describe_volume", "diff", "disk_usage", "doctor", "drops_signal", "events",
    "exec_sessions", "explain", "explain_foreign", "filesystems", "foreign_report", "generate_systemd", "get",
    "history", "image", "image_usage", "images", "info", "inspect", "inspect_image", "inspect_network",
    "inspect_pod", "inspect_volume", "install_serve_units", "install_unit", "install_zygote_units", "log_stream",
    "login", "logout", "logs", "logs_of", "look_foreign", "names", "networks", "notify_by", "open_pod_network",
    "own_files", "pod", "pod_containers", "pods", "ports", "process_usage", "readiness", "remote_image", "stat_path",
    "stats", "tidy", "stats_sampler", "summaries", "tags", "to_be_shut_down", "to_be_started", "top",
    "unit_stop", "volumes", "wait", "wait_healthy", "warnings",
}  # fmt: skip
"""Verbs that change nothing, so that there is nothing to log."""
THROUGH_OTHERS = {
    "after_exit": "remove, or start",
    "build": "what a load records",
    "check": "what it does to its containers",
    "check_compose": "the same",
    "close": "",
    "connect_network": "tests/unit/engine/test_networks.py",
    "create_network": "the same",
    "create_pod": "tests/unit/engine/test_pods.py",
    "disconnect_network": "the same",
    "finish_pod": "stop, and remove",
    "finish_stop": "stop",
    "keep_pod_front": "what a server keeps with a pod, of which nothing is logged",
    "leave": "detach",
    "leave_exec": "tests/unit/engine/test_exec.py",
    "provide_image": "pull",
    "prune_networks": "prune",
    "prune_pods": "remove_pod",
    "prune_builder": "a cache, of which there are no events",
    "pull": "tests/integration/test_registry.py",
    "resize": "a terminal, of whose size Docker logs it",
    "remove_pod": "tests/unit/engine/test_pods.py, and remove",
    "reopen_log": "a file that its caller rotates",
    "remove_network": "tests/unit/engine/test_networks.py",
    "push": "tests/integration/test_registry.py",
    "stop_foreign": "other engines log what they do themselves",
    "signal_exec": "a process of an exec session, of which Docker logs nothing",
    "signal_main": "kill",
    "start_attached": "start",
    "start_pod": "start, and tests/unit/engine/test_pods.py",
    "stop_many": "stop",
    "stop_pod": "stop, and tests/unit/engine/test_pods.py",
    "stop_pods": "stop",
    "wait_attached": "",
    "wait_exec": "exec_die",
}
"""Verbs that change things by another verb, or of which another test shows it."""


def settings(roots: Roots) -> Settings:
    return Settings(root=roots.root, run_root=roots.run_root, runtime="crun")


def read_all(fd: int) -> None:
    while os.read(fd, 1 << 16):
        pass
    os.close(fd)


def said(events: list[Event]) -> str:
    return ", ".join(f"{event.type} {event.action.partition(':')[0]}" for event in events)


class Verbs:
    """Calls verbs of an engine, and collects what each has logged."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._events = engine.events()
        self.tried: set[str] = set()

    def __call__(self, verb: str, *args: Any, **options: Any) -> str:
        self.tried.add(verb)
        answer = getattr(self._engine, verb)(*args, **options)
        if verb == "exec":
            self._engine.wait_exec(answer)
        if verb == "attach":
            answer.attachment.close()
            self._engine.leave(answer)
        return said(self._events.read())

    def close(self) -> None:
        self._events.close()


@pytest.fixture
def verbs(roots: Roots, bento: BentoCli) -> Iterator[Verbs]:
    with Engine(settings(roots)) as engine:
        made = Verbs(engine)
        yield made
        made.close()


def test_every_verb_logs_what_it_does(verbs: Verbs, tmp_path: Path) -> None:
    """A verb that is new says here what it logs."""
    rootfs = busybox_rootfs(tmp_path / "fs")
    assert verbs("import_image", rootfs, "app") == "image import"
    assert verbs("tag_image", "app", "app:2") == "image tag"
    assert verbs("save", ["app"], tmp_path / "app.tar") == "image save"
    assert verbs("load", tmp_path / "app.tar") == "image load"
    assert verbs("remove_image", "app:2") == "image untag"
    assert verbs("create_volume", "data") == "volume create"
    assert verbs("create_volume", "data") == ""
    assert verbs("create_volume", "spare") == "volume create"
    assert verbs("remove_volume", "spare") == "volume destroy"

    loop = ("/bin/sh", "-c", "trap 'exit 3' TERM; while :; do sleep 0.05; done")
    options = CreateOptions(
        image="app",
        name="web",
        command=loop,
        files=Files(mounts=(Mount(kind="volume", source="data", destination="/d"),)),
    )
    began = "network connect, volume mount, container start"
    ended = "container die, network disconnect, volume unmount"
    assert verbs("create", options) == "container create"
    assert verbs("start", "web") == began
    assert verbs("exec", "web", ExecOptions(command=("true",))) == (
        "container exec_create, container exec_start, container exec_die"
    )
    assert verbs("exec_detached", "web", ExecOptions(command=("sleep", "1000"))) == (
        "container exec_create, container exec_start"
    )
    assert verbs("attach", "web") == "container attach, container detach"
    assert verbs("pause", "web") == "container pause"
    assert verbs("unpause", "web") == "container unpause"
    assert verbs("copy_in", "web", os.fspath(CRASH_AT), "/d/x") == "container extract-to-dir"
    assert verbs("copy_out", "web", "/d/x", os.fspath(tmp_path / "x")) == "container archive-path"
    read_fd, write_fd = os.pipe()
    drain = threading.Thread(target=read_all, args=(read_fd,))
    drain.start()
    assert verbs("export", "web", write_fd) == "container export"
    assert verbs("archive_out", "web", "/d/x", write_fd) == "container archive-path"
    os.close(write_fd)
    drain.join()
    archive = io.BytesIO()
    tarfile.open(fileobj=archive, mode="w").close()
    packed = os.memfd_create("archive")
    os.write(packed, archive.getvalue())
    os.lseek(packed, 0, os.SEEK_SET)
    assert verbs("archive_in", "web", packed, "/d") == "container extract-to-dir"
    os.close(packed)
    assert verbs("commit", "web", "made") == "image tag, container commit"
    assert verbs("rename", "web", "shop") == "container rename"
    assert verbs("update", "shop", UpdateOptions(restart=RestartPolicy(name="no"))) == ""
    assert verbs("update", "shop", UpdateOptions(restart=RestartPolicy(name="always"))) == "container update"
    assert verbs("update", "shop", UpdateOptions(restart=RestartPolicy(name="no"))) == "container update"
    assert verbs("kill", "shop", signal.SIGCONT) == "container kill"
    assert verbs("restart", "shop") == (
        f"container kill, {ended}, container exec_die, container stop, {began}, container restart"
    )
    assert verbs("stop", "shop") == f"container kill, {ended}, container stop"
    assert verbs("start", "shop") == began
    assert verbs("kill", "shop") == f"container kill, {ended}"
    assert verbs("remove", "shop") == "container destroy"
    assert verbs("prune_containers") == "container prune"
    assert verbs("prune_images", all=True) == ("image untag, image delete, image untag, image delete, image prune")
    assert verbs("prune_volumes", all=True) == "volume destroy, volume prune"
    assert verbs("prune") == "container prune, network prune, image prune"

    public = {name for name in dir(EngineFacade) if not name.startswith("_")} - {"drivers"}
    assert verbs.tried | READS | set(THROUGH_OTHERS) == public


@contextmanager
def following(bento: BentoCli, path: Path, *words: str) -> Iterator[list[dict[str, Any]]]:
    """Follow the events by the command line; what it printed is in the list when it was ended."""
    found: list[dict[str, Any]] = []
    with path.open("w") as output:
        process = subprocess.Popen([*bento.prefix, "events", "--format", "json", *words], stdout=output)
        try:
            yield found
        finally:
            process.terminate()
            process.wait(LIMIT_S)
            found += [json.loads(line) for line in path.read_text().splitlines()]


def test_followers_see_all_of_it_once_while_it_happens(bento: BentoCli, tmp_path: Path) -> None:
    began = str(int(time.time()))
    with (
        following(bento, tmp_path / "one", "--since", began) as one,
        following(bento, tmp_path / "two", "--since", began, "-f", "type=container") as two,
    ):
        bento.run("--name", "web", "--label", "tier=front", "host", "sleep", "1000")
        bento("exec", "web", "sh", "-c", "exit 3", check=False)
        bento.fails("exec", "web", "nosuch", code=127)
        bento("exec", "-d", "web", "sh", "-c", "sleep 0.2; exit 4")
        wait_until(lambda: (tmp_path / "two").read_text().count('"Action":"exec_die"') == 2, timeout_s=LIMIT_S)
        bento("stop", "web")
        bento("run", "--rm", "--name", "job", "host", "true")
        bento("rm", "web")
        for name in ("one", "two"):
            wait_until(
                lambda path=tmp_path / name: path.read_text().count('"Action":"destroy"') == 2, timeout_s=LIMIT_S
            )
    logged = [json.loads(line) for line in bento("events", "--until", "0s", "--format", "json").stdout.splitlines()]
    assert one == logged
    assert two == [event for event in logged if event["Type"] == "container"]
    assert [event["Action"] for event in two if event["Actor"]["Attributes"]["name"] == "web"] == [
        "create", "start", "exec_create: sh -c exit 3", "exec_start: sh -c exit 3", "exec_die", "exec_create: nosuch",
        "exec_start: nosuch", "exec_create: sh -c sleep 0.2; exit 4", "exec_start: sh -c sleep 0.2; exit 4", "exec_die",
        "kill", "die", "stop", "destroy",
    ]  # fmt: skip
    assert [event["Action"] for event in two if event["Actor"]["Attributes"]["name"] == "job"] == [
        "create", "attach", "start", "die", "destroy",
    ]  # fmt: skip
    deaths = [event for event in two if event["Action"] == "exec_die"]
    assert [event["Actor"]["Attributes"]["exitCode"] for event in deaths] == ["3", "4"]
    labelled = {event["Actor"]["Attributes"]["name"] for event in two if "tier" in event["Actor"]["Attributes"]}
    assert labelled == {"web"}
    shown = bento("events", "--until", "0s", "-f", "event=die", "--format", "{{.From}} {{.Actor.Attributes.exitCode}}")
    assert shown.stdout == "host 137\nhost 0\n"


def deaths(bento: BentoCli, name: str) -> list[dict[str, Any]]:
    return bento.listing("events", "--until", "0s", "-f", "event=die", "-f", f"container={name}")


def test_an_end_that_is_seen_later_has_the_time_of_the_end(bento: BentoCli) -> None:
    bento.run("--name", "web", "host", "sh", "-c", "sleep 0.3; exit 5")
    pid = bento.state("web")["Pid"]
    wait_until(lambda: not pid or not Path(f"/proc/{pid}").exists(), timeout_s=LIMIT_S)
    gone_ns = time.time_ns()
    time.sleep(0.1)
    (death,) = deaths(bento, "web")
    assert death["Actor"]["Attributes"]["exitCode"] == "5"
    assert death["timeNano"] < gone_ns + 50_000_000


def test_an_end_is_logged_at_once_where_the_events_are_followed(bento: BentoCli, tmp_path: Path) -> None:
    """No other command meets the container."""
    with following(bento, tmp_path / "out", "--since", "1m") as seen:
        bento.run("--name", "web", "host", "sh", "-c", "sleep 0.3; exit 5")
        wait_until(lambda: '"Action":"die"' in (tmp_path / "out").read_text(), timeout_s=LIMIT_S)
    assert [event["Actor"]["Attributes"]["exitCode"] for event in seen if event["Action"] == "die"] == ["5"]
    assert len(deaths(bento, "web")) == 1


def is_following(pid: int) -> bool:
    with suppress(FileNotFoundError):  # of one that was closed meanwhile
        return any(os.readlink(fd) == "anon_inode:inotify" for fd in Path(f"/proc/{pid}/fd").iterdir())
    return False


def test_wait_for_the_next_exit_and_for_the_removal(bento: BentoCli) -> None:
    bento("create", "--name", "job", "host", "sh", "-c", "exit 7")
    assert bento("wait", "job").stdout == "0\n"
    with (
        bento.start("wait", "--condition", "next-exit", "job") as of_exit,
        bento.start("wait", "--condition", "removed", "job") as of_removal,
    ):
        for process in (of_exit, of_removal):
            wait_until(lambda pid=process.pid: is_following(pid), timeout_s=LIMIT_S)
        bento("start", "job")
        assert of_exit.communicate(timeout=LIMIT_S) == ("7\n", "")
        assert of_removal.poll() is None
        bento("rm", "job")
        assert of_removal.communicate(timeout=LIMIT_S) == ("7\n", "")
    assert "no such container" in bento.fails("wait", "--condition", "removed", "job")
    assert "invalid choice" in bento("wait", "--condition", "soon", "job", check=False).stderr


@pytest.mark.parametrize(
    ("when", "label", "nth", "kills"),
    [
        ("after", "Persist", "1", ["15"]),
        ("after", "Persist", "2", ["15", "9"]),  # written down and not sent: no process gets it twice
        ("before", "RunStep(record)", "1", ["15"]),
    ],
)
def test_a_stop_that_is_killed_and_gone_on_with_is_logged_once(
    bento: BentoCli, tmp_path: Path, when: str, label: str, nth: str, kills: list[str]
) -> None:
    bento.run("--name", "web", "host", "sh", "-c", "trap 'exit 3' TERM; echo ready; while :; do sleep 0.05; done")
    bento.wait_for_log("web", "ready")
    words = [*bento.prefix[3:], "stop", "-t", "2", "web"]
    crash = [sys.executable, str(CRASH_AT), str(tmp_path / "trace"), when, label, nth, *words]
    subprocess.run(crash, capture_output=True, check=False)
    bento("wait", "web")
    logged = bento.listing("events", "--until", "0s", "-f", "container=web")
    actions = [event["Action"] for event in logged]
    assert actions == ["create", "start", *("kill" for _ in kills), "die", "stop"]
    assert [event["Actor"]["Attributes"]["signal"] for event in logged if event["Action"] == "kill"] == kills


def test_a_command_that_is_killed_leaves_event_and_change_or_neither(bento: BentoCli) -> None:
    """SIGKILL at any moment of a rename: the log has as many of them as the record has seen."""
    bento("create", "--name", "n0", "host", "true")
    names = 0
    for delay_ms in range(0, 60, 5):
        name = f"n{delay_ms + 1}"
        with bento.start("rename", f"n{names}", name) as process:
            try:
                process.wait(0.02 + delay_ms / 1000)
            except subprocess.TimeoutExpired:
                process.kill()
        listed = bento("ps", "-a", "--format", "{{.Names}}").stdout.strip()
        names = int(listed[1:])
        renames = bento(
            "events", "--until", "0s", "-f", "event=rename", "--format", "{{.Actor.Attributes.name}}"
        ).stdout
        assert ("n0", *renames.split())[-1] == listed

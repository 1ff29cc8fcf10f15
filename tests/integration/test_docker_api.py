"""``bento serve``: Docker's API on a socket, asked as Docker's clients ask it."""

from __future__ import annotations

import json
import os
import signal
import socket
import stat
import subprocess
import sys
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path
from typing import Any

import pytest

from support import procs
from support.cli import BentoCli
from support.procs import wait_until
from support.serving import LIMIT_S, Served, serving
from support.workload import ONE_RUNTIME, busybox_rootfs

pytestmark = ONE_RUNTIME


@pytest.fixture
def served(bento: BentoCli) -> Iterator[Served]:
    with serving(bento) as found:
        yield found


def create(served: Served, *command: str, name: str, **fields: Any) -> str:
    body = {"Image": "host", "Cmd": command, "HostConfig": {"NetworkMode": "none"}} | fields
    answer = served("POST", f"/containers/create?name={name}", body)
    assert answer.status == 201, answer.body
    found: str = answer.json["Id"]
    return found


def test_a_container_lives_and_ends_as_clients_expect(served, bento):
    ping = served("HEAD", "/_ping")
    assert (ping.status, ping.headers["api-version"], ping.body) == (200, "1.44", b"")
    assert served("GET", "/v1.30/version").json["ApiVersion"] == "1.44"
    container_id = create(served, "sh", "-c", "trap 'exit 7' TERM; while :; do sleep 0.1; done", name="web")
    assert served("POST", "/containers/create?name=web", {"Image": "host", "Cmd": ["true"]}).status == 409

    waiting = served.open("POST", f"/containers/{container_id}/wait?condition=next-exit")  # before it is started
    assert waiting.status == 200
    assert [served("POST", "/v1.44/containers/web/start").status for _ in range(2)] == [204, 304]
    shown = served("GET", "/containers/json").json
    assert [(one["Id"], one["Names"], one["State"]) for one in shown] == [(container_id, ["/web"], "running")]
    assert served("GET", "/containers/web/json").json["State"]["Status"] == "running"
    assert served("DELETE", "/containers/web").status == 409
    assert served("POST", "/containers/web/pause").status == 204
    assert served("GET", "/containers/web/json").json["State"]["Status"] == "paused"
    assert served("POST", "/containers/web/unpause").status == 204
    assert served("POST", "/containers/web/rename?name=api").status == 204

    stopped = served("POST", "/containers/api/stop?t=30")
    assert (stopped.status, stopped.headers["x-bento-verdict"]) == (204, "graceful")
    assert served("POST", "/containers/api/stop").status == 304
    assert json.loads(waiting.read())["StatusCode"] == 7
    waiting.close()
    report = served("GET", "/bento/containers/api/stop-report").json
    assert (report["verdict"], report["exit_code"], report["asked_by"]) == ("graceful", 7, "api")

    assert served("POST", "/containers/api/restart?t=0").status == 204
    assert served("POST", "/containers/api/kill?signal=KILL").status == 204
    assert bento.state("api")["Status"] == "stopped"
    assert served("POST", "/containers/api/kill").status == 409
    assert served("DELETE", "/containers/api?v=1").status == 204
    gone = served("GET", "/containers/api/json")
    assert (gone.status, gone.message) == (404, "No such container: api")


def test_errors_are_said_as_dockers_clients_read_them(served):
    assert served("GET", "/v1.45/containers/json").message.startswith("client version 1.45 is too new.")
    assert served("GET", "/v1.23/containers/json").message.startswith("client version 1.23 is too old.")
    assert served("GET", "/nothing").status == 404
    assert served("PUT", "/containers/json").status == 405
    assert [served("GET", path).status for path in ("/swarm", "/session", "/plugins/x/enable")] == [503, 501, 501]
    assert served("POST", "/containers/create", {"Image": "nowhere/none:1", "Cmd": ["true"]}).status == 404
    assert served("POST", "/containers/create", b'{"Image": 3}').status == 400
    assert served("POST", "/containers/create", {"Image": "host", "HostConfig": {"Links": ["a:b"]}}).status == 400
    assert served("GET", "/containers/json?filters=%7B%22nonsense%22%3A%5B%22x%22%5D%7D").status == 400
    create(served, "/no/such/program", name="bad")
    refused = served("POST", "/containers/bad/start")
    assert refused.status == 400
    assert "executable file not found" in refused.message  # Docker's command line exits with 127 by these words
    assert served("DELETE", "/containers/bad").status == 204
    with served.connect() as client:  # no HTTP
        client.sendall(b"\0\1\2\r\n\r\n")
        assert client.makefile("rb").readline().startswith(b"HTTP/1.1 400")
    with served.connect() as client:  # a head without an end
        client.sendall(b"GET / HTTP/1.1\r\n" + b"A: b\r\n" * 20_000)
        assert client.makefile("rb").readline().startswith(b"HTTP/1.1 431")


def test_a_waiter_that_leaves_and_a_server_that_is_killed_change_nothing_for_a_container(bento):
    with serving(bento) as served:
        create(served, "sleep", "600", name="web", HostConfig={"NetworkMode": "none", "Init": True})
        assert served("POST", "/containers/web/start").status == 204
        for _ in range(20):
            served.open("POST", "/containers/web/wait").close()
        served.process.kill()
        served.process.wait(LIMIT_S)
    assert bento.state("web")["Running"]
    with serving(bento) as served:  # the socket that was left is replaced
        removal = served.open("POST", "/containers/web/wait?condition=removed")
        assert served("DELETE", "/containers/web?force=1").status == 204
        assert json.loads(removal.read())["StatusCode"] == 137
        removal.close()


def test_a_stop_goes_on_when_the_server_is_killed(served, bento):
    program = "trap 'sleep 1; exit 3' TERM; echo ready; while :; do sleep 0.1; done"
    create(served, "sh", "-c", program, name="web")
    assert served("POST", "/containers/web/start").status == 204
    bento.wait_for_log("web", "ready")
    with served.connect() as client:
        client.sendall(b"POST /containers/web/stop HTTP/1.1\r\nHost: bento\r\n\r\n")
        wait_until(lambda: bento.state("web")["Status"] == "stopping", timeout_s=LIMIT_S, what="the stop")
        served.process.kill()
        served.process.wait(LIMIT_S)
    assert bento("wait", "web").stdout.strip() == "3"
    assert bento.inspect("web")["Stop"]["verdict"] == "graceful"


def test_stops_are_carried_out_once_though_what_forks_their_workers_is_killed_at_any_moment(served, bento):
    names = [f"w{number}" for number in range(8)]
    program = "trap 'echo told; exit 3' TERM; echo ready; while :; do sleep 0.1; done"
    for name in names:
        create(served, "sh", "-c", program, name=name)
        assert served("POST", f"/containers/{name}/start").status == 204
    for name in names:
        bento.wait_for_log(name, "ready")
    with ThreadPoolExecutor(len(names)) as clients:
        answers = [clients.submit(served, "POST", f"/containers/{name}/stop?t=60") for name in names]
        for pause_s in (0.0, 0.01, 0.05, 0.2, 0.5):  # fewer than are tried for one stop
            kill_what_forks(served)
            time.sleep(pause_s)
        assert [answer.result(LIMIT_S).headers.get("x-bento-verdict") for answer in answers] == ["graceful"] * len(
            names
        )
    assert [bento("logs", name).stdout for name in names] == ["ready\ntold\n"] * len(names)
    assert [bento.state(name)["ExitCode"] for name in names] == [3] * len(names)
    bento("start", names[0])
    kill_what_forks(served)
    assert served("DELETE", f"/containers/{names[0]}?force=1").status == 204


def kill_what_forks(served: Served) -> None:
    """SIGKILL the process that forks the server's workers, where there is one now."""
    for child in Path(f"/proc/{served.process.pid}/task/{served.process.pid}/children").read_text().split():
        if "bento.serve.worker" in procs.whole_cmdline(int(child)):
            with suppress(ProcessLookupError):
                os.kill(int(child), signal.SIGKILL)


def test_a_server_that_ends_lets_its_clients_know_and_its_stops_go_on(served, bento):
    create(served, "sh", "-c", "trap 'sleep 1; exit 3' TERM; echo ready; while :; do sleep 0.1; done", name="web")
    assert served("POST", "/containers/web/start").status == 204
    bento.wait_for_log("web", "ready")
    events = served.open("GET", "/events")
    with served.connect() as client:
        client.sendall(b"POST /containers/web/stop HTTP/1.1\r\nHost: bento\r\n\r\n")
        wait_until(lambda: bento.state("web")["Status"] == "stopping", timeout_s=LIMIT_S, what="the stop")
        served.process.send_signal(signal.SIGTERM)
        assert client.makefile("rb").readline().startswith(b"HTTP/1.1 503")
    events.read()  # to an end that is one: else this raises
    events.close()
    assert served.process.wait(LIMIT_S) == 0
    assert bento("wait", "web").stdout.strip() == "3"
    assert bento.inspect("web")["Stop"]["verdict"] == "graceful"


def test_a_new_server_goes_on_where_the_old_one_ends(bento, tmp_path):
    """An upgrade: the old one finishes what clients have of it, and the new one joins the stop of its worker."""
    program = "trap 'until [ -e /s/go ]; do sleep 0.1; done; exit 3' TERM; echo ready; while :; do sleep 0.1; done"
    with serving(bento) as old:
        config = {"NetworkMode": "none", "Binds": [f"{tmp_path}:/s"]}
        create(old, "sh", "-c", program, name="web", HostConfig=config)
        assert old("POST", "/containers/web/start").status == 204
        bento.wait_for_log("web", "ready")
        with old.connect() as first, old.connect() as slow:
            first.sendall(b"POST /containers/web/stop?t=600 HTTP/1.1\r\nHost: bento\r\n\r\n")
            slow.sendall(b"POST /containers/create HTTP/1.1\r\nHost: bento\r\nContent-Length: 2\r\n\r\n{")
            wait_until(lambda: bento.state("web")["Status"] == "stopping", timeout_s=LIMIT_S, what="the stop")
            before = bento.inspect("web")["Stopping"]["DeadlineBoottime"]
            old.process.send_signal(signal.SIGTERM)
            wait_until(lambda: not old.path.exists(), timeout_s=LIMIT_S, what="the old socket's end")
            slow.sendall(b"}")
            assert slow.makefile("rb").readline().startswith(b"HTTP/1.1 400")  # it names no image
            assert first.makefile("rb").readline().startswith(b"HTTP/1.1 503")
    with serving(bento) as new, new.connect() as second:
        second.sendall(b"POST /containers/web/stop?t=300 HTTP/1.1\r\nHost: bento\r\n\r\n")
        wait_until(
            lambda: bento.inspect("web")["Stopping"]["DeadlineBoottime"] < before, timeout_s=LIMIT_S, what="the join"
        )
        (tmp_path / "go").touch()
        assert b"\r\nx-bento-verdict: graceful\r\n" in second.recv(4096).lower()
        report = new("GET", "/bento/containers/web/stop-report").json
        assert (report["verdict"], report["exit_code"]) == ("graceful", 3)
        died = new("GET", f"/events?since=1&until={time.time()}&filters=%7B%22event%22%3A%5B%22die%22%5D%7D").body
        assert len(died.splitlines()) == 1


def test_the_socket_is_one_servers_and_the_groups(bento, tmp_path):
    path = tmp_path / "docker.sock"
    with serving(bento, "--docker-socket", str(path), "--docker-group", "12345"):
        status = path.stat()
        assert (stat.S_IMODE(status.st_mode), status.st_uid, status.st_gid) == (0o660, 0, 12345)
        assert "another server listens" in bento.fails("serve", "--docker-socket", path)
    assert os.listdir(tmp_path) == []
    path.write_text("a file")
    assert "is no socket" in bento.fails("serve", "--docker-socket", path, code=2)
    assert "no group" in bento.fails("serve", "--docker-group", "no-such-group", code=2)


def test_sockets_are_taken_over_from_systemd(bento, tmp_path):
    """As by systemd-socket-activate: descriptor 3, and two variables, of which one is the pid."""
    path = tmp_path / "given.sock"
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as listener:
        listener.bind(str(path))
        listener.listen()
        program = "import os, sys; os.dup2(int(sys.argv[1]), 3); os.environ['LISTEN_PID'] = str(os.getpid()); " \
            "os.environ['LISTEN_FDS'] = '1'; os.execv(sys.argv[2], sys.argv[2:])"  # fmt: skip
        words = [sys.executable, "-c", program, str(listener.fileno()), *bento.prefix, "system", "service"]
        with subprocess.Popen(words, pass_fds=(listener.fileno(),), stdout=subprocess.PIPE, text=True) as process:
            assert process.stdout is not None
            try:
                assert str(path) in process.stdout.readline()
                assert Served(process, path)("GET", "/_ping").body == b"OK"
                process.send_signal(signal.SIGINT)
                assert process.wait(LIMIT_S) == 0
            finally:
                process.kill()
    assert path.exists()  # it is systemd's


def test_dockers_own_command_line_runs_lists_and_stops(served, tmp_path):
    docker = served.docker
    assert "1.44" in docker("version").stdout
    docker(
        "create", "--name", "web", "--network", "none", "--label", "a=b", "--stop-timeout", "30", "host", "sleep", "600"
    )
    docker("start", "web")
    assert docker("ps", "--filter", "label=a=b", "--format", "{{.Names}} {{.State}}").stdout == "web running\n"
    assert "sleep 600" in docker("top", "web", "-o", "pid,args").stdout
    assert docker("stats", "--no-stream", "--format", "{{.Name}} {{.PIDs}}", "web").stdout == "web 1\n"
    (tmp_path / "file").write_text("text")
    docker("cp", str(tmp_path / "file"), "web:/tmp/there")
    docker("cp", "web:/tmp/there", str(tmp_path / "back"))
    assert (tmp_path / "back").read_text() == "text"
    assert "A /tmp/there" in docker("diff", "web").stdout
    assert docker("cp", "web:/none", str(tmp_path), check=False).returncode == 1
    docker("stop", "web")
    ended = docker(
        "events", "--since", "1h", "--until", str(time.time()), "--filter", "event=die", "--format", "{{json .}}"
    ).stdout
    assert json.loads(ended)["Actor"]["Attributes"]["verdict"] == "default-action"
    assert docker("wait", "web").stdout == "137\n"
    assert docker("inspect", "web", "--format", "{{.State.Status}} {{.Config.StopTimeout}}").stdout == "exited 30\n"
    docker("rm", "web")
    assert docker("inspect", "web", check=False).returncode == 1


def test_a_profile_of_the_client_and_a_commit(served, bento, tmp_path):
    docker = served.docker
    bento("import", busybox_rootfs(tmp_path / "fs"), "bb")
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_ERRNO", "errnoRet": 38}
    file = tmp_path / "profile.json"
    file.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}, indent=2))
    option = ("--security-opt", f"seccomp={file}")
    docker("create", "--name", "w", "--network", "none", *option, "bb", "sh", "-c", "mkdir /x; echo a > /made")
    file.unlink()  # it is with the container
    docker("start", "w")
    assert docker("wait", "w").stdout == "0\n"
    assert "not implemented" in docker("logs", "w").stderr
    (kept,) = served("GET", "/containers/w/json").json["HostConfig"]["SecurityOpt"]
    assert json.loads(kept.removeprefix("seccomp="))["syscalls"][0]["names"] == rule["names"]
    file.write_text('{"defaultAction": 3}')
    refused = docker("create", *option, "host", "true", check=False)
    assert (refused.returncode, refused.stderr.count("seccomp profile")) == (1, 1), refused

    image = docker("commit", "-a", "author", "-m", "words", "-c", 'CMD ["cat", "/made"]', "w", "made:1").stdout.strip()
    shown = served("GET", "/images/made:1/json").json
    assert (shown["Id"], shown["Author"], shown["Comment"]) == (image, "author", "words")
    assert docker("run", "--rm", "--network", "none", "made:1").stdout == "a\n"
    assert served("POST", "/commit?container=none").status == 404
    docker("rm", "w")
    docker("rmi", "made:1", "bb")


def test_without_h11_there_is_one_clear_line(bento):
    program = f"import sys; sys.modules['h11'] = None; sys.argv = ['x', '--root={bento.roots.root}']; " \
        "from bento.serve.__main__ import main; sys.exit(main())"  # fmt: skip
    done = subprocess.run([sys.executable, "-c", program], capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert len(done.stderr.splitlines()) == 1
    assert "h11" in done.stderr

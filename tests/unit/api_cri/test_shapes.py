"""What the interface says of containers, pods and images."""

from __future__ import annotations

import json
from typing import Any

import msgspec
import pytest
from grpclib.const import Status as Code

from bento.api_cri.bodies import front
from bento.api_cri.errors import as_status, of_code
from bento.api_cri.messages import pb
from bento.api_cri.shapes import containers, images, sandboxes
from bento.errors import AlreadyStopped, BentoError, Conflict, DeadlineExceeded, MissingTool, NotFound, UsageError
from bento.model.container import Container, ContainerSpec, Exit, NodeSettings, Run, StartFailure, Status
from bento.model.image import Image, ImageConfig
from bento.model.network import Connection
from bento.model.pods import Pod, PodSettings, PodState
from bento.model.stop import AskedBy, StopReport, Verdict
from bento.oci.user import ResolvedUser

CONFIG = pb.ContainerConfig(
    metadata={"name": "c", "attempt": 3}, image={"image": "busybox"}, labels={"a": "b"}, annotations={"x": "y"},
    log_path="c/0.log",
)  # fmt: skip
POD = pb.PodSandboxConfig(metadata={"name": "p", "uid": "u", "namespace": "n"}, log_directory="/l", labels={"k": "v"})


def container(**fields: Any) -> Container:
    spec = ContainerSpec(
        image="busybox", image_id="sha256:1", layers=(), pod="p1", node=NodeSettings(front=front.keep(CONFIG))
    )
    own: dict[str, Any] = {"id": "c1", "name": "n", "created_unix_ns": 5, "spec": spec}
    return Container(**(own | fields))


def run(**fields: Any) -> Run:
    own: dict[str, Any] = {"number": 1, "runtime": "/usr/bin/crun", "started_unix_ns": 10}
    return Run(**(own | fields))


def report(verdict: Verdict, cause: str, started_unix_ns: int = 11) -> StopReport:
    return StopReport(
        asked_by=AskedBy.USER, method="signal", signal="SIGTERM", grace_s=1.0, started_unix_ns=started_unix_ns,
        duration_s=0.1, verdict=verdict, cause=cause, remedy="", exit_code=137, disposition="caught",
    )  # fmt: skip


def test_listed_gives_back_what_came():
    made = containers.listed(container())
    assert (made.id, made.pod_sandbox_id, made.image_ref) == ("c1", "p1", "sha256:1")
    assert (made.metadata.attempt, made.labels["a"], made.annotations["x"]) == (3, "b", "y")
    assert made.state == pb.CONTAINER_CREATED


@pytest.mark.parametrize(
    ("fields", "state"),
    [
        ({"status": Status.STARTING}, pb.CONTAINER_CREATED),
        ({"status": Status.RUNNING}, pb.CONTAINER_RUNNING),
        ({"status": Status.PAUSED}, pb.CONTAINER_RUNNING),
        ({"status": Status.STOPPING}, pb.CONTAINER_RUNNING),
        ({"status": Status.STOPPED}, pb.CONTAINER_EXITED),
        ({"start_failure": StartFailure(code=127, message="no such program")}, pb.CONTAINER_EXITED),
    ],
)
def test_state(fields, state):
    assert containers.state(container(**fields)) == state


@pytest.mark.parametrize(
    ("ended", "code", "reason"),
    [
        (Exit(code=0, finished_unix_ns=20), 0, "Completed"),
        (Exit(code=3, finished_unix_ns=20), 3, "Error"),
        (Exit(code=137, finished_unix_ns=20, oom_killed=True), 137, "OOMKilled"),
        (Exit(code=None, finished_unix_ns=20), 255, "ContainerStatusUnknown"),
    ],
)
def test_end(ended, code, reason):
    made = containers.status(container(status=Status.STOPPED, run=run(), exit=ended), POD)
    assert (made.exit_code, made.reason, made.started_at, made.finished_at) == (code, reason, 10, 20)
    assert made.log_path == "/l/c/0.log"


def test_a_start_that_failed_has_ended_and_says_why():
    made = containers.status(container(start_failure=StartFailure(code=127, message="no such program")), POD)
    assert (made.exit_code, made.reason, made.message) == (127, "StartError", "no such program")
    assert made.finished_at


def test_the_report_of_a_stop_is_in_the_message():
    ended = {"status": Status.STOPPED, "run": run(), "exit": Exit(code=137, finished_unix_ns=20)}
    made = containers.status(container(**ended, report=report(Verdict.KILLED, "it did not hear")), POD)
    assert made.message == "killed: it did not hear"
    older = containers.status(container(**ended, report=report(Verdict.KILLED, "of the run before", 9)), POD)
    assert older.message == ""
    said = json.loads(containers.info(container(**ended, report=report(Verdict.KILLED, "it did not hear"))))
    assert said["stopReport"]["cause"] == "it did not hear"
    assert said["pid"] == 0


@pytest.mark.parametrize(
    ("asked", "name"),
    [
        ({"image": "sha256:1", "user_specified_image": "a:2"}, "docker.io/library/a:2"),
        ({"image": "a:2"}, "docker.io/library/a:2"),
        ({"image": "sha256:1", "user_specified_image": "gone:1"}, "docker.io/library/a:1"),
    ],
)
def test_the_image_of_a_container_has_a_name_and_the_digest_of_its_registry(asked, name):
    config = pb.ContainerConfig(metadata={"name": "c"}, image=asked)
    spec = ContainerSpec(
        image="a", image_id="sha256:1", layers=(), pod="p1", node=NodeSettings(front=front.keep(config))
    )
    found = Image(
        id="sha256:1", names=("docker.io/library/a:1", "docker.io/library/a:2"), digest="sha256:d", layers=(),
        config=ImageConfig(), created_unix_ns=0, size_bytes=0,
    )  # fmt: skip
    made = containers.status(container(spec=spec), POD, image=found)
    assert (made.image.image, made.image_id) == (name, "sha256:1")
    assert made.image_ref == "docker.io/library/a@sha256:d"
    unnamed = containers.status(container(spec=spec), POD, image=msgspec.structs.replace(found, names=()))
    assert (unnamed.image.image, unnamed.image_ref) == (asked["image"], "sha256:1")


def test_user_and_signal():
    made = containers.status(container(), POD, ResolvedUser(uid=1, gid=2, groups=(2, 3), home="/"))
    assert (made.user.linux.uid, made.user.linux.gid, list(made.user.linux.supplemental_groups)) == (1, 2, [2, 3])
    assert pb.Signal.Name(made.stop_signal).endswith("SIGTERM")


def pod(**fields: Any) -> Pod:
    settings = PodSettings(front=front.keep(POD, "runc"))
    own: dict[str, Any] = {"id": "p1", "name": "n", "created_unix_ns": 5, "settings": settings}
    return Pod(**(own | fields))


def test_pod():
    place = Connection(bridge="b", address="10.0.0.2", prefix=24, gateway="10.0.0.1", mac="", address6="fd00::2")
    ready = sandboxes.status(pod(state=PodState.READY, connections=(place,)))
    assert (ready.state, ready.network.ip) == (pb.SANDBOX_READY, "10.0.0.2")
    assert [each.ip for each in ready.network.additional_ips] == ["fd00::2"]
    assert (ready.metadata.uid, ready.labels["k"], ready.runtime_handler) == ("u", "v", "runc")
    assert sandboxes.listed(pod(state=PodState.STOPPING)).state == pb.SANDBOX_NOTREADY
    assert sandboxes.status(pod(state=PodState.NOT_READY)).network.ip == ""


def image(*names: str, user: str = "") -> Any:
    made = Image(
        id="sha256:1", names=names, digest="sha256:d", layers=(), config=ImageConfig(user=user),
        created_unix_ns=0, size_bytes=7,
    )  # fmt: skip
    return images.image(made, ("docker.io/library/a:1",))


def test_image_names():
    made = image("docker.io/library/a:1", "docker.io/library/a:2", "quay.io/b:1")
    assert list(made.repo_tags) == ["docker.io/library/a:1", "docker.io/library/a:2", "quay.io/b:1"]
    assert list(made.repo_digests) == ["docker.io/library/a@sha256:d", "quay.io/b@sha256:d"]
    assert made.pinned
    by_digest = image("quay.io/b@sha256:index")
    assert (list(by_digest.repo_tags), list(by_digest.repo_digests)) == ([], ["quay.io/b@sha256:index"])
    assert not by_digest.pinned


@pytest.mark.parametrize(
    ("user", "uid", "name"),
    [("", None, ""), ("0", 0, ""), ("5:6", 5, ""), ("www", None, "www"), ("www:x", None, "www")],
)
def test_image_user(user, uid, name):
    made = image("quay.io/b:1", user=user)
    assert made.username == name
    assert (made.uid.value if made.HasField("uid") else None) == uid


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (NotFound("x"), Code.NOT_FOUND),
        (UsageError("x"), Code.INVALID_ARGUMENT),
        (Conflict("x"), Code.FAILED_PRECONDITION),
        (AlreadyStopped("x"), Code.FAILED_PRECONDITION),
        (DeadlineExceeded("x"), Code.DEADLINE_EXCEEDED),
        (MissingTool("x"), Code.UNKNOWN),
    ],
)
def test_errors(error: BentoError, code):
    assert as_status(error).status is code
    assert of_code("not-found", "x").status is Code.NOT_FOUND
    assert of_code("unheard-of", "x").status is Code.UNKNOWN

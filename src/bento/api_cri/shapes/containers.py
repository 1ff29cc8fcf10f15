"""Containers as messages."""

from __future__ import annotations

from typing import Any, Final

import msgspec

from bento.api_cri.bodies import front
from bento.api_cri.bodies.containers import log_path, signal_number
from bento.api_cri.bodies.resources import shown
from bento.api_cri.messages import Message, pb
from bento.api_cri.shapes import images
from bento.model.container import Container, Status
from bento.model.image import Image
from bento.model.stop import Verdict
from bento.oci.user import ResolvedUser
from bento.units import SIGTERM

_STATES: Final = {
    Status.CREATED: pb.CONTAINER_CREATED,
    Status.STARTING: pb.CONTAINER_CREATED,
    Status.RUNNING: pb.CONTAINER_RUNNING,
    Status.PAUSED: pb.CONTAINER_RUNNING,
    Status.STOPPING: pb.CONTAINER_RUNNING,
    Status.STOPPED: pb.CONTAINER_EXITED,
    Status.RESTARTING: pb.CONTAINER_EXITED,
}
_UNKNOWN_CODE: Final = 255
_NOT_STARTED_CODE: Final = 128
_KILLED: Final = 137


def state(container: Container) -> int:
    """Return the state of a container: one that could not be started has ended."""
    if container.start_failure is not None and not container.status.is_live:
        return int(pb.CONTAINER_EXITED)
    return int(_STATES[container.status])


def listed(container: Container) -> Message:
    """Return a container as a list has it."""
    config = front.container_config(container.spec.node.front)
    return pb.Container(
        id=container.id,
        pod_sandbox_id=container.spec.pod,
        metadata=config.metadata,
        image=config.image,
        image_ref=container.spec.image_id,
        image_id=container.spec.image_id,
        state=state(container),
        created_at=container.created_unix_ns,
        labels=config.labels,
        annotations=config.annotations,
    )


def status(
    container: Container, sandbox: Message, user: ResolvedUser | None = None, image: Image | None = None
) -> Message:
    """Return all that is said of a container. ``sandbox``: its pod's configuration. ``user``: of its processes.

    ``image`` None: it is not here any more, and its id is all that is known.
    """
    config = front.container_config(container.spec.node.front)
    spec, began, ended = container.spec, container.run, container.exit
    code, reason, message = _end(container)
    found = pb.ContainerStatus(
        id=container.id,
        metadata=config.metadata,
        state=state(container),
        created_at=container.created_unix_ns,
        started_at=began.started_unix_ns if began is not None else 0,
        finished_at=ended.finished_unix_ns if ended is not None else 0,
        exit_code=code,
        image=config.image,
        image_ref=spec.image_id,
        image_id=spec.image_id,
        reason=reason,
        message=message,
        labels=config.labels,
        annotations=config.annotations,
        mounts=config.mounts,
        log_path=log_path(config, sandbox),
        resources=shown(spec.resources, spec.limits.oom_score_adj),
        stop_signal=signal_number(SIGTERM if spec.stop.signal is None else spec.stop.signal),
    )
    if found.state == pb.CONTAINER_EXITED and not found.finished_at:
        found.finished_at = container.created_unix_ns
    if image is not None:  # a kubelet asks by the id: its users see the name, and the digest of the registry
        found.image.image = images.called(image, config.image) or config.image.image
        found.image_ref = next(iter(images.digests(image)), spec.image_id)
    if user is not None:
        found.user.CopyFrom(
            pb.ContainerUser(
                linux=pb.LinuxContainerUser(uid=user.uid, gid=user.gid, supplemental_groups=list(user.groups))
            )
        )
    return found


def _end(container: Container) -> tuple[int, str, str]:
    """Return the exit code, the reason in one word, and what there is to say."""
    failure, ended = container.start_failure, container.exit
    if failure is not None and not container.status.is_live:
        code = failure.code if failure.code in (126, 127) else _NOT_STARTED_CODE
        return code, "StartError", failure.message
    if ended is None or container.status.is_live:
        return 0, "", ""
    code = _UNKNOWN_CODE if ended.code is None else ended.code
    if ended.oom_killed and code:
        reason = "OOMKilled"
    elif ended.code is None:
        reason = "ContainerStatusUnknown"
    else:
        reason = "Error" if code else "Completed"
    return code, reason, _said(container) or ended.note


def _said(container: Container) -> str:
    """Return what the last stop says of this end; "" where it was no stop that ended it."""
    report = container.report
    if report is None or container.run is None or report.started_unix_ns < container.run.started_unix_ns:
        return ""
    if report.verdict is Verdict.ALREADY_EXITED:
        return ""
    return f"{report.verdict.value}: {report.cause}" if report.cause else report.verdict.value


def info(container: Container) -> str:
    """Return more, for people: where it runs, and the whole report of its last stop."""
    run = container.run
    said: dict[str, Any] = {
        "sandboxID": container.spec.pod,
        "pid": run.init.pid if run is not None and run.init is not None and container.status.is_live else 0,
        "name": container.name,
        "runtime": container.spec.runtime,
        "status": container.status,
        "notes": container.notes,
        "stopping": container.intent is not None,
        "stopReport": container.report,
    }
    return msgspec.json.encode(said).decode()

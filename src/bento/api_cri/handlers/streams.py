"""Exec, Attach, PortForward: a URL each, which the streaming server serves once."""

from __future__ import annotations

from bento.api_cri.context import Context
from bento.api_cri.handlers import finding
from bento.api_cri.messages import Message, pb
from bento.errors import WrongState
from bento.model.container import Container, Status
from bento.streaming.requests import AttachRequest, ExecRequest, PortForwardRequest


async def _running(context: Context, ref: str) -> Container:
    found = await context.engines.ask(lambda engine: finding.container(engine, ref))
    if found.status not in (Status.RUNNING, Status.STOPPING):
        raise WrongState(f"container {found.id} is {found.status.value}, and not running")
    return found


async def run_exec(context: Context, request: Message) -> Message:
    """Return where a client gets the streams of a new command."""
    found = await _running(context, request.container_id)
    asked = ExecRequest(
        container_id=found.id,
        command=tuple(request.cmd),
        tty=request.tty,
        stdin=request.stdin,
        stdout=request.stdout,
        stderr=request.stderr,
    )
    return pb.ExecResponse(url=context.streaming.exec_url(asked))


async def attach(context: Context, request: Message) -> Message:
    """Return where a client gets the streams of a container."""
    found = await _running(context, request.container_id)
    asked = AttachRequest(
        container_id=found.id,
        tty=request.tty,
        stdin=request.stdin,
        stdout=request.stdout,
        stderr=request.stderr,
    )
    return pb.AttachResponse(url=context.streaming.attach_url(asked))


async def port_forward(context: Context, request: Message) -> Message:
    """Return where a client gets connections to ports of a pod."""
    found = await context.engines.ask(lambda engine: finding.pod(engine, request.pod_sandbox_id))
    if not found.is_ready:
        raise WrongState(f"pod {found.id} is not ready")
    asked = PortForwardRequest(sandbox_id=found.id, ports=tuple(request.port))
    return pb.PortForwardResponse(url=context.streaming.port_forward_url(asked))

"""Following a job of a worker from a request."""

from __future__ import annotations

from bento import log
from bento.api_docker.http.call import Call
from bento.api_docker.http.errors import status_of
from bento.engine.base.worker import Message
from bento.errors import BentoError, InternalError
from bento.serving.jobs import Remove, Restart, Stop


class JobFailed(BentoError):
    """What a worker has met: its error, with the status that goes with that."""

    code = "job-failed"

    def __init__(self, message: Message) -> None:
        super().__init__(message.error)
        self.http_status = status_of(message.code)


class ServerEnds(BentoError):
    """The server ends while a worker is at work, which goes on."""

    code = "server-ends"
    http_status = 503


async def outcome(call: Call, task: Stop | Restart | Remove) -> Message:
    """Have a worker do something to one container; return what it says of its end. Raises JobFailed."""
    async for message in call.services.workers.run(task):
        if message.kind == "failed":
            raise JobFailed(message)
        if message.kind == "ended":
            return message
        if message.kind == "notice":
            log.warning(message.error)
    if call.services.workers.is_ended:
        raise ServerEnds("the server ends; what was asked for goes on by itself", hint="ask again for what came of it")
    raise InternalError("the process that did the work was killed before it was done", hint="repeat the request")

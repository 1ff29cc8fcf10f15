"""A compose file, as far as the start and the stop of its services ask for it: from the decoded document to services.

The words are those of the Compose Specification (services, interpolation, depends_on). What else a service says is
named, and has no part in it.
"""

from __future__ import annotations

import re
import shlex
from collections.abc import Mapping
from typing import Any, Final

from msgspec import Struct
from msgspec.structs import replace

from bento.errors import UsageError
from bento.model.container import Files, HealthSettings, Mount, Ports
from bento.model.create import CreateOptions
from bento.model.image import CMD_SHELL, NO_CHECK, Healthcheck
from bento.model.network import Port
from bento.model.stop import StopSettings
from bento.parse.mounts import parse_volume
from bento.parse.ports import parse_publish
from bento.units import parse_retries, parse_signal, parse_span_ns

_TAKEN: Final = frozenset(
    {"image", "command", "entrypoint", "environment", "volumes", "ports", "depends_on", "healthcheck", "stop_signal"}
    | {"stop_grace_period", "init", "user", "working_dir", "container_name", "restart"}
)
_IDLE: Final = frozenset({"annotations", "build", "expose", "labels", "logging", "networks", "profiles", "pull_policy"})
"""What is without a part in the start and the stop of a service that has an image."""
_NAME: Final = r"[A-Za-z_][A-Za-z0-9_]*"
_VARIABLE: Final = re.compile(rf"\$(?:(\$)|({_NAME})|\{{({_NAME})(?:(:?[-?+])([^}}]*))?\}})")


class Service(Struct, frozen=True, kw_only=True):
    """One service: how its container is made, and which others are started before it.

    Its volumes have the names of the file, and its ports no port of the host: what makes it gives it its own.
    """

    name: str
    create: CreateOptions
    depends_on: tuple[str, ...] = ()
    left_out: tuple[str, ...] = ()  # keys that would have a part in it, and have none


def parse_compose(document: Any, environ: Mapping[str, str], *, directory: str) -> tuple[Service, ...]:
    """Return the services of a decoded file, each after those that it depends on.

    ``directory``: what relative paths begin at. Raises UsageError.
    """
    services = document.get("services") if isinstance(document, dict) else None
    if not isinstance(services, dict) or not services:
        raise UsageError("the compose file has no services", hint="it begins with 'services:' and a name for each")
    found = {}
    for name, body in services.items():
        if not isinstance(body, dict):
            raise UsageError(f"service {name} of the compose file says nothing", hint="give it an image")
        found[str(name)] = _service(str(name), _filled(body, environ), directory)
    return _in_order(found)


def _service(name: str, body: dict[str, Any], directory: str) -> Service:
    image = body.get("image")
    if not isinstance(image, str) or not image:
        raise UsageError(
            f"service {name} of the compose file has no image", hint="build it first, and name it: 'image:'"
        )
    try:
        needed = body.get("depends_on")
        depends_on = tuple(map(str, needed if isinstance(needed, dict) else _list(needed, "depends_on")))
        create = CreateOptions(
            image=image,
            command=_words(body.get("command")),
            entrypoint=None if body.get("entrypoint") is None else _words(body["entrypoint"]),
            env=_environment(body.get("environment")),
            user=None if body.get("user") is None else str(body["user"]),
            workdir=None if body.get("working_dir") is None else str(body["working_dir"]),
            init=body.get("init") in (True, "true"),
            files=Files(mounts=tuple(_volume(one, directory) for one in _list(body.get("volumes"), "volumes"))),
            ports=Ports(published=tuple(port for one in _list(body.get("ports"), "ports") for port in _ports(one))),
            health=_health(body.get("healthcheck")),
            stop=StopSettings(
                signal=None if body.get("stop_signal") is None else parse_signal(str(body["stop_signal"])),
                timeout_s=_seconds(body.get("stop_grace_period")),
            ),
        )
    except UsageError as error:
        error.message = f"service {name} of the compose file: {error.message}"
        raise
    return Service(
        name=name,
        create=create,
        depends_on=depends_on,
        left_out=tuple(sorted(key for key in map(str, body) if key not in _TAKEN | _IDLE and not key.startswith("x-"))),
    )


def _words(said: Any) -> tuple[str, ...]:
    """A list of words, or a text that is split as a shell does."""
    if said is None:
        return ()
    if isinstance(said, list):
        return tuple(map(str, said))
    try:
        return tuple(shlex.split(str(said)))
    except ValueError as error:
        raise UsageError(f"bad command {said!r}: {error}", hint="write it as a list") from None


def _environment(said: Any) -> tuple[str, ...]:
    if isinstance(said, dict):
        return tuple(str(name) if value is None else f"{name}={_text(value)}" for name, value in said.items())
    return tuple(map(str, _list(said, "environment")))


def _text(value: Any) -> str:
    """YAML's true is the word true."""
    return str(value).lower() if isinstance(value, bool) else str(value)


def _list(said: Any, what: str) -> list[Any]:
    if said is None:
        return []
    if not isinstance(said, list):
        raise UsageError(f"{what} is not a list", hint="begin each line of it with '-'")
    return said


def _volume(said: Any, directory: str) -> Mount:
    if not isinstance(said, dict):
        return parse_volume(str(said), cwd=directory)
    kind, source, target = (str(said.get(key, "")) for key in ("type", "source", "target"))
    if kind not in ("volume", "bind", "tmpfs") or not target.startswith("/"):
        raise UsageError(f"bad volume {said!r}", hint="it has a type (volume, bind or tmpfs), and an absolute target")
    if kind == "tmpfs":
        return Mount(kind=kind, destination=target)
    how = ":ro" if said.get("read_only") in (True, "true") else ""
    return parse_volume(f"{source}:{target}{how}" if source else target, cwd=directory)


def _ports(said: Any) -> list[Port]:
    """The ports of the container alone: those of the host may be another's, which runs."""
    text = f"{said.get('target')}/{said.get('protocol', 'tcp')}" if isinstance(said, dict) else str(said)
    return [replace(port, host_port=0, host_ip="127.0.0.1") for port in parse_publish(text)]


def _health(said: Any) -> HealthSettings:
    if said is None:
        return HealthSettings()
    if not isinstance(said, dict):
        raise UsageError("healthcheck has no keys", hint="such as test and interval")
    test = said.get("test")
    words = tuple(map(str, test)) if isinstance(test, list) else (CMD_SHELL, str(test)) if test else ()
    if said.get("disable") in (True, "true"):
        words = (NO_CHECK,)
    spans = {
        f"{key}_ns": parse_span_ns(str(said[key]), what=f"{key} of the health check")
        for key in ("interval", "timeout", "start_period", "start_interval")
        if said.get(key) is not None
    }
    check = Healthcheck(test=words, retries=parse_retries(str(said.get("retries") or 0)), **spans)
    return HealthSettings(check=check)


def _seconds(said: Any) -> float | None:
    return None if said is None else parse_span_ns(str(said), what="stop_grace_period") / 10**9


def _filled(body: Any, environ: Mapping[str, str]) -> Any:
    """Put variables in their places, in all texts."""
    if isinstance(body, dict):
        return {key: _filled(value, environ) for key, value in body.items()}
    if isinstance(body, list):
        return [_filled(value, environ) for value in body]
    return _VARIABLE.sub(lambda match: _value(match, environ), body) if isinstance(body, str) else body


def _value(match: re.Match[str], environ: Mapping[str, str]) -> str:
    if match[1]:
        return "$"
    name, how, other = match[2] or match[3], match[4] or "", match[5] or ""
    is_there = bool(environ.get(name)) if how.startswith(":") else name in environ
    match how[-1:]:
        case "-":
            return environ[name] if is_there else other
        case "+":
            return other if is_there else ""
        case "?" if not is_there:
            raise UsageError(f"variable {name} of the compose file is not set: {other or 'it is needed'}")
        case _:
            return environ.get(name, "")


def _in_order(services: dict[str, Service]) -> tuple[Service, ...]:
    """Each after what it depends on; else as in the file. Raises UsageError for a circle, and what there is not."""
    found: dict[str, Service] = {}
    under_way: list[str] = []

    def take(name: str, of: str) -> None:
        if name in found:
            return
        if name not in services:
            raise UsageError(f"service {of} of the compose file depends on {name}, which it does not have")
        if name in under_way:
            raise UsageError(f"services of the compose file depend on each other: {' -> '.join((*under_way, name))}")
        under_way.append(name)
        for needed in services[name].depends_on:
            take(needed, name)
        under_way.pop()
        found[name] = services[name]

    for name in services:
        take(name, name)
    return tuple(found.values())

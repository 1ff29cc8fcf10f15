"""Docker's ``import --change``: instructions of a Dockerfile that set an image's defaults.

The grammar is that of Docker's Dockerfile reference: an instruction in any case, exec form (a JSON array of strings)
or shell form, quotes and backslashes in words, ``$NAME`` and ``${NAME}`` from the ENV set so far.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable, Iterable, Mapping
from typing import Final

import msgspec

from bento.errors import UsageError
from bento.model.image import CMD, CMD_SHELL, NO_CHECK, Healthcheck, ImageConfig
from bento.units import parse_retries, parse_signal, parse_span_ns

_SHELL: Final = ("/bin/sh", "-c")
_VARIABLE: Final = re.compile(r"\$(?:\{([^}]*)\}|([A-Za-z_][A-Za-z0-9_]*))")
_NAME: Final = re.compile(r"[A-Za-z_][A-Za-z0-9_]*")
_PORTS: Final = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?(?:/(tcp|udp|sctp))?", re.IGNORECASE)
_HEALTH_SPANS: Final = ("interval", "timeout", "start-period", "start-interval")
_ESCAPED_IN_QUOTES: Final = '"\\$'


def apply_changes(config: ImageConfig, changes: Iterable[str]) -> ImageConfig:
    """Return ``config`` with the instructions applied in order. Raises UsageError naming the one that is wrong.

    As for Docker's builder, an ENTRYPOINT drops a command that was meant for another one: that of ``config``.
    """
    has_command = False
    for change in changes:
        word, _, rest = change.strip().partition(" ")
        instruction = _INSTRUCTIONS.get(word.upper())
        if instruction is None:
            raise UsageError(
                f"unknown instruction {word!r} in --change", hint=f"one of {', '.join(sorted(_INSTRUCTIONS))}"
            )
        if not rest.strip():
            raise UsageError(f"--change {word.upper()} needs a value")
        config = instruction(config, rest.strip())
        has_command = has_command or instruction is _command
        if instruction is _entrypoint and not has_command:
            config = msgspec.structs.replace(config, command=())
    return config


def _command(config: ImageConfig, text: str) -> ImageConfig:
    return msgspec.structs.replace(config, command=_arguments(text))


def _entrypoint(config: ImageConfig, text: str) -> ImageConfig:
    return msgspec.structs.replace(config, entrypoint=_arguments(text))


def _arguments(text: str) -> tuple[str, ...]:
    if text.startswith("["):
        try:
            return tuple(msgspec.json.decode(text, type=list[str]))
        except (msgspec.DecodeError, UnicodeEncodeError):
            pass  # as in Docker: what is no array of strings is a command for the shell, such as "[ -f x ] && y"
    return (*_SHELL, text)


def _env(config: ImageConfig, text: str) -> ImageConfig:
    env = _environment(config)
    for name, value in _pairs(text, env, "ENV"):
        if not name:
            raise UsageError(f"--change ENV {text!r} names no variable", hint="write ENV NAME=VALUE")
        env[name] = value
    return msgspec.structs.replace(config, env=tuple(f"{name}={value}" for name, value in env.items()))


def _label(config: ImageConfig, text: str) -> ImageConfig:
    labels = dict(config.labels)
    for name, value in _pairs(text, _environment(config), "LABEL"):
        if not name:
            raise UsageError(f"--change LABEL {text!r} names no label", hint="write LABEL NAME=VALUE")
        labels[name] = value
    return msgspec.structs.replace(config, labels=labels)


def _workdir(config: ImageConfig, text: str) -> ImageConfig:
    path = _expand(text, _environment(config))
    # normpath keeps two leading slashes apart from one (POSIX leaves their meaning open); Linux does not.
    path = "/" + posixpath.normpath(posixpath.join(config.workdir or "/", path)).lstrip("/")
    return msgspec.structs.replace(config, workdir=path)


def _user(config: ImageConfig, text: str) -> ImageConfig:
    return msgspec.structs.replace(config, user=_single(text, config, "USER"))


def _stop_signal(config: ImageConfig, text: str) -> ImageConfig:
    word = _single(text, config, "STOPSIGNAL")
    parse_signal(word)
    return msgspec.structs.replace(config, stop_signal=word)


def _expose(config: ImageConfig, text: str) -> ImageConfig:
    ports = dict.fromkeys(config.exposed_ports)
    for word in _words(text, _environment(config)):
        match = _PORTS.fullmatch(word)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (0, 0)
        if match is None or not 1 <= first <= last <= 65535:
            raise UsageError(f"bad port {word!r} in --change EXPOSE", hint="write 80, 53/udp or 8000-8010/tcp")
        protocol = (match[3] or "tcp").lower()
        ports.update(dict.fromkeys(f"{port}/{protocol}" for port in range(first, last + 1)))
    return msgspec.structs.replace(config, exposed_ports=tuple(ports))


def _healthcheck(config: ImageConfig, text: str) -> ImageConfig:
    """``HEALTHCHECK [--interval=30s ...] CMD program`` or ``HEALTHCHECK NONE``."""
    given: dict[str, int] = {}
    while text.startswith("--"):
        word, _, text = text.partition(" ")
        name, equals, value = word.removeprefix("--").partition("=")
        if not equals or name not in (*_HEALTH_SPANS, "retries"):
            raise UsageError(
                f"unknown option {word!r} in --change HEALTHCHECK",
                hint=f"one of {', '.join(f'--{each}=' for each in (*_HEALTH_SPANS, 'retries'))}",
            )
        is_span = name in _HEALTH_SPANS
        field = f"{name.replace('-', '_')}_ns" if is_span else name
        given[field] = parse_span_ns(value, what=f"HEALTHCHECK --{name}") if is_span else parse_retries(value)
        text = text.lstrip()
    kind, _, command = text.partition(" ")
    command = command.strip()
    if kind.upper() == NO_CHECK and not command and not given:
        return msgspec.structs.replace(config, healthcheck=Healthcheck(test=(NO_CHECK,)))
    if kind.upper() != CMD or not command:
        raise UsageError(
            f"bad --change HEALTHCHECK {text!r}", hint="write HEALTHCHECK CMD program, or HEALTHCHECK NONE"
        )
    words = _arguments(command)
    # A command for the shell is kept as one: the image may have another one than ours.
    test = (CMD_SHELL, command) if words == (*_SHELL, command) else (CMD, *words)
    return msgspec.structs.replace(config, healthcheck=Healthcheck(test=test, **given))


def _volume(config: ImageConfig, text: str) -> ImageConfig:
    given = _arguments(text) if text.startswith("[") else ()
    words = list(given) if given and given[:2] != _SHELL else _words(text, _environment(config))
    paths = [posixpath.normpath(f"/{word}").replace("//", "/") for word in words]
    if "/" in paths:
        raise UsageError(f"bad volume in --change VOLUME {text!r}", hint="name directories other than /")
    return msgspec.structs.replace(config, volumes=tuple(sorted({*config.volumes, *paths})))


_INSTRUCTIONS: Final[Mapping[str, Callable[[ImageConfig, str], ImageConfig]]] = {
    "CMD": _command,
    "ENTRYPOINT": _entrypoint,
    "ENV": _env,
    "EXPOSE": _expose,
    "HEALTHCHECK": _healthcheck,
    "LABEL": _label,
    "STOPSIGNAL": _stop_signal,
    "USER": _user,
    "VOLUME": _volume,
    "WORKDIR": _workdir,
}


def _environment(config: ImageConfig) -> dict[str, str]:
    return {name: value for name, _, value in (item.partition("=") for item in config.env)}


def _single(text: str, config: ImageConfig, instruction: str) -> str:
    words = _words(text, _environment(config))
    if len(words) != 1 or not words[0]:
        raise UsageError(f"--change {instruction} takes one word, not {text!r}")
    return words[0]


def _pairs(text: str, env: Mapping[str, str], instruction: str) -> list[tuple[str, str]]:
    """Split ``A=1 B="two words"``, or the old form ``A all the rest``."""
    first, _, rest = text.partition(" ")
    if "=" not in first:
        if not rest.strip():
            raise UsageError(f"--change {instruction} {text!r} has no value", hint=f"write {instruction} NAME=VALUE")
        return [(first, _expand(rest.strip(), env))]
    pairs = []
    for word in _words(text, env):
        name, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f"--change {instruction}: {word!r} is no NAME=VALUE", hint="quote values with spaces")
        pairs.append((name, value))
    return pairs


def _expand(text: str, env: Mapping[str, str]) -> str:
    """Replace variables and remove quotes, but split nothing."""
    return _scan(text, env, is_split=False)[0]


def _words(text: str, env: Mapping[str, str]) -> list[str]:
    return _scan(text, env, is_split=True)


def _scan(text: str, env: Mapping[str, str], *, is_split: bool) -> list[str]:
    words: list[str] = []
    current: list[str] | None = None if is_split else []
    quote = ""
    position = 0
    while position < len(text):
        char = text[position]
        position += 1
        if not quote and char in " \t\n" and is_split:
            if current is not None:
                words.append("".join(current))
            current = None
            continue
        current = [] if current is None else current
        if quote == "'":
            quote = "" if char == "'" else quote
            current.append("" if char == "'" else char)
        elif char == quote:
            quote = ""
        elif char in "'\"" and not quote:
            quote = char
        elif char == "\\" and position < len(text) and (not quote or text[position] in _ESCAPED_IN_QUOTES):
            current.append(text[position])
            position += 1
        elif char == "$" and (match := _VARIABLE.match(text, position - 1)):
            current.append(_value(match, env))
            position = match.end()
        else:
            current.append(char)
    if quote:
        raise UsageError(f"unclosed {quote} in --change: {text!r}")
    if current is not None:
        words.append("".join(current))
    return words


def _value(match: re.Match[str], env: Mapping[str, str]) -> str:
    name = match[2] or match[1]
    if not _NAME.fullmatch(name):
        raise UsageError(f"cannot expand {match[0]!r} in --change", hint="only $NAME and ${NAME} are known")
    return env.get(name, "")

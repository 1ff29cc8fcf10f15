"""``-v``, ``--mount``, ``--tmpfs``, ``--volumes-from``: what is mounted in a container, in Docker's and Podman's words.

``cwd``: the directory below which relative sources are; "" where the caller has none, as over a network: they are
refused then.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Callable
from typing import Final

from bento.errors import UsageError
from bento.model.container import PROPAGATIONS, Mount
from bento.model.namespaces.mapping import NOT_MAPPED
from bento.units import parse_bytes

_FLAGS: Final = ("suid", "nosuid", "dev", "nodev", "exec", "noexec")
_IDLE: Final = ("z", "Z", "cached", "delegated", "consistent")
"""What other engines take, and what changes nothing here: labels of SELinux, and words for machines of Apple."""
_PATHS: Final = "paths are absolute or begin with ./"
_CONTRARY: Final = (("ro", "rw"), ("suid", "nosuid"), ("dev", "nodev"), ("exec", "noexec"), ("bind", "rbind"))
_TRUE: Final = ("", "true", "1")
_FALSE: Final = ("false", "0")
_SPELLINGS: Final = {"src": "source", "dst": "destination", "target": "destination", "ro": "readonly", "u": "chown"}
_KEYS: Final[dict[str, tuple[str, ...]]] = {
    "bind": ("source", "destination", "readonly", "bind-propagation", "chown"),
    "volume": ("source", "destination", "readonly", "volume-nocopy", "chown"),
    "tmpfs": ("destination", "readonly", "tmpfs-size", "tmpfs-mode"),
}


_OF_BINDS: Final = (*PROPAGATIONS, "bind", "rbind", NOT_MAPPED)
_KEPT: Final = ("nosuid", "nodev", "noexec", "bind", NOT_MAPPED)


def parse_volume(text: str, *, cwd: str = "", has_selinux: bool = False) -> Mount:
    """``DST``, ``NAME:DST[:OPTIONS]`` or ``SRC:DST[:OPTIONS]``.

    ``has_selinux``: the labels that z and Z ask for would count, and Bento sets none. Without SELinux they change
    nothing. Raises UsageError.
    """
    source, colon, rest = text.partition(":")
    destination, has_options, options = rest.partition(":")
    if not colon:
        source, destination = "", text
    words = options.split(",") if has_options else []
    is_bind = source.startswith((".", "/", "~"))
    if "/" in source and not is_bind:
        raise UsageError(f"bad volume {text!r}: {source!r} is neither a volume's name nor a path", hint=_PATHS)
    known = {"ro", "rw", "U", *_FLAGS, *_IDLE, *(_OF_BINDS if is_bind else ("nocopy", NOT_MAPPED))}
    wrong = [word for word in words if word not in known]
    is_contrary = any({one, other} <= set(words) for one, other in _CONTRARY)
    if (colon and not source) or not destination.startswith("/") or wrong or is_contrary:
        raise UsageError(
            f"bad volume {text!r}" + (f": {wrong[0]!r} is not one of {', '.join(sorted(known))}" if wrong else ""),
            hint="use DST, NAME:DST or SRC:DST, then :ro if need be; DST is an absolute path",
        )
    if has_selinux and not {"z", "Z"}.isdisjoint(words):
        raise UsageError(f"bad volume {text!r}: Bento sets no SELinux labels", hint="omit z, and use chcon(1)")
    return Mount(
        kind="bind" if is_bind else "volume",
        source=_absolute(text, source, cwd) if source.startswith(".") else source,
        destination=destination,
        read_only="ro" in words,
        options=tuple(word for word in words if word in PROPAGATIONS or word in _KEPT),
        no_copy="nocopy" in words,
        chown="U" in words,
    )


def parse_tmpfs(text: str) -> Mount:
    """``DST[:OPTIONS]``, options as in mount(8): size=64m, mode=1777, ... Raises UsageError."""
    destination, _, options = text.partition(":")
    return Mount(kind="tmpfs", destination=destination, options=tuple(word for word in options.split(",") if word))


def parse_mount(text: str, *, cwd: str = "") -> Mount:
    """``type=TYPE,KEY=VALUE,...``, comma-separated values with quotes as in CSV. Raises UsageError."""
    given = _fields(text)
    kind = given.pop("type", "volume")
    if kind not in _KEYS:
        raise _bad(text, f"unknown type {kind!r}", f"one of {', '.join(_KEYS)}")
    for key in given:
        if key not in _KEYS[kind]:
            whose = next((other for other in _KEYS if key in _KEYS[other]), "")
            reason = f"{key} is for type={whose}" if whose else f"unknown key {key!r}"
            raise _bad(text, reason, f"type={kind} takes {', '.join(_KEYS[kind])}")
    source, destination = given.get("source", ""), given.get("destination", "")
    if not destination.startswith("/"):
        raise _bad(text, f"{destination!r} is no absolute path" if destination else "no destination", "give dst=/PATH")
    if kind == "bind" and not source:
        raise _bad(text, "no source", "give src=PATH")
    if kind == "bind" and not source.startswith((".", "/")):
        raise _bad(text, f"{source!r} is no path", _PATHS)
    return Mount(
        kind=kind,
        source=_absolute(text, source, cwd) if source.startswith(".") and kind == "bind" else source,
        destination=destination,
        read_only=_flag(text, given, "readonly"),
        options=tuple(_OPTIONS[key](text, value) for key, value in given.items() if key in _OPTIONS),
        no_copy=_flag(text, given, "volume-nocopy"),
        chown=_flag(text, given, "chown"),
    )


def _absolute(text: str, source: str, cwd: str) -> str:
    if not cwd:
        raise _bad(text, f"{source!r} is a relative path", "give an absolute one")
    return posixpath.normpath(posixpath.join(cwd, source))


def _fields(text: str) -> dict[str, str]:
    given: dict[str, str] = {}
    for field in _split(text):
        key, equals, value = field.partition("=")
        key = _SPELLINGS.get(key.strip().lower(), key.strip().lower())
        if key in given:
            raise _bad(text, f"{key} is given twice", "once is enough")
        if not equals and key not in ("readonly", "volume-nocopy", "chown"):
            raise _bad(text, f"{field!r} has no value", "write KEY=VALUE")
        if equals and not value:
            raise _bad(text, f"{key} has an empty value", "write KEY=VALUE")
        given[key] = value
    return given


def _split(text: str) -> list[str]:
    """Split at commas; a field in double quotes may hold some, and "" for a quote."""
    fields = re.findall(r'(?:^|,)("(?:[^"]|"")*"|[^",]*)', text)
    if ",".join(fields) != text:
        raise _bad(text, "the quotes are wrong", 'quote a whole field, as in "src=/a,b"')
    return [field[1:-1].replace('""', '"') if field.startswith('"') else field for field in fields]


def _flag(text: str, given: dict[str, str], key: str) -> bool:
    value = given.get(key)
    if value is not None and value.lower() not in _TRUE + _FALSE:
        raise _bad(text, f"{key}={value}", "true or false")
    return value is not None and value.lower() in _TRUE


def _propagation(text: str, value: str) -> str:
    if value not in PROPAGATIONS:
        raise _bad(text, f"bind-propagation={value}", f"one of {', '.join(sorted(PROPAGATIONS))}")
    return value


def _size(text: str, value: str) -> str:
    size_bytes = parse_bytes(value, what="tmpfs-size")
    if size_bytes == 0:
        raise _bad(text, f"tmpfs-size={value}", "give bytes, or a number such as 64m")
    return f"size={size_bytes}"


def _mode(text: str, value: str) -> str:
    if not re.fullmatch(r"[0-7]{1,5}", value) or int(value, 8) > 0o7777:
        raise _bad(text, f"tmpfs-mode={value}", "an octal number such as 1777")
    return f"mode={value}"


_OPTIONS: Final[dict[str, Callable[[str, str], str]]] = {
    "bind-propagation": _propagation,
    "tmpfs-size": _size,
    "tmpfs-mode": _mode,
}


def _bad(text: str, reason: str, hint: str) -> UsageError:
    return UsageError(f"bad mount {text!r}: {reason}", hint=hint)


def parse_volumes_from(text: str) -> tuple[str, bool]:
    """Return the container of ``NAME[:ro|rw]``, and whether what it has is to be read only. Raises UsageError."""
    ref, colon, mode = text.partition(":")
    if not ref or (colon and mode not in ("ro", "rw")):
        raise UsageError(f"bad container to take volumes from: {text!r}", hint="use NAME, or NAME:ro")
    return ref, mode == "ro"

"""A Containerfile: which images of others it is built from. The builder reads the rest."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Final

_VARIABLE: Final = re.compile(r"\$(?:(\w+)|\{(\w+)(?::([-+])([^}]*))?\})")
_ESCAPE: Final = re.compile(r"#\s*escape\s*=\s*(\S)", re.IGNORECASE)
_MOUNT_FROM: Final = re.compile(r"--mount=\S*\bfrom=([^,\s]+)")
_MAX_STAGES: Final = 1000


def images_of(text: str, build_args: Mapping[str, str], target: str = "") -> list[str]:
    """Return the names behind FROM, ``COPY --from=`` and ``RUN --mount=from=`` that are no stage of the file itself.

    Once each, in their order, up to the stage ``target``; ARGs before the first FROM are filled in, with ``build_args``
    in the place of their defaults. ``scratch`` is no image. See dockerfile(5).
    """
    values: dict[str, str] = {}
    stages: list[str] = []
    found: list[str] = []
    for word, rest in _instructions(text):
        if word == "ARG" and not stages:
            name, _, default = rest.partition("=")
            values[name.strip()] = build_args.get(name.strip(), _filled(_unquoted(default), values))
        elif word == "FROM":
            if stages and target and target.lower() in (stages[-1], str(len(stages) - 1)):
                break
            words = [each for each in rest.split() if not each.startswith("--")]
            if words:
                found.append(_filled(_unquoted(words[0]), values))
            named = words[2].lower() if len(words) > 2 and words[1].lower() == "as" else str(len(stages))
            stages.append(named)
            if found and found[-1].lower() in stages[:-1]:
                found.pop()
        else:
            found += [each for each in _taken_from(word, rest) if not _is_stage(each, stages)]
    return [each for each in dict.fromkeys(found) if each and each.lower() != "scratch"]


def _is_stage(name: str, stages: list[str]) -> bool:
    return name.lower() in stages or (name.isascii() and name.isdigit() and int(name[:4]) < _MAX_STAGES)


def _taken_from(word: str, rest: str) -> list[str]:
    if word in ("COPY", "ADD"):
        return [each.partition("=")[2] for each in rest.split() if each.startswith("--from=")]
    return _MOUNT_FROM.findall(rest) if word == "RUN" else []


def _instructions(text: str) -> Iterator[tuple[str, str]]:
    """Return each instruction's word in capitals and what is behind it, with lines put together."""
    directive = _ESCAPE.match(text)
    escape = directive[1] if directive else "\\"
    line = ""
    for raw in text.splitlines():
        if raw.lstrip().startswith("#") or (line and not raw.strip()):
            continue
        stripped = raw.rstrip()
        if stripped.endswith(escape):
            line += stripped[:-1] + " "
            continue
        line += stripped
        word, _, rest = line.strip().partition(" ")
        if word:
            yield word.upper(), rest.strip()
        line = ""
    if line.strip():
        word, _, rest = line.strip().partition(" ")
        yield word.upper(), rest.strip()


def _unquoted(text: str) -> str:
    text = text.strip()
    return text[1:-1] if len(text) > 1 and text[0] == text[-1] and text[0] in "\"'" else text


def _filled(text: str, values: Mapping[str, str]) -> str:
    def value(match: re.Match[str]) -> str:
        known = values.get(match[1] or match[2], "")
        if match[3] == "-":
            return known or match[4]
        if match[3] == "+":
            return match[4] if known else ""
        return known

    return _VARIABLE.sub(value, text)

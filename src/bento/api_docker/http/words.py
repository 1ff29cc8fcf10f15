"""Bento's messages in Docker's words, where Docker's clients, and programs around them, look for these."""

from __future__ import annotations

import re
from typing import Final

_WORDS: Final = tuple(
    (re.compile(ours), dockers)
    for ours, dockers in (
        (r"no such (container|image): ", r"No such \1: "),
        (r"network (\S+) not found$", r"network \1 not found"),
        (r"image (\S+) is here for (\S+), not for (\S+)$",
         r"image with reference \1 was found but does not match the specified platform: wanted \3, actual: \2"),
        (r"the name '(.+)' is already taken$", r'Conflict. The container name "/\1" is already in use. You have to '
            r"remove (or rename) that container to be able to reuse that name."),
        (r"cannot kill container (\S+): it is", r"Cannot kill container: \1: Container \1 is not running: it is"),
        (r"cannot pause container (\S+): it is paused$", r"Container \1 is already paused"),
        (r"cannot pause container (\S+): it is", r"Container \1 is not running: it is"),
        (r"cannot unpause container (\S+): it is", r"Container \1 is not paused: it is"),
        (r"no such file in container (\S+): (.*)$", r"Could not find the file \2 in container \1"),
        (r"no command given, ", r"No command specified: "),
        (r"unknown signal '(.*)'$", r"Invalid signal: \1"),
        (r"volume (\S+) is used by (.*)$", r"remove \1: volume is in use - [\2]"),
        (r"network (\S+) is used by (.*)$", r"error while removing network: network \1 has active endpoints: \2"),
        (r"container (\S+) is not on network (\S+)$", r"container \1 is not connected to network \2"),
    )
)  # fmt: skip


def in_dockers(message: str) -> str | None:
    """Return a message in Docker's words; None where Docker's clients look for none."""
    for ours, dockers in _WORDS:
        if found := ours.match(message):
            return found.expand(dockers) + message[found.end() :]
    return None

"""Programs that pass a signal on to a whole process group: read from their options, since the kernel does not show it.
Pure.

Below such a one every process of the group has been signalled, also one that looks as if it had not (rule S13.4).
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

_BY_OPTION = {"tini": "g", "tini-static": "g", "docker-init": "g", "catatonit": "g", "podman-init": "g"}
_BY_DEFAULT = "dumb-init"  # but for -c, --single-child
_VARIABLE = "TINI_KILL_PROCESS_GROUP"


def kills_group(argv: Sequence[str], has_variable: Callable[[str], bool]) -> bool:
    """Whether a program of these arguments passes signals on to a group; ``has_variable`` asks for its environment."""
    if not argv:
        return False
    name = argv[0].rsplit("/", 1)[-1]
    if name == _BY_DEFAULT:
        return not _has_option(argv, "c", "--single-child")
    letter = _BY_OPTION.get(name)
    if letter is None:
        return False
    return _has_option(argv, letter, "") or (name.startswith(("tini", "docker")) and has_variable(_VARIABLE))


def _has_option(argv: Sequence[str], letter: str, long: str) -> bool:
    """Whether an option stands before the program that is run."""
    for word in argv[1:]:
        if word == "--" or not word.startswith("-"):
            return False
        if word == long or (not word.startswith("--") and letter in word[1:]):
            return True
    return False

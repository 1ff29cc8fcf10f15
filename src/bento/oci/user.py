"""The user of the container's process: ``name|uid[:group|gid]``, looked up in the container's own files.

Pure; the caller reads ``etc/passwd`` and ``etc/group`` inside the root filesystem (``files.rootfs.read_in_root``).
Formats: passwd(5), group(5).
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Final

from msgspec import Struct
from msgspec.structs import replace

from bento.errors import UsageError
from bento.model.container import MERGE, STRICT

_MAX_ID: Final = 2**31 - 1  # -1 means "unchanged" to setuid(2), and runtimes keep ids in a signed int
_CREATE_HINT: Final = "use an id, or a name that stands in the image's /etc/passwd or /etc/group"


class ResolvedUser(Struct, frozen=True, kw_only=True):
    """Numbers for the kernel. ``groups`` are the supplementary ones, the primary one included."""

    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


class _Passwd(Struct, frozen=True):
    name: str
    uid: int
    gid: int
    home: str


class _Group(Struct, frozen=True):
    name: str
    gid: int
    members: tuple[str, ...]


def resolve(user: str, *, passwd: str, group: str, policy: str = "") -> ResolvedUser:
    """Return the ids, home and supplementary groups of ``user``; "" is root.

    An id that the files do not know is fine: its primary group is 0 and its home ``/``, as in Docker. A group that was
    asked for replaces all groups the user belongs to. Nothing on a side of the colon is as if that side were not there.

    Args:
        user: ``name|uid[:group|gid]``.
        passwd: text of the container's /etc/passwd, "" when there is none.
        group: text of its /etc/group, "" when there is none.
        policy: of ``NodeSettings.group_policy``: whether the groups that the user belongs to count.

    Raises:
        UsageError: malformed, a number out of range, or a name that is not there.
    """
    user_word, _, group_word = user.partition(":")
    if ":" in group_word:
        raise UsageError(f"bad user {user!r}", hint="write NAME, UID, or either followed by :GROUP or :GID")
    entry = _find_user(user_word or "0", passwd)
    gid = _find_group(group_word, group) if group_word else entry.gid
    groups = [gid]
    if policy == MERGE or (not group_word and policy != STRICT):
        groups += [each.gid for each in _groups(group) if entry.name and entry.name in each.members]
    return ResolvedUser(uid=entry.uid, gid=gid, groups=tuple(dict.fromkeys(groups)), home=entry.home or "/")


def with_groups(user: ResolvedUser, names: Iterable[str], *, group: str) -> ResolvedUser:
    """Return the user with more supplementary groups, names or ids. Raises UsageError as ``resolve``."""
    more = (_find_group(name, group) for name in names)
    return replace(user, groups=tuple(dict.fromkeys((*user.groups, *more))))


def _find_user(word: str, passwd: str) -> _Passwd:
    number = _number(word, what="user")
    by_id: _Passwd | None = None
    for entry in _users(passwd):
        if entry.name == word:
            return entry
        if by_id is None and entry.uid == number:
            by_id = entry
    if by_id is not None:
        return by_id
    if number is None:
        raise UsageError(f"unknown user {word!r} in the container's root filesystem", hint=_CREATE_HINT)
    return _Passwd("", number, 0, "/")


def _find_group(word: str, group: str) -> int:
    for entry in _groups(group):
        if entry.name == word:
            return entry.gid
    number = _number(word, what="group")
    if number is None:
        raise UsageError(f"unknown group {word!r} in the container's root filesystem", hint=_CREATE_HINT)
    return number


def _number(word: str, *, what: str) -> int | None:
    if not (word.isascii() and word.isdigit()):
        return None
    if len(word) > 10 or int(word) > _MAX_ID:
        raise UsageError(f"{what} id {word} is out of range", hint=f"0 to {_MAX_ID}")
    return int(word)


def _id(text: str) -> int | None:
    """A number from a file we did not write: anything odd makes the line worthless, not an error."""
    return int(text) if text.isascii() and text.isdigit() and len(text) <= 10 and int(text) <= _MAX_ID else None


def _users(text: str) -> Iterator[_Passwd]:
    for line in text.split("\n"):
        fields = line.split(":")
        if len(fields) < 7 or not fields[0] or fields[0].startswith("#"):
            continue
        uid, gid = _id(fields[2]), _id(fields[3])
        if uid is not None and gid is not None:
            yield _Passwd(fields[0], uid, gid, fields[5])


def _groups(text: str) -> Iterator[_Group]:
    for line in text.split("\n"):
        fields = line.split(":")
        if len(fields) < 3 or not fields[0] or fields[0].startswith("#"):
            continue
        gid = _id(fields[2])
        if gid is not None:
            yield _Group(fields[0], gid, tuple(fields[3].split(",")) if len(fields) > 3 else ())

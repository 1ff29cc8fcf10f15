"""The user namespaces of the interface, and the ids that files in mounts are shown with."""

from __future__ import annotations

from collections.abc import Sequence

from bento.api_cri.messages import Message, pb
from bento.errors import UsageError
from bento.model.namespaces.mapping import IdMapping, IdRange
from bento.parse import id_ranges


def read_ids(options: Message) -> IdMapping | None:
    """Return the ids of the user namespace of a pod, from its namespace options; None: users are the machine's.

    Raises UsageError for other modes, and what is not one range each of users and groups.
    """
    if not options.HasField("userns_options"):
        return None
    said = options.userns_options
    if said.mode == pb.NODE:
        if said.uids or said.gids:
            raise UsageError("ids are given for the user namespace of the node", hint="omit them, or ask for POD")
        return None
    if said.mode != pb.POD:
        raise UsageError("a user namespace is the pod's, or the node's", hint="give POD or NODE")
    return read_mapping(said.uids, said.gids, "the user namespace")


def read_mapping(uids: Sequence[Message], gids: Sequence[Message], whose: str) -> IdMapping:
    """Return ids for those inside. Raises UsageError."""
    for kind, ranges in (("users", uids), ("groups", gids)):
        if len(ranges) != 1:
            raise UsageError(f"{whose} has {len(ranges)} ranges of {kind}", hint="give one")
    ids = IdMapping(uids=(_range(uids[0]),), gids=(_range(gids[0]),))
    id_ranges.check(ids)
    return ids


def _range(said: Message) -> IdRange:
    return IdRange(inside=said.container_id, outside=said.host_id, size=said.length)

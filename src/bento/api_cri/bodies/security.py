"""The security contexts of the interface as settings of a container."""

from __future__ import annotations

from msgspec import Struct

from bento.api_cri.bodies.ids import read_ids
from bento.api_cri.messages import Message, pb
from bento.errors import UsageError
from bento.model.container import MERGE, STRICT, UNCONFINED, Namespaces, Sandbox
from bento.model.resources import Device
from bento.parse.sandbox import parse_capability

_LOCAL = "localhost/"
_DEFAULTS = ("runtime/default", "docker/default")
_SELINUX = ("user", "role", "type", "level")


class Security(Struct, frozen=True, kw_only=True):
    """What a container's security context comes to. ``user`` None: the image's."""

    user: str | None
    group_policy: str
    sandbox: Sandbox
    ambient: tuple[str, ...]  # among those that the sandbox adds
    namespaces: Namespaces
    read_only: bool
    masked_paths: tuple[str, ...] | None
    read_only_paths: tuple[str, ...] | None


def read_security(context: Message, devices: tuple[Device, ...], cdi: tuple[str, ...]) -> Security:
    """Return what a security context asks for. Raises UsageError for what is not to be had."""
    capabilities = context.capabilities
    ambient = tuple(map(parse_capability, capabilities.add_ambient_capabilities))
    privileged = context.privileged
    return Security(
        user=_user(context),
        group_policy=STRICT if context.supplemental_groups_policy == pb.Strict else MERGE,
        sandbox=Sandbox(
            cap_add=(*map(parse_capability, capabilities.add_capabilities), *ambient),
            cap_drop=tuple(map(parse_capability, capabilities.drop_capabilities)),
            no_new_privileges=context.no_new_privs,
            seccomp=UNCONFINED if privileged else _seccomp(context),
            group_add=tuple(map(str, context.supplemental_groups)),
            devices=devices,
            cdi_devices=cdi,
            privileged=privileged,
            apparmor=_apparmor(context),
            labels=_labels(context.selinux_options),
        ),
        ambient=ambient,
        namespaces=_namespaces(context.namespace_options),
        read_only=context.readonly_rootfs,
        masked_paths=tuple(context.masked_paths),
        read_only_paths=tuple(context.readonly_paths),
    )


def _user(context: Message) -> str | None:
    user = str(context.run_as_user.value) if context.HasField("run_as_user") else context.run_as_username
    if context.HasField("run_as_group"):
        if not user:
            raise UsageError("run_as_group is given without a user", hint="give run_as_user or run_as_username, too")
        return f"{user}:{context.run_as_group.value}"
    return user or None


def _seccomp(context: Message) -> str:
    """Return the profile as ``Sandbox`` has it. None at all is no filter, as in the other runtimes."""
    if context.HasField("seccomp"):
        return _profile(context.seccomp, "seccomp")
    words: str = context.seccomp_profile_path  # of older kubelets
    if words in _DEFAULTS:
        return ""
    return words.removeprefix(_LOCAL) if words.startswith(_LOCAL) else UNCONFINED


def _profile(profile: Message, kind: str) -> str:
    if profile.profile_type == pb.SecurityProfile.Unconfined:
        return UNCONFINED
    if profile.profile_type == pb.SecurityProfile.RuntimeDefault:
        return ""
    name: str = profile.localhost_ref.removeprefix(_LOCAL)
    if not name:
        raise UsageError(f"the {kind} profile of the machine has no name", hint="fill in localhost_ref")
    return name


def _apparmor(context: Message) -> str:
    if context.HasField("apparmor"):
        return _profile(context.apparmor, "AppArmor")
    words: str = context.apparmor_profile  # of older kubelets
    return "" if words in _DEFAULTS else words.removeprefix(_LOCAL)


def _labels(options: Message) -> tuple[str, ...]:
    return tuple(f"{part}:{value}" for part in _SELINUX if (value := getattr(options, part)))


def _namespaces(options: Message) -> Namespaces:
    pid = {pb.POD: "", pb.CONTAINER: "private", pb.NODE: "host", pb.TARGET: f"container:{options.target_id}"}
    if options.pid == pb.TARGET and not options.target_id:
        raise UsageError("the PID namespace of another container is asked for", hint="fill in target_id")
    return Namespaces(pid=pid[options.pid], ids=read_ids(options))

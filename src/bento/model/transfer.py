"""An image on its way: how a registry is spoken to, how far it is, and how it is built."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct

POLICIES: Final = ("missing", "always", "newer", "never")
"""When a container's image is fetched."""


TOKEN_USER: Final = "<token>"
"""In the place of a user's name with an identity token, as Docker has it: some name has to be there."""


class Credentials(Struct, frozen=True):
    """The user that a registry is asked as. The password is shown nowhere.

    ``identity_token``: in the place of the password, what the registry's server of tokens takes (OAuth 2).
    """

    user: str
    password: str
    identity_token: str = ""

    def __repr__(self) -> str:
        return f"Credentials(user={self.user!r}, password=...)"


class Access(Struct, frozen=True, kw_only=True):
    """How a registry is spoken to. What is not said is found where skopeo, Podman and Docker look for it.

    ``credentials`` win over ``authfile``. ``cert_dir`` holds ``*.crt`` of authorities to trust besides the system's.
    ``tls_verify`` False also speaks plain HTTP; None: verify, except with the registries that the configuration names.
    """

    credentials: Credentials | None = None
    authfile: str = ""
    cert_dir: str = ""
    tls_verify: bool | None = None


class TransferProgress(Struct, frozen=True, kw_only=True):
    """One layer, by the digest of its blob. ``total_bytes`` 0: not known.

    ``phase`` is ``waiting``, ``present``, ``moving``, ``moved``, ``unpacking`` or ``done``.
    """

    digest: str
    phase: str
    done_bytes: int = 0
    total_bytes: int = 0


OnProgress = Callable[[TransferProgress], None]

NETWORKS: Final = ("host", "none")
"""What the commands of a build may reach: what this machine reaches, or nothing."""


class BuildOptions(Struct, frozen=True, kw_only=True):
    """How an image is built.

    ``context``: a directory; "" where a Containerfile, or a tar archive of the context, comes on ``stdin_fd``.
    ``containerfile``: a path; "" is Containerfile or Dockerfile in the context; ``-`` is ``stdin_fd``. ``build_args``
    are the values of ARG. ``target``: the stage that is the last one; "" is that of the file. ``platform``: "" is this
    machine's. ``pull``: base images are fetched although they are here.
    """

    context: str
    containerfile: str = ""
    tags: tuple[str, ...] = ()
    build_args: tuple[tuple[str, str], ...] = ()
    target: str = ""
    platform: str = ""
    labels: tuple[tuple[str, str], ...] = ()
    network: str = "host"
    uses_cache: bool = True
    pull: bool = False
    stdin_fd: int = 0

"""An image on its way: how a registry is spoken to, and how far it is."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from msgspec import Struct

POLICIES: Final = ("missing", "always", "newer", "never")
"""When a container's image is fetched."""


class Credentials(Struct, frozen=True):
    """The user that a registry is asked as. The password is shown nowhere."""

    user: str
    password: str

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

"""How skopeo is called: where it is, what of the caller's environment it gets, how it is to reach a registry."""

from __future__ import annotations

import os
from typing import Final

from bento.command import clean_environment, find_program
from bento.errors import UsageError
from bento.model.transfer import Access

_KEPT_VARIABLES: Final = (
    "XDG_RUNTIME_DIR", "XDG_CONFIG_HOME", "REGISTRY_AUTH_FILE", "DOCKER_CONFIG", "CONTAINERS_REGISTRIES_CONF",
    "CONTAINERS_STORAGE_CONF", "SSL_CERT_FILE", "SSL_CERT_DIR", "HTTP_PROXY", "HTTPS_PROXY", "NO_PROXY", "ALL_PROXY",
    "http_proxy", "https_proxy", "no_proxy", "all_proxy",
)  # fmt: skip
"""Where skopeo finds credentials, certificates and its way out; children get nothing else of the caller's."""


def find() -> list[str]:
    """Return the words before skopeo's own. Raises MissingTool.

    Should this process be killed, the kernel kills skopeo as well: nothing goes on unseen.
    """
    setpriv = os.fspath(find_program("setpriv", package="util-linux"))
    return [setpriv, "--pdeathsig", "KILL", "--", os.fspath(find_program("skopeo", package="skopeo"))]


def environment() -> dict[str, str]:
    """Return the environment it gets."""
    return clean_environment() | {name: os.environ[name] for name in _KEPT_VARIABLES if name in os.environ}


def access_flags(access: Access, host: str, insecure: tuple[str, ...]) -> list[str]:
    """The flags for the end that is not ours, without the dashes: ``copy`` has two ends, ``inspect`` one."""
    flags = []
    for flag, path in (("authfile", access.authfile), ("cert-dir", access.cert_dir)):
        if path and not os.path.exists(path):  # skopeo would go on without it
            raise UsageError(f"--{flag} {path}: no such file or directory")
        if path and not (flag == "authfile" and access.credentials is not None):
            flags.append(f"{flag}={path}")
    verify = access.tls_verify
    if verify is None and host and (host in insecure or is_loopback(host)):
        verify = False
    if verify is not None:
        flags.append(f"tls-verify={'true' if verify else 'false'}")
    return flags


def is_loopback(host: str) -> bool:
    """Docker's rule: no other machine can listen in on this machine's own loopback."""
    name = host.rpartition(":")[0] if ":" in host.rpartition("]")[2] else host
    return name in ("localhost", "[::1]") or name.startswith("127.")

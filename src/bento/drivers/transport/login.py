"""Logins at registries, kept where skopeo and Podman keep them: by ``skopeo login`` and ``logout``.

A password goes to skopeo by its standard input: on no command line, in no environment.
"""

from __future__ import annotations

import os
from typing import Final

from bento import log
from bento.command import Completed, replay_line, spawn
from bento.drivers.transport import output, program
from bento.errors import NotFound, NotPermitted, UsageError
from bento.model.transfer import Access, Credentials

_LIMIT_S: Final = 120.0
_WRONG_HINT: Final = "are the user's name and the password right?"


def login(registry: str, credentials: Credentials | None, access: Access, insecure: tuple[str, ...]) -> str:
    """See TransportDriver.login."""
    flags = [f"--{flag}" for flag in program.access_flags(_without_authfile(access), registry, insecure)]
    if credentials is None:
        user = _user(registry, access)
        done = _skopeo(["login", *flags, *_authfile(access), registry])
    else:
        user = credentials.user
        words = ["login", *flags, *_authfile(access), "--username", user, "--password-stdin", registry]
        done = _skopeo(words, credentials.password)
    if done.returncode == 0:
        return user
    error = output.explain(done.stderr, registry)
    raise NotPermitted(error.message, hint=_WRONG_HINT) if isinstance(error, NotPermitted) else error


def logout(registry: str, access: Access) -> bool:
    """See TransportDriver.logout."""
    done = _skopeo(["logout", *_authfile(access), registry or "--all"])
    if done.returncode == 0:
        return True
    if output.is_not_logged_in(done.stderr):
        return False
    raise output.explain(done.stderr, registry)


def _user(registry: str, access: Access) -> str:
    done = _skopeo(["login", *_authfile(access), "--get-login", registry])
    if done.returncode != 0:
        if output.is_not_logged_in(done.stderr):
            raise NotFound(f"there is no login at {registry} yet", hint="give a user and a password")
        raise output.explain(done.stderr, registry)
    return done.stdout.strip()


def _authfile(access: Access) -> list[str]:
    """The file need not be there: a login makes it."""
    if access.authfile and not os.path.isdir(os.path.dirname(os.path.abspath(access.authfile))):
        raise UsageError(f"--authfile {access.authfile}: there is no such directory")
    return ["--authfile", access.authfile] if access.authfile else []


def _without_authfile(access: Access) -> Access:
    return Access(cert_dir=access.cert_dir, tls_verify=access.tls_verify)


def _skopeo(words: list[str], password: str | None = None) -> Completed:
    argv = [*program.find(), *words]
    log.debug(f"run: {replay_line(argv)}")
    fd = None
    try:
        if password is not None:
            fd = os.memfd_create("password", os.MFD_CLOEXEC)
            os.write(fd, password.encode())
            os.lseek(fd, 0, os.SEEK_SET)
        child = spawn(argv, env=program.environment(), stdin_fd=fd, new_session=True)
    finally:
        if fd is not None:
            os.close(fd)
    try:
        return child.finish(_LIMIT_S)
    except BaseException:
        child.kill()
        raise

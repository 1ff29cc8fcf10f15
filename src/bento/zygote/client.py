"""The program ``bento``: it hands its command over to a zygote, where one listens, and else carries it out itself.

The script begins with ``-I -S``, and until it is known which way is taken nothing is imported but what is built into
the interpreter. Where no zygote has ever been asked for, this costs a look for its socket.
"""

import posix
import sys

from bento import __version__

RUN_ROOT = "/run/bento"
CONFIG_FILE = "/etc/bento/config.toml"
DIRECTORY = "zygote"
_PATH_MAX_BYTES = 107  # sun_path with its null byte (unix(7))


def main() -> None:
    """Run the command line and end the process."""
    path = socket_path(sys.argv[1:], posix.environ)
    if path:
        from bento.zygote.handover import hand_over  # only now: it needs extension modules

        hand_over(path)
    _carry_out()


def socket_path(argv: list[str], environ: dict[bytes, bytes]) -> str:
    """Return where the zygote of this command's run root listens; "" where there is no such socket.

    A guess: the zygote reads all settings as the plain way does, and takes no command of other roots.
    """
    run_root = _said(argv) or environ.get(b"BENTO_RUN_ROOT", b"").decode("utf-8", "surrogateescape") or _configured()
    path = f"{run_root}/{DIRECTORY}/{name()}"
    try:
        posix.stat(path)
    except (OSError, ValueError):
        return ""
    return path if len(path.encode("utf-8", "surrogateescape")) <= _PATH_MAX_BYTES else ""


def name() -> str:
    """Return the name of the socket: of this version and user."""
    return f"{__version__}-{posix.geteuid()}"


def _said(argv: list[str]) -> str:
    """Return what the options before the verb say of the run root."""
    said = ""
    at = 0
    while at < len(argv) and argv[at].startswith("-"):
        option, equals, value = argv[at].partition("=")
        if not equals:
            at += 1
            value = argv[at] if at < len(argv) else ""
        if option == "--run-root":
            said = value
        at += 1
    return said


def _configured() -> str:
    """Return what the configuration has, read without a parser for TOML."""
    try:
        with open(CONFIG_FILE, encoding="utf-8") as file:
            for line in file:
                key, _, value = line.partition("=")
                if key.strip() == "run_root":
                    return value.strip().strip("\"'")
    except (OSError, UnicodeDecodeError):
        pass
    return RUN_ROOT


def _carry_out() -> None:
    """Take the plain way, as if the interpreter had been started without ``-S``."""
    if sys.flags.no_site:
        import site

        site.main()
    from bento.__main__ import main as plain

    plain()

"""Where an engine keeps things and what it uses; only values, ``bento.config_load`` reads them."""

from __future__ import annotations

from pathlib import Path

from msgspec import Struct

from bento.model.stop import StopRules

DEFAULT_ROOT = Path("/var/lib/bento")
DEFAULT_RUN_ROOT = Path("/run/bento")
CONFIG_FILE = Path("/etc/bento/config.toml")
CGROUP_MANAGERS = ("cgroupfs", "systemd", "auto")


class Settings(Struct, frozen=True, kw_only=True):
    """``root`` outlives a reboot, ``run_root`` need not. ``runtime``: a name or path; "" is the first that works.

    ``runtime_args``: global arguments for runtimes that have a virtual machine or gVisor, in place of Bento's own.
    """

    root: Path | str = DEFAULT_ROOT
    run_root: Path | str = DEFAULT_RUN_ROOT
    runtime: str = ""
    cni_directory: Path | str = "/etc/cni/net.d"  # where the lists of CNI networks are
    cni_plugins: tuple[str, ...] = ("/usr/lib/cni", "/opt/cni/bin", "/usr/libexec/cni")  # where plugins are looked for
    cdi_directories: tuple[str, ...] = ("/etc/cdi", "/var/run/cdi")  # of files that describe devices; the last wins
    runtime_args: tuple[str, ...] = ()
    cgroup_manager: str = "cgroupfs"  # of new containers; "systemd": they are scopes; "auto": where systemd runs
    network: str = "bridge"  # of containers that name none: "bridge", "host" or "none"
    log_level: str = "warning"
    stop_timeout_s: float | None = None  # the grace of containers that name none; None: 10, of system containers 90
    stop_rules: StopRules = StopRules()  # of stops for which neither the call nor the container says it
    stop_of_stopped_is_ok: bool = False  # "bento stop" of what has stopped already is no error, as in Docker
    log_max_bytes: int = 0  # of the log of containers that name no limit; 0: none
    events_max: int = 10_000  # so many events are kept
    registries: tuple[str, ...] = ("docker.io",)  # where names without a registry are looked for, in this order
    insecure_registries: tuple[str, ...] = ()  # that need not speak TLS, nor have a certificate that is trusted
    bridge_has_names: bool = False  # containers on the default network find each other by name; in Docker they do not
    userns_ids: str = "containers"  # ids for user namespaces: FIRST:COUNT, or a name of /etc/subuid and /etc/subgid
    starts_zygote: bool = False  # the first command of a series starts one, and "bento serve" keeps one
    takes_absolute_names: bool = False  # of a layer's files, below the root of the container; else they are refused


DEFAULT = Settings()

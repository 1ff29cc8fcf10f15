"""What a trace shows: the functions whose time is taken, by module. The code itself says nothing of traces.

A name is that of a function, of a method, or ``Class.*`` and ``*``: all public ones that the class, or the module,
defines. Generators, and what is made a context of one, have no time of their own.
A test holds every name against the code.
"""

from __future__ import annotations

from typing import Final

POINTS: Final[dict[str, tuple[tuple[str, str], ...]]] = {
    # The command line
    "argparse": (("ArgumentParser.parse_args", "configuration"),),
    "bento.cli.main": (("run", "verb"), ("split", "configuration"), ("load", "configuration")),
    "bento.cli.options.create": (("configure", "configuration"), ("read", "configuration"), ("provide_image", "image")),
    "bento.cli.options.stop": (("configure", "configuration"), ("read", "configuration")),
    "bento.config_load": (("load", "configuration"),),
    "bento.engine.base.worker": (("in_worker", "process"), ("be_worker", "verb")),
    "bento.wiring": (
        ("HostDrivers.__init__", "configuration"),
        ("HostDrivers.runtime", "runtime"),
        ("HostDrivers.spawn_detached", "process"),
        ("HostDrivers.start_thread", "process"),
    ),
    # Verbs
    "bento.engine.facade": (("EngineFacade.*", "verb"),),
    "bento.engine.facade_files": (("FileVerbs.*", "verb"),),
    "bento.engine.facade_foreign": (("ForeignVerbs.*", "verb"),),
    "bento.engine.facade_images": (("ImageVerbs.*", "verb"),),
    "bento.engine.facade_networks": (("NetworkVerbs.*", "verb"),),
    # The life of a container
    "bento.engine.base.exit_owner": (("*", "life"),),
    "bento.engine.base.place": (("*", "life"),),
    "bento.engine.lifecycle.attachment": (("Attachment.__init__", "monitor"),),
    "bento.engine.lifecycle.create": (("_make", "life"), ("_merge", "life"), ("_limited", "life")),
    "bento.engine.lifecycle.reconcile": (("*", "life"),),
    "bento.engine.lifecycle.remove": (("remove", "life"),),
    "bento.engine.lifecycle.sandboxing": (("check", "life"),),
    "bento.engine.lifecycle.sharing": (("*", "life"),),
    "bento.engine.lifecycle.start": (
        ("start", "life"),
        ("_create_sandbox", "life"),
        ("_create_inside", "life"),
        ("_identified", "life"),
        ("_undo", "life"),
    ),
    "bento.engine.resources.logs": (("*", "life"),),
    "bento.engine.resources.mounting": (("*", "mount"),),
    "bento.engine.resources.networking": (("*", "network"),),
    # A stop
    "bento.engine.base.loop": (("Loop.turn", "wait"),),
    "bento.engine.stop.batch": (("StopBatch.*", "stop"), ("Releases.*", "mount")),
    "bento.engine.stop.cleanup": (("Cleanup.*", "stop"),),
    "bento.engine.stop.container_stop": (("ContainerStop.*", "stop"), ("ContainerStop._take", "stop")),
    "bento.engine.stop.deletions": (("Deletions.*", "runtime"),),
    "bento.engine.stop.driver": (("StopDriver._look", "stop"), ("StopDriver._carry_out", "stop")),
    "bento.engine.stop.recording": (("Recorder.*", "stop"),),
    "bento.engine.stop.report": (("*", "stop"),),
    "bento.engine.stop.snapshot": (("*", "stop"),),
    "bento.stop.machine": (("step", "stop"),),
    # Records, files and locks
    "bento.drivers.image.store.image_store": (("ImageStore.*", "image"),),
    "bento.drivers.state.database": (
        ("Database._open", "store"),
        ("Database.begin", "store"),
        ("Database.close", "store"),
        ("Transaction.__exit__", "store"),
    ),
    "bento.drivers.state.records": (("RecordTables.*", "store"), ("RecordTables._decode", "store")),
    "bento.drivers.state.sqlite": (("SqliteStore.*", "store"),),
    "bento.files.tree": (("remove_tree", "files"),),
    "bento.locks": (("ContainerLocks.*", "lock"), ("Lock.release", "lock")),
    # The kernel, and the programs that are started
    "bento.command": (("spawn", "process"), ("Child.finish", "wait"), ("Child.kill", "wait")),
    "bento.drivers.monitor.conmon": (("ConmonMonitor.*", "monitor"), ("_prepare", "monitor")),
    "bento.drivers.monitor.reports": (("read_line", "wait"),),
    "bento.drivers.network.bridge": (("BridgeNetwork.*", "network"),),
    "bento.drivers.processes.linux": (("LinuxProcesses.*", "processes"),),
    "bento.drivers.runtime.bundle": (("write", "runtime"), ("check_program", "runtime"), ("_write", "files")),
    "bento.drivers.runtime.destinations": (("check", "runtime"),),
    "bento.drivers.runtime.detect": (("choose", "runtime"),),
    "bento.drivers.runtime.oci": (("OciRuntime.*", "runtime"),),
    "bento.drivers.storage.overlay": (("OverlayStorage.*", "mount"),),
    "bento.kernel.hybrid": (("hide_unified", "mount"),),
    "bento.kernel.mount": (("overlay", "mount"), ("unmount", "mount")),
    "bento.kernel.mountinfo": (("mount_table", "mount"),),
    "bento.kernel.namespace": (("in_private_mounts", "mount"), ("in_mounts_of", "mount"), ("in_network", "network")),
    "bento.oci.config": (("build", "runtime"),),
    "bento.oci.seccomp": (("*", "runtime"),),
}
"""Module, names in it, and the category each is shown in."""

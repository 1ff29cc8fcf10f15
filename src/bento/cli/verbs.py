"""The one table of verbs: what each is called, which module carries it out, and where help shows it."""

from __future__ import annotations

from typing import Final

Verb = tuple[str, str]
"""The module below ``bento.cli`` (verbs that differ little may share one), and the line of the verb in the help."""

CONTAINERS, FILES, PODS, IMAGES, NETWORKS, VOLUMES, ROOM, ENGINE = (
    "Containers",
    "Files of containers",
    "Pods",
    "Images",
    "Networks",
    "Volumes",
    "Making room",
    "The engine",
)

BY_TOPIC: Final[dict[str, dict[str, Verb]]] = {
    CONTAINERS: {
        "create": ("containers.create", "make a container without starting it"),
        "run": ("containers.run", "make a container and start it"),
        "start": ("containers.start", "start containers"),
        "attach": ("containers.attach", "attach to the streams of a container that runs"),
        "stop": ("containers.stop", "stop containers gracefully and say what happened"),
        "restart": ("containers.restart", "stop containers and start them again"),
        "exec": ("containers.exec_", "run a command in a running container"),
        "kill": ("containers.kill", "send a signal to containers"),
        "pause": ("containers.pause", "freeze all processes of containers"),
        "unpause": ("containers.pause", "let paused containers go on"),
        "update": ("containers.update", "change limits and restart policy of containers"),
        "rm": ("containers.rm", "delete containers"),
        "ps": ("views.ps", "list containers"),
        "inspect": ("views.inspect", "show all about containers, images, networks or volumes, as JSON"),
        "top": ("views.top", "show the processes of a container"),
        "stats": ("views.stats", "show what containers take of the machine, again and again"),
        "port": ("views.port", "show where the published ports of a container are reached"),
        "logs": ("views.logs", "show the output of a container"),
        "report": ("views.report", "show what happened in the last stop, on a time axis"),
        "explain": ("views.explain", "say what a stop would do, and send nothing"),
        "check": ("containers.check", "prove that an image shuts down properly"),
        "wait": ("containers.wait", "wait until containers have ended; print their exit codes"),
        "rename": ("containers.rename", "give a container another name"),
        "events": ("views.events", "show what happens to containers, images, volumes and networks"),
        "container exists": ("views.exists", "say by the exit status whether there is a container"),
    },
    FILES: {
        "cp": ("files.cp", "copy files between a container and this machine"),
        "diff": ("files.diff", "show what a container has changed in its root filesystem"),
        "commit": ("files.commit", "make an image of what a container has changed"),
        "export": ("files.export", "write a container's root filesystem as a tar archive"),
    },
    PODS: {
        "pod create": ("pods.create", "make a pod: containers that share a network and namespaces"),
        "pod ls": ("pods.ls", "list pods"),
        "pod inspect": ("pods.inspect", "show all about pods, as JSON"),
        "pod start": ("pods.start", "make pods ready again, and start their containers"),
        "pod stop": ("pods.stop", "stop the containers of pods gracefully, and release their networks"),
        "pod rm": ("pods.rm", "delete pods and their containers"),
        "pod exists": ("views.exists", "say by the exit status whether there is a pod"),
    },
    IMAGES: {
        "pull": ("images.pull", "fetch images from registries and elsewhere"),
        "push": ("images.push", "copy an image to a registry"),
        "login": ("images.login", "keep a user and a password for a registry"),
        "logout": ("images.logout", "forget the user and the password for a registry"),
        "save": ("images.save", "write images into an archive"),
        "load": ("images.load", "read the images of an archive"),
        "build": ("images.build", "make an image from a Containerfile"),
        "import": ("images.import_", "make an image of a directory or tar archive"),
        "images": ("images.images", "list images"),
        "rmi": ("images.rmi", "delete images"),
        "tag": ("images.tag", "give an image one more name"),
        "history": ("images.history", "show how an image was built"),
        "image exists": ("views.exists", "say by the exit status whether there is an image"),
    },
    NETWORKS: {
        "network create": ("networks.create", "make a network"),
        "network ls": ("networks.ls", "list networks"),
        "network inspect": ("networks.inspect", "show all about networks, as JSON"),
        "network connect": ("networks.connect", "put a container on one more network"),
        "network disconnect": ("networks.disconnect", "take a container off a network"),
        "network rm": ("networks.rm", "delete networks"),
        "network prune": ("networks.prune", "delete the networks that no container has"),
        "network exists": ("views.exists", "say by the exit status whether there is a network"),
    },
    VOLUMES: {
        "volume create": ("volumes.create", "make a volume"),
        "volume ls": ("volumes.ls", "list volumes"),
        "volume inspect": ("volumes.inspect", "show all about volumes, as JSON"),
        "volume rm": ("volumes.rm", "delete volumes"),
        "volume prune": ("volumes.prune", "delete the volumes that no container has"),
        "volume exists": ("views.exists", "say by the exit status whether there is a volume"),
    },
    ROOM: {
        "prune": ("system.prune", "delete what nothing uses: containers, pods, networks, images, the cache of builds"),
        "container prune": ("system.prune", "delete the containers that do not run"),
        "image prune": ("system.prune", "delete the images that nothing needs"),
        "system prune": ("system.prune", "the same as prune"),
        "builder prune": ("system.builder_prune", "delete what builds have kept for the next ones"),
        "system df": ("system.df", "show what containers and images take of the disk"),
    },
    ENGINE: {
        "serve": ("system.serve", "answer Docker's clients: the Engine API on a unix socket"),
        "shutdown": ("system.shutdown", "stop everything, in order, before the machine goes down"),
        "install-unit": ("system.install_unit", "have systemd start and shut down the containers with the machine"),
        "generate systemd": (
            "system.generate_systemd",
            "print a unit by which systemd starts and restarts a container",
        ),
        "doctor": ("system.doctor", "find what was left behind"),
        "info": ("system.info", "show what this engine uses on this host"),
        "completion": ("completion.script", "print the script that has bash, zsh or fish complete command lines"),
        "version": ("system.version", "show versions"),
    },
}

VERBS: Final = {name: verb for verbs in BY_TOPIC.values() for name, verb in verbs.items()}
HIDDEN: Final = {
    "complete": ("completion.candidates", ""),
    "finish-stop": ("containers.finish_stop", ""),
    "after-exit": ("containers.after_exit", ""),
    "unit-stop": ("containers.unit_stop", ""),
}
"""For processes that Bento itself starts, or has systemd start, and for the scripts by which shells complete."""

LEFT_OUT: Final = {
    "search": (
        "there is no search: registries have no common way to be searched, and Docker Hub's is its own",
        "use the registry's web page; skopeo list-tags docker://NAME lists the tags of an image",
    ),
}
"""Verbs of other engines that are not there on purpose: what is said of each, and what to do."""

_ALIASES: Final = {
    "container ls": "ps",
    "container list": "ps",
    "container remove": "rm",
    "container inspect": "inspect --type container",
    "image ls": "images",
    "image list": "images",
    "image rm": "rmi",
    "image remove": "rmi",
    "image inspect": "inspect --type image",
    "network list": "network ls",
    "network remove": "network rm",
    "volume list": "volume ls",
    "volume remove": "volume rm",
    "pod list": "pod ls",
    "pod ps": "pod ls",
    "system info": "info",
    "system service": "serve",
}
"""Further names, and the verb that each stands for, maybe with an option."""

_GROUP_OF: Final = {CONTAINERS: "container", FILES: "container", IMAGES: "image"}


GROUPS: Final = ("container", "pod", "image", "network", "volume", "builder", "system", "generate")


def words_of(group: str) -> dict[str, str]:
    """Return what each word after a group's name stands for: a verb, maybe with an option."""
    plain = {
        f"{_GROUP_OF[topic]} {name}": name
        for topic, verbs in BY_TOPIC.items()
        if topic in _GROUP_OF
        for name in verbs
        if " " not in name and name not in ("images", "rmi", "login", "logout")
    }
    known = plain | {name: name for name in VERBS if " " in name} | _ALIASES
    return {words.partition(" ")[2]: verb for words, verb in known.items() if words.startswith(f"{group} ")}


GLOBAL_OPTIONS: Final = {
    "--root": ("DIR", "what outlives a reboot: records, images, volumes (default /var/lib/bento)"),
    "--run-root": ("DIR", "what does not: sockets, locks, pid files (default /run/bento)"),
    "--runtime": ("NAME|PATH", "the OCI runtime (default: the first of crun and runc that works)"),
    "--runtime-args": ("ARGS", "global arguments for a runtime with a virtual machine or gVisor"),
    "--cgroup-manager": ("NAME", "of new containers: cgroupfs (default), systemd, or auto"),
    "--log-level": ("LEVEL", "debug, info, warning or error (default warning)"),
    "--trace": ("FILE", "write where the time goes, in Chrome's trace event format, for ui.perfetto.dev"),
}
"""What stands before the verb: its value, and the line of it in the help."""
_WIDTH: Final = 18
_USAGE: Final = """\
usage: bento [--root DIR] [--run-root DIR] [--runtime NAME|PATH] [--runtime-args ARGS]
             [--cgroup-manager NAME] [--log-level LEVEL] [--trace FILE] VERB ...

Stops containers gracefully, says what happened, and leaves nothing behind.
"""


def usage() -> str:
    """Return the help of ``bento`` itself."""
    lines = [_USAGE]
    for topic, verbs in BY_TOPIC.items():
        lines += [f"{topic}:", *(f"  {name:<{_WIDTH}} {about}" for name, (_, about) in verbs.items()), ""]
    lines += ["Options before VERB:"]
    lines += [f"  {f'{name} {value}':<{_WIDTH + 8}} {about}" for name, (value, about) in GLOBAL_OPTIONS.items()]
    lines.append("")
    groups = ", ".join(f"'bento {group} VERB'" for group in GROUPS)
    lines.append(f"Also in groups, as in Docker: {groups}.")
    lines.append("'bento VERB --help' and 'bento GROUP --help' say more.")
    return "\n".join(lines) + "\n"


def group_usage(group: str) -> str:
    """Return the help of a group: what each of its verbs does."""
    lines = [f"usage: bento {group} VERB ...", ""]
    for word, stands_for in words_of(group).items():
        name = stands_for.partition(" --")[0]
        same = f" (the same as {name})" if name not in (word, f"{group} {word}") else ""
        lines.append(f"  {word:<{_WIDTH}} {VERBS[name][1]}{same}")
    return "\n".join(lines) + "\n"

"""What runtimes say, understood: the only place that matches texts of crun and runc.

Their exit status is 1 for everything, so the words are all there is. An unknown text is passed on as it is. Sample
outputs of the real programs stand in tests/unit/runtime_output.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Final

import msgspec

from bento.errors import BentoError, CommandNotExecutable, CommandNotFound, Conflict, RuntimeFailed, UsageError
from bento.model.stats import ProcessTable

_MAX_CHARS: Final = 500

# Patterns are compiled when something has failed, not at import: that would cost every command 2 ms.
# runc logs in logfmt (level=error msg="..."), or in JSON on request; crun writes the bare sentence.
_LOGFMT: Final = r'level=(?:error|fatal)\s+msg=("(?:[^"\\]|\\.)*"|\S+)'
_RUNC_PREFIXES: Final = (
    r"^(?:runc (?:create|run|start) failed: |unable to start container process: |error during container init: )+"
)

_UNKNOWN: Final = (
    r"container does not exist"  # runc
    r"|container \S+ does not exist"  # runc before 1.1, runsc
    r"|cannot open directory '?.*'?: No such file or directory"  # crun delete
    r"|error opening file .*status.*: No such file or directory"  # crun, every other verb
    r"|file does not exist"  # runsc
)
_STILL_RUNNING: Final = (
    r"that is not stopped"  # runc, runsc
    r"|is not in `created` or `stopped` state"  # crun
    r"|cannot delete (?:a )?(?:running|paused) container"
)


def sentence(text: str) -> str:
    """Return the error itself, on one line, out of what a runtime wrote on stderr; bounded to 500 characters."""
    errors: list[str] = []
    plain: list[str] = []
    for line in text.splitlines():
        if (found := _logged(line)) is not None:
            errors += [found] if found else []
        elif line.strip():
            plain.append(line.strip())
    chosen = errors[-1] if errors else " ".join(plain[-2:])
    chosen = " ".join(re.sub(_RUNC_PREFIXES, "", chosen).split())
    return chosen if len(chosen) <= _MAX_CHARS else chosen[: _MAX_CHARS - 3] + "..."


def _logged(line: str) -> str | None:
    """The message of a log line of level error; "" for a log line of another level; None when it is not one."""
    if line.startswith("{") and '"msg"' in line:
        try:
            record = msgspec.json.decode(line, type=dict[str, object])
        except msgspec.DecodeError:
            return None
        return str(record.get("msg", "")) if record.get("level") in ("error", "fatal") else ""
    if match := re.search(_LOGFMT, line):
        quoted = match[1]
        return re.sub(r"\\(.)", r"\1", quoted[1:-1]) if quoted.startswith('"') else quoted
    return "" if re.match(r'time="[^"]*" level=', line) else None


def process_table(text: str) -> ProcessTable:
    """Return the table that ``ps`` of a runtime prints (runsc's has the columns of Docker's, each without blanks but
    the last). Raises RuntimeFailed for what is none."""
    heading, *lines = [line.split() for line in text.splitlines() if line.strip()] or [[]]
    if "PID" not in heading:
        raise RuntimeFailed("the runtime lists no processes", hint=f"it says: {sentence(text)}")
    last = len(heading) - 1
    return ProcessTable(tuple(heading), tuple((*cells[:last], " ".join(cells[last:])) for cells in lines))


def is_unknown_container(text: str) -> bool:
    """Whether the runtime says that it has no such container."""
    return re.search(_UNKNOWN, text) is not None


def is_still_running(text: str) -> bool:
    """Whether the runtime refuses because it does not see the container stopped yet."""
    return re.search(_STILL_RUNNING, text) is not None


def _not_found(match: re.Match[str], command: str) -> BentoError:
    what = match["what"] or command
    hint = "check the name and the image's PATH" if "/" not in what else "check the path inside the image"
    return CommandNotFound(f"command not found: {what}", hint=hint)


def _not_executable(match: re.Match[str], command: str) -> BentoError:
    groups = match.groupdict()
    what, why = groups.get("what") or command or "the command", groups["why"].lower()
    hint = "it may be a directory, lack the x bit, or be out of the user's reach"
    return CommandNotExecutable(f"cannot execute {what}: {why}", hint=hint)


def _bad_workdir(match: re.Match[str], _: str) -> BentoError:
    what, why = match["what"], match["why"].lower()
    return UsageError(f"cannot use working directory {what}: {why}", hint="-w takes a directory inside the container")


def _bad_source(match: re.Match[str], _: str) -> BentoError:
    return UsageError(f"cannot mount {match['what']}: no such file or directory", hint="make it on the host first")


def _bad_mount(match: re.Match[str], _: str) -> BentoError:
    where = "/" + match["where"].lstrip("/")
    what = match["what"]
    hint = "both ends of a bind mount must be directories, or both files; check its options"
    if what == "tmpfs":
        hint = "check its options: tmpfs(5) has size=64m, mode=1777 and others"
    return UsageError(f"cannot mount {what} on {where}: {match['why'].lower()}", hint=hint)


def _exists(match: re.Match[str], _: str) -> BentoError:
    return Conflict(f"the runtime still knows the container: {match[0]}", hint="bento doctor shows what is left over")


def _hybrid(match: re.Match[str], _: str) -> BentoError:
    return RuntimeFailed(match[0], hint="this runtime cannot work with this host's cgroups; try --runtime runc")


def _locked_memory(match: re.Match[str], _: str) -> BentoError:
    return RuntimeFailed(f"the runtime cannot work here: {match[0]}", hint="without CAP_SYS_RESOURCE use runc")


def _limits(match: re.Match[str], _: str) -> BentoError:
    return RuntimeFailed(f"cannot set a resource limit: {match[0]}", hint="see ulimit -H -a for what may be set")


def _weight(match: re.Match[str], _: str) -> BentoError:
    return RuntimeFailed(
        f"cannot set a weight of block I/O: {match['file']}: {match['why'].lower()}",
        hint="crun 1.8 needs an older kernel's blkio.weight: try --runtime runc; a device needs the scheduler bfq",
    )


def _limit(match: re.Match[str], _: str) -> BentoError:
    return RuntimeFailed(f"cannot set a limit: {match[0]}", hint="does it go with what the container uses now?")


def _too_many_files(match: re.Match[str], _: str) -> BentoError:
    return RuntimeFailed(
        f"the runtime may not open enough files: {match[0]}", hint="the container's limit nofile holds for it, too"
    )


_NO_FILE: Final = r"[Nn]o such file or directory"


def _not_loaded(match: re.Match[str], command: str) -> BentoError:
    return (_not_found if re.search(_NO_FILE, match["why"]) else _not_executable)(match, command)


_KNOWN: Final[tuple[tuple[str, Callable[[re.Match[str], str], BentoError]], ...]] = (
    (r"executable file [`'](?P<what>.+?)['`] not found", _not_found),
    (rf'exec: "(?P<what>.*?)": (?:stat .*: {_NO_FILE}|executable file not found)', _not_found),
    (r'exec: "(?P<what>.*?)": (?:stat .*?: )?(?P<why>[^:]+)$', _not_executable),
    (rf'error finding executable "(?P<what>.*?)" in PATH .*: {_NO_FILE}', _not_found),  # runsc, and the next
    (r"(?:creating process|in sandbox): failed to load (?P<what>/.*?): (?P<why>.+)", _not_loaded),
    (r"open executable: (?P<why>.+)", _not_executable),
    (r"exec(?: container process)?(?: \([^)]*\))? `?(?P<what>/[^`:]+)`?: (?P<why>.+)", _not_executable),
    (r"chdir `(?P<what>.*?)`: (?P<why>.+)", _bad_workdir),
    (r'chdir to cwd \("(?P<what>.*?)"\).*: (?P<why>[^:]+)$', _bad_workdir),
    (r'initial working directory "(?P<what>.*?)": (?P<why>.+)', _bad_workdir),  # runsc
    (r"^mkdir (?P<what>/.*?): (?P<why>.+)", _bad_workdir),
    (rf"error stat'ing file `(?P<what>.*?)`: {_NO_FILE}", _bad_source),
    (rf'error mounting "(?P<what>.*?)" to rootfs at ".*?": stat .*?: {_NO_FILE}', _bad_source),
    (r'error mounting "(?P<what>.*?)" to rootfs at "(?P<where>.*?)": (?:.*: )?(?P<why>[^:]+)$', _bad_mount),
    (r"mount `(?P<what>.*?)` to `(?P<where>.*?)`: (?P<why>.+)", _bad_mount),
    (r"container (?:`\S+`|with given ID) already exists", _exists),
    (r"cgroups in hybrid mode not supported.*", _hybrid),
    (r"setrlimit \(RLIM_MEMLOCK\): .*", _locked_memory),
    (r"[^:]*: [Tt]oo many open files", _too_many_files),
    (r"(?P<file>(?:blkio|io)[.\w]*weight\w*)[^:]*: (?P<why>[^:]+)$", _weight),
    (r"writing file `(?:cpu|memory|pids|blkio|io)[.\w]+`: .*", _limit),
    (r"(?:failed to write .*|unable to set memory limit .*)", _limit),
    (r"setrlimit `\w+`: .*|error setting rlimit.*", _limits),
)


def explain(text: str, *, verb: str, command: str = "") -> BentoError:
    """Return the error that a failed ``create`` or ``start`` deserves.

    Args:
        text: what the runtime wrote, stderr or log.
        verb: what it was asked to do, for unknown messages.
        command: what the container was to run: crun does not always name it.
    """
    said = sentence(text)
    for pattern, error in _KNOWN:
        if match := re.search(pattern, said):
            return error(match, command)
    return RuntimeFailed(f"the runtime could not {verb} the container: {said or 'it gave no reason'}")

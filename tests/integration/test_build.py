"""``build``: by buildah, from Bento's images, to one of Bento's images; and nothing is left when it is broken off."""

from __future__ import annotations

import io
import os
import signal
import subprocess
import tarfile
from pathlib import Path

import pytest

from support import procs
from support.cli import BentoCli
from support.workload import ONE_RUNTIME, assert_clean, assert_one_line, busybox_rootfs

pytestmark = ONE_RUNTIME

STAGES = """\
ARG BASE=bb
FROM $BASE AS tools
RUN mkdir /made && echo tool > /made/tool && echo no > /made/other
FROM bb
ARG WHO=nobody
ENV WHO=$WHO
COPY --from=tools /made/tool /tool
COPY . /src
RUN echo "$WHO" > /who
HEALTHCHECK --interval=7s --retries=2 CMD test -f /who
STOPSIGNAL SIGUSR1
LABEL tier=front
CMD ["/bin/cat", "/who", "/tool"]
"""


@pytest.fixture
def context(bento: BentoCli, tmp_path: Path) -> Path:
    bento("import", busybox_rootfs(tmp_path / "fs"), "bb")
    made = tmp_path / "context"
    made.mkdir()
    (made / "Containerfile").write_text(STAGES)
    (made / ".dockerignore").write_text("secret\n")
    for name in ("secret", "plain"):
        (made / name).write_text(name)
    return made


def test_stages_arguments_and_what_becomes_of_the_image(bento: BentoCli, context: Path, tmp_path: Path) -> None:
    words = ("-t", "web:1", "-t", "web:2", "--build-arg", "WHO=ann", "--label", "a=b", "--iidfile", tmp_path / "id")
    built = bento("build", *words, context)
    image_id = built.stdout.strip()
    assert (tmp_path / "id").read_text() == image_id
    assert "STEP" in built.stderr
    shown = bento.inspect("web:2")
    assert shown["Id"] == image_id
    config = shown["Config"]
    assert config["Healthcheck"] == {"Test": ["CMD-SHELL", "test -f /who"], "Interval": 7_000_000_000, "Retries": 2}
    assert (config["StopSignal"], config["Labels"]["tier"], config["Labels"]["a"]) == ("SIGUSR1", "front", "b")
    assert bento("run", "--rm", "web:1").stdout == "ann\ntool\n"
    assert bento("run", "--rm", "web:1", "/bin/ls", "/src").stdout.split() == ["Containerfile", "plain"]
    assert any("/who" in step["CreatedBy"] for step in bento.listing("history", "--no-trunc", "web:1"))
    again = bento("build", "-q", "-t", "web:3", "--build-arg=WHO=ann", "--label=a=b", context)
    assert again.stdout.strip() == image_id, "all steps are known"
    assert again.stderr == ""
    other = bento("build", "-q", "--target", "tools", "--no-cache", context).stdout.strip()
    assert bento("run", "--rm", other, "/bin/cat", "/made/other").stdout == "no\n"
    assert_clean(bento)


def test_what_was_built_and_tagged_anew_is_what_the_next_build_begins_with(bento: BentoCli, context: Path) -> None:
    for text in ("one", "two"):
        bento("build", "-q", "-t", "base", "-", stdin=f"FROM bb\nRUN echo {text} > /text\n")
        made = bento("build", "-q", "-", stdin="FROM base\nRUN cp /text /copy\n").stdout.strip()
        assert bento("run", "--rm", made, "/bin/cat", "/copy").stdout == f"{text}\n"
    for name, is_sent in (("base", False), ("other", True)):  # it has this image, but not by this name
        bento("tag", "base", name)
        again = bento("--log-level", "debug", "build", "-q", "-", stdin=f"FROM {name}\nRUN cp /text /copy\n")
        assert again.stdout.strip() == made
        assert ("containers-storage:" in again.stderr) is is_sent


def test_a_context_and_a_containerfile_on_stdin(bento: BentoCli, context: Path, tmp_path: Path) -> None:
    packed = io.BytesIO()
    with tarfile.open(fileobj=packed, mode="w:gz") as archive:
        archive.add(context, arcname=".")
    (tmp_path / "context.tgz").write_bytes(packed.getvalue())
    prefix = [str(word) for word in bento.prefix]
    with open(tmp_path / "context.tgz", "rb") as stdin:
        words = [*prefix, "build", "-q", "-"]
        done = subprocess.run(words, stdin=stdin, capture_output=True, text=True, check=True)
    assert bento("run", "--rm", done.stdout.strip(), "/bin/cat", "/src/plain").stdout == "plain"
    made = bento("build", "-q", "-f", "-", context, stdin="FROM bb\nCOPY plain /p\n").stdout.strip()
    assert bento("run", "--rm", made, "/bin/cat", "/p").stdout == "plain"


def test_what_cannot_be_built_is_said_in_one_line(bento: BentoCli, context: Path, tmp_path: Path) -> None:
    def refused(words: str, *args: str | Path, code: int = 1, stdin: str = "") -> None:
        finished = bento("build", "-q", *args, check=False, stdin=stdin)
        assert finished.returncode == code
        assert_one_line(finished, words)
        assert finished.stdout == ""

    refused("exit status 3", "-", stdin="FROM bb\nRUN exit 3\n")
    refused("nothing came on stdin", "-", code=2)
    refused("has no Containerfile", tmp_path)
    refused("is no directory", tmp_path / "nothing")
    refused("is an address", "https://example.invalid/x.git", code=2)
    refused("cannot both come on stdin", "-f", "-", "-", code=2)
    refused("this machine itself", "-", stdin="FROM host\n", code=2)
    refused("no such image: nothing.invalid/x", "-", stdin="FROM nothing.invalid/x\n")
    refused("invalid image name", "-t", "A B", context, code=2)
    refused("Unknown instruction", "-", stdin="FROM bb\nNONSENSE x\n")
    assert bento("images", "-q").stdout.split() != []
    assert "<none>" not in bento("images").stdout


def test_the_network_of_a_build_is_the_machines_or_none(bento: BentoCli, context: Path) -> None:
    for network, is_loopback_up in (("host", True), ("none", False)):
        text = f"FROM bb\nRUN : {network}; /bin/busybox ip link show lo > /link\n"
        made = bento("build", "-q", "--network", network, "-", stdin=text).stdout.strip()
        link = bento("run", "--rm", made, "/bin/cat", "/link").stdout
        assert "LOOPBACK" in link
        assert ("LOOPBACK,UP" in link) is is_loopback_up


def test_a_machine_without_buildah_is_told_what_to_install(bento: BentoCli, context: Path, monkeypatch) -> None:
    from bento import command
    from bento.drivers.builder.buildah import BuildahBuilder
    from bento.errors import MissingTool

    monkeypatch.setattr(command, "_search_path", lambda: ["/nonexistent"])
    with pytest.raises(MissingTool, match="buildah"), BuildahBuilder(bento.roots.root).session():
        pass


def sleeping(mark: str) -> bool:
    return any(procs.cmdline(found.pid).startswith("sleep") for found in procs.with_word(mark))


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM, signal.SIGKILL])
def test_a_build_that_is_broken_off_leaves_nothing(bento: BentoCli, context: Path, number: int) -> None:
    home = bento.roots.root / "build"
    mark = f"5{os.getpid()}{number}"
    with bento.start("build", "-", stdin=-1) as build:
        assert build.stdin is not None
        build.stdin.write(f"FROM bb\nRUN trap '' TERM INT; sleep {mark}\n")
        build.stdin.close()
        procs.wait_until(lambda: sleeping(mark), what="the step to begin")
        build.send_signal(number)
        build.wait(60)
        assert build.returncode == (-number if number == signal.SIGKILL else 128 + number)
    procs.wait_until(lambda: not sleeping(mark), what="the step to be gone")
    if number == signal.SIGKILL:
        assert "run-" in bento("doctor", check=False).stdout
        assert "run-" in bento("doctor", "--fix").stdout
    assert [name for name in os.listdir(home) if name.startswith("run-")] == []
    assert str(home) not in Path("/proc/self/mountinfo").read_text()
    assert bento("build", "-q", "-", stdin="FROM bb\nRUN true\n").stdout.startswith("sha256:")
    assert_clean(bento)


def test_two_builds_at_once_and_a_prune_beside_them(bento: BentoCli, context: Path) -> None:
    texts = [f"FROM bb\nRUN sleep 1; echo {number} > /n\n" for number in (1, 2)]
    builds = [bento.start("build", "-q", "-", stdin=-1) for _ in texts]
    for build, text in zip(builds, texts, strict=True):
        assert build.stdin is not None
        build.stdin.write(text)
        build.stdin.close()
        build.stdin = None
    home = bento.roots.root / "build"
    procs.wait_until(lambda: len(list(home.glob("run-*"))) == 2, what="both builds to begin")
    assert bento("builder", "prune", "-f").stdout == "Total: 0B\n"
    made = [build.communicate(timeout=120)[0].strip() for build in builds]
    assert [build.returncode for build in builds] == [0, 0]
    assert [bento("run", "--rm", one, "/bin/cat", "/n").stdout for one in made] == ["1\n", "2\n"]
    assert bento("prune", "-f").stdout.count("Deleted what builds had kept") == 1
    assert os.listdir(home) == []

"""Imports, removals, containers and doctor at once: no image stands on a layer that is gone, no layer is lost."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from support.cli import BentoCli, Roots
from support.workload import ONE_RUNTIME, assert_clean

pytestmark = ONE_RUNTIME

SECONDS = 4.0
LIMIT_S = 75.0
"""A machine so busy that one of them never comes to anything within it is no place for a race."""
PRELUDE = """
import os, sys, time
from contextlib import suppress
from pathlib import Path
from bento import Engine, Settings
from bento.model.image import ImageConfig
from bento.model.create import CreateOptions
from bento.errors import BentoError, Conflict, NotFound
root, run_root, sources, seconds, limit_s, racers = sys.argv[1:]
begun, done = time.monotonic(), 0
engine = Engine(Settings(root=root, run_root=run_root, runtime="crun"))

def goes_on():
    # For some seconds, and until every racer has come to something.
    if done:
        Path(sources, f"done-{os.getpid()}").touch()
    passed_s = time.monotonic() - begun
    is_enough = len(list(Path(sources).glob("done-*"))) == int(racers)
    return passed_s < float(seconds) or (not is_enough and passed_s < float(limit_s))

while goes_on():
"""
IMPORTS = """
    source = Path(sources) / str(done % 2)
    layer = engine.import_image(source, "im", ImageConfig(command=("true",)))
    done += 1
"""
REMOVES = """
    # Those that have lost their name to the next import, too: else nothing would ever leave their layers.
    assert not engine.prune_images().errors
    with suppress(NotFound, Conflict):
        engine.remove_image("im")
        done += 1
    time.sleep(0.1)  # the others shall find it now and then
"""
CREATES = """
    with suppress(NotFound):
        made = engine.create(CreateOptions(image="im"))
        for _ in range(3):
            assert all(os.path.isdir(layer) for layer in made.spec.layers), made.spec.layers
            time.sleep(0.003)
        engine.remove(made.id)
        done += 1
"""
EXAMINES = """
    found = [finding for finding in engine.doctor(fix=bool(done % 2))]
    assert found == [], found
    done += 1
"""


def test_no_layer_goes_that_something_stands_on(bento: BentoCli, roots: Roots, tmp_path: Path) -> None:
    for number in range(2):
        (tmp_path / str(number)).mkdir()
        (tmp_path / str(number) / "file").write_text(str(number))
    racing = (IMPORTS, IMPORTS, REMOVES, CREATES, CREATES, EXAMINES)
    arguments = [str(word) for word in (*roots, tmp_path, SECONDS, LIMIT_S, len(racing))]
    racers = [
        subprocess.Popen([sys.executable, "-c", PRELUDE + code + "print(done)", *arguments],
                         stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
        for code in racing
    ]  # fmt: skip
    ends = [(*racer.communicate(timeout=LIMIT_S + 60), racer.returncode) for racer in racers]
    assert [code for _, _, code in ends] == [0] * len(racers), "\n".join(err for _, err, _ in ends)
    assert all(int(out) for out, _, _ in ends), ends
    images = bento("images", "-q").stdout.split()
    layers = [name for name in os.listdir(roots.root / "layers") if not name.endswith(".json")]
    assert len(layers) <= 2
    assert bool(layers) == bool(images)
    if images:
        bento("rmi", *images)
    assert [path for path in roots.root.glob("[bl]*s/**/*") if path.is_file()] == []
    assert_clean(bento)


def test_layer_whose_import_or_removal_was_killed_is_found(bento: BentoCli, roots: Roots) -> None:
    """Between the layer and its record, or the record and its layer."""
    stray = roots.root / "layers" / ("ab" * 32)
    stray.mkdir(parents=True)
    (stray / "file").touch()
    finished = bento("doctor", check=False)
    assert finished.returncode == 1
    assert str(stray) in finished.stdout
    assert stray.exists()
    assert "removed" in bento("doctor", "--fix").stdout
    assert not stray.exists()
    assert_clean(bento)

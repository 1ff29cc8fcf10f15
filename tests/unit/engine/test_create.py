"""A container that is being made when its command is ended: nothing half made is left."""

from __future__ import annotations

import os

import pytest

from bento import log
from bento.cli.options.create import discarded
from bento.engine.facade import EngineFacade
from bento.engine.lifecycle import create
from bento.model.container import Container, ContainerSpec
from bento.model.create import CreateOptions

from support.interrupts import each_interruption

MADE_BY = ("bento.cli.options.create", "bento.engine.facade", "bento.engine.lifecycle.create", "bento.locks")


def test_c16_ctrl_c_just_after_the_record_was_written_leaves_none(drivers, monkeypatch):
    add = drivers.store.add

    def add_and_be_interrupted(container):
        add(container)
        raise KeyboardInterrupt

    monkeypatch.setattr(drivers.store, "add", add_and_be_interrupted)
    made = Container(id="a" * 64, name="", created_unix_ns=0, spec=ContainerSpec(image="host", image_id="", layers=()))
    with pytest.raises(KeyboardInterrupt):
        create._make(drivers, "web", made)
    assert drivers.store.list() == []
    assert drivers.storage.ids() == []


def test_an_interruption_at_any_line_leaves_no_container_and_no_lock(drivers, monkeypatch):
    monkeypatch.setattr("bento.log._threshold", log.LEVELS.index("error"))  # which ``discarded`` changes
    engine = EngineFacade(drivers)
    options = CreateOptions(image="host", command=("sleep", "9"))

    def make():
        with discarded(engine) as container_id:
            engine.create(options, container_id=container_id)

    make()
    engine.remove(drivers.store.list()[0].id)
    steps = 0
    for step in each_interruption(make, *MADE_BY, by_line=True):
        assert [drivers.store.list(), drivers.storage.ids(), os.listdir(drivers.run_root / "locks")] == [[], [], []], (
            step
        )
        steps += 1
    assert steps > 50

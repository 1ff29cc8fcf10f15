"""A container that is being made when its command is ended: nothing half made is left."""

from __future__ import annotations

import pytest

from bento.engine.lifecycle import create
from bento.model.container import Container, ContainerSpec


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

"""What a stop is asked for: the call, then the container, then the configuration, then the default."""

from __future__ import annotations

import itertools
from typing import Any

import msgspec
import pytest

from bento.config import Settings
from bento.engine.stop.request import StopOptions, request_for
from bento.model.container import Container, ContainerSpec
from bento.model.stop import NOTHING_SAID, OnDeaf, OnWrapper, Scope, SignalFrom, StopRequest, StopRules, StopSettings

SAID: dict[str, tuple[Any, Any, Any]] = {
    "scope": (Scope.MAIN, Scope.AUTO, Scope.MAIN),
    "on_wrapper": (OnWrapper.CONTINUE, OnWrapper.HOLD, OnWrapper.CONTINUE),
    "on_deaf": (OnDeaf.WAIT, OnDeaf.END, OnDeaf.IDLE),
    "exit_hold_s": (0.0, 3.0, 4.0),
    "last_call_s": (0.0, 1.0, 1.5),
    "last_call_all": (False, True, False),
    "start_window_s": (0.0, 20.0, 30.0),
    "signal_from": (SignalFrom.IMAGE, SignalFrom.AUTO, SignalFrom.IMAGE),
}
"""What the call, the container and the configuration say; 0 and False are sayings, too."""


def container(**spec) -> Container:
    made = ContainerSpec(image="host", image_id="", layers=(), **spec)
    return Container(id="c" * 64, name="web", created_unix_ns=0, spec=made)


def request(call=NOTHING_SAID, own=NOTHING_SAID, configured=NOTHING_SAID, **spec) -> StopRequest:
    options = StopOptions(**{name: getattr(call, name) for name in StopRules.__struct_fields__})
    return request_for(container(stop=StopSettings(rules=own), **spec), options, Settings(stop_rules=configured))


def test_every_rule_is_tried_here():
    assert tuple(SAID) == StopRules.__struct_fields__


@pytest.mark.parametrize("name", SAID)
def test_s00_the_first_that_says_something_wins(name):
    default = getattr(StopRequest(), name)
    for says in itertools.product((False, True), repeat=3):
        sources = [
            StopRules(**{name: word}) if said else NOTHING_SAID for said, word in zip(says, SAID[name], strict=True)
        ]
        wanted = next((word for said, word in zip(says, SAID[name], strict=True) if said), default)
        assert getattr(request(*sources), name) == wanted, says


def test_s00_each_rule_is_looked_for_by_itself():
    made = request(StopRules(scope=Scope.MAIN), StopRules(exit_hold_s=1.0), StopRules(on_deaf=OnDeaf.WAIT))
    assert (made.scope, made.exit_hold_s, made.on_deaf) == (Scope.MAIN, 1.0, OnDeaf.WAIT)


def test_s10_an_init_gets_a_last_call_only_by_name():
    assert request(system=True).last_call_s == 0.0
    assert request(configured=StopRules(last_call_s=3.0), system=True).last_call_s == 0.0
    assert request(own=StopRules(last_call_s=3.0), system=True).last_call_s == 3.0
    assert request(StopRules(last_call_s=1.0), StopRules(last_call_s=3.0), system=True).last_call_s == 1.0


def test_a_record_keeps_what_was_said_and_an_older_one_says_nothing():
    spec = container(stop=StopSettings(rules=StopRules(scope=Scope.MAIN, last_call_s=0.0))).spec
    assert msgspec.json.decode(msgspec.json.encode(spec), type=ContainerSpec) == spec
    assert msgspec.to_builtins(spec)["stop"] == {"rules": {"scope": "main", "last_call_s": 0.0}}
    assert "stop" not in msgspec.to_builtins(container().spec)

"""What the configuration says of stops: the environment, then the file; and one clear line for nonsense."""

from __future__ import annotations

from pathlib import Path

import pytest

from bento.config import Settings
from bento.config_load import load
from bento.errors import UsageError
from bento.model.stop import NOTHING_SAID, OnDeaf, OnWrapper, Scope, StopRules

FILE = """
stop_scope = "main"
stop_wrapper = "continue"
stop_deaf = "wait"
stop_exit_hold = 5
stop_last_call = 0
stop_start_window = 2.5
"""


def load_with(tmp_path: Path, content: str = "", **environ: str) -> Settings:
    file = tmp_path / "config.toml"
    file.write_text(content)
    return load({}, environ=environ, file=file)


def test_nothing_is_said_without_a_file(tmp_path):
    assert load({}, environ={}, file=tmp_path / "none").stop_rules == NOTHING_SAID
    assert Settings().stop_rules == NOTHING_SAID


def test_the_file_says_how_stops_go(tmp_path):
    assert load_with(tmp_path, FILE).stop_rules == StopRules(
        scope=Scope.MAIN,
        on_wrapper=OnWrapper.CONTINUE,
        on_deaf=OnDeaf.WAIT,
        exit_hold_s=5.0,
        last_call_s=0.0,
        start_window_s=2.5,
    )


def test_the_environment_wins_over_the_file(tmp_path):
    rules = load_with(tmp_path, FILE, BENTO_STOP_SCOPE="auto", BENTO_STOP_EXIT_HOLD="0").stop_rules
    assert (rules.scope, rules.exit_hold_s, rules.on_deaf) == (Scope.AUTO, 0.0, OnDeaf.WAIT)


@pytest.mark.parametrize(
    ("key", "word", "hint"),
    [
        ("stop_scope", "all", "auto or main"),
        ("stop_wrapper", "go", "hold or continue"),
        ("stop_deaf", "MAYBE", "idle, end or wait"),
        ("stop_exit_hold", "-1", "give seconds"),
        ("stop_last_call", "soon", "give seconds"),
        ("stop_start_window", "nan", "give seconds"),
        ("bridge_names", "yes", "none or resolve"),
        ("events_max", "0", "from 1"),
        ("events_max", "many", "from 1"),
        ("network", "backend", "bridge, host or none"),
    ],
)
def test_nonsense_is_refused_by_its_name(tmp_path, key, word, hint):
    for content, environ in ((f'{key} = "{word}"\n', {}), ("", {f"BENTO_{key.upper()}": word})):
        with pytest.raises(UsageError, match=f"bad {key} '{word}'.*{hint}") as raised:
            load_with(tmp_path, content, **environ)
        assert "\n" not in str(raised.value)

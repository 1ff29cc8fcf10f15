"""The table of verbs (``cli.verbs``), and what is suggested for a word that is not in it."""

from __future__ import annotations

import pytest

from bento.cli import main, verbs
from bento.cli.suggest import meant
from bento.errors import UsageError


def test_every_word_of_a_group_stands_for_a_verb():
    for group in verbs.GROUPS:
        for word in verbs.words_of(group):
            _, verb, _ = main.split([group, word])
            assert verb in verbs.VERBS


def test_docker_words_are_known():
    assert {"ls", "rm", "inspect", "prune", "run", "logs", "cp", "commit"} <= set(verbs.words_of("container"))
    assert {"ls", "rm", "inspect", "prune", "pull", "tag", "history"} <= set(verbs.words_of("image"))
    assert {"create", "ls", "inspect", "rm", "prune"} == set(verbs.words_of("volume")) - {"exists", "list", "remove"}
    assert main.split(["container", "inspect", "web"])[1:] == ("inspect", ["--type", "container", "web"])


def test_help_has_a_line_for_each_verb(capsys):
    lines = verbs.usage().splitlines()
    for name, (_, about) in verbs.VERBS.items():
        assert sum(line.split(about)[0].strip() == name for line in lines if about in line) == 1
    assert main.run(["image", "--help"]) == 0
    assert "list images (the same as images)" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("argv", "hint"),
    [
        (["rnu"], "did you mean run?"),
        (["imags"], "did you mean images?"),
        (["zzzzzz"], "see bento --help"),
        (["image", "lst"], "did you mean list?"),
        (["volume"], "one of create, ls"),
    ],
)
def test_an_unknown_verb_is_answered_with_what_was_meant(argv, hint):
    with pytest.raises(UsageError) as caught:
        main.split(argv)
    assert hint in caught.value.hint


@pytest.mark.parametrize(("word", "hint"), [("--nmae", "did you mean --name?"), ("--xyzzy", "see bento run --help")])
def test_an_unknown_option_is_answered_with_what_was_meant(word, hint):
    parser = main.Parser(prog="bento run", allow_abbrev=False)
    main.load("run").configure(parser)
    with pytest.raises(UsageError) as caught:
        parser.parse_args([f"{word}=x", "host", "true"])
    assert caught.value.hint == hint


def test_far_words_mean_nothing():
    assert meant("quux", ["run", "stop"]) == ""

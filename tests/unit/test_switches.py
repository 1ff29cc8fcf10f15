"""Every switch of every verb takes a value, as Go's flags do."""

from __future__ import annotations

import argparse

import pytest

from bento.cli import main, verbs
from bento.cli.options.switches import take_values
from bento.errors import UsageError


def parser_of(verb: str, *words: str) -> main.Parser:
    parser = main.Parser(prog=f"bento {verb}", allow_abbrev=False)
    main.load(verb).configure(parser)
    take_values(parser, words)
    return parser


def switches_of(verb: str) -> list[argparse.Action]:
    return [each for each in parser_of(verb)._actions if each.nargs == 0 and each.const is True]


@pytest.mark.parametrize(
    ("verb", "name", "dest"),
    [
        (verb, name, switch.dest)
        for verb in verbs.VERBS
        for switch in switches_of(verb)
        for name in switch.option_strings
    ],
)
def test_each_switch_may_be_given_a_value(verb, name, dest):
    for value, is_on in (("true", True), ("1", True), ("T", True), ("false", False), ("0", False), ("False", False)):
        word = f"{name}={value}"
        values = {each.dest: None for each in parser_of(verb)._actions if not each.option_strings}
        parser = parser_of(verb, word)
        for positional in [each for each in parser._actions if not each.option_strings]:
            positional.nargs = argparse.OPTIONAL
        for group in parser._mutually_exclusive_groups:
            group.required = False
        for each in parser._actions:
            each.required = False
        assert vars(parser.parse_args([word], argparse.Namespace(**values)))[dest] is is_on


def test_another_value_is_refused_in_one_line():
    with pytest.raises(UsageError, match=r"--all is a switch: it takes true or false, and not 'maybe'"):
        parser_of("ps", "--all=maybe").parse_args(["--all=maybe"])


def test_the_word_behind_a_switch_is_not_its_value():
    args = parser_of("run", "--rm", "false").parse_args(["--rm", "false", "--rm=false"])
    assert (args.auto_remove, args.image, args.command) == (True, "false", ["--rm=false"])


def test_the_last_of_several_letters_has_the_value():
    for word, want in (("-it=true", (True, True)), ("-it=false", (True, False)), ("-ti=0", (False, True))):
        args = parser_of("run", word, "-eA=1", "img").parse_args([word, "-eA=1", "img"])
        assert ((args.stdin_open, args.tty), args.env) == (want, ["A=1"])

"""The documentation says what the code does: nothing generated is stale, no verb, option or method is left out, no link
leads nowhere."""

from __future__ import annotations

import os
import re
import shlex
import subprocess
import sys
import tomllib
from pathlib import Path

import msgspec
import pytest

from bento import StopOptions, config_load
from bento.api_cri.methods import METHODS, STREAMS
from bento.api_docker.routes import ROUTES
from bento.cli import main, verbs
from bento.engine.facade import EngineFacade
from bento.engine.views.listing import _FILTERS
from bento.errors import UsageError
from bento.model.stop import StopReport, Verdict

REPOSITORY = Path(__file__).parents[2]
DOCS = REPOSITORY / "docs"
CLI, LIBRARY, STOP, STOP_RULES = (DOCS / name for name in ("cli.md", "library.md", "stop.md", "stop-rules.md"))
DECISIONS = DOCS / "decisions"
ROOT_PAGES = ("README.md", "ARCHITECTURE.md", "CONTRIBUTING.md", "CHANGELOG.md")
PAGES = [*sorted(DOCS.rglob("*.md")), *(page for name in ROOT_PAGES if (page := REPOSITORY / name).exists())]
FOLDERS = ("src", "tests", "docs", "tools", "bench", "demo")
"""Of the repository: paths in the pages that begin so are looked for."""
TAKES_OPTIONS_OF = {"check": "create"}
"""And its section says so."""
FENCED = r"(?ms)^```.*?^```$"


def text_of(path: Path) -> str:
    return path.read_text(encoding="utf-8")


def is_named(word: str, text: str) -> bool:
    """Whether a word, such as an option, stands in a text by itself: ``--no-wait`` does not name ``--no``."""
    return re.search(rf"(?<![\w-]){re.escape(word)}(?![\w-])", text) is not None


def section(verb: str) -> str:
    """What docs/cli.md says of a verb."""
    for heading, body in re.findall(r"(?ms)^### (.+?)$(.*?)(?=^##|\Z)", re.sub(FENCED, "", text_of(CLI))):
        if verb in heading.split(", "):
            return body
    pytest.fail(f"docs/cli.md has no section on {verb}")


def test_every_endpoint_is_described():
    text = text_of(DOCS / "docker-api.md").partition("## Endpoints")[2].partition("\n## ")[0]
    rows = re.findall(r"(?m)^\| (`[A-Z]+ /.*?) \|", text)
    described = [words for row in rows for words in re.findall(r"`([^`]+)`", row)]
    assert sorted(described) == sorted(f"{route.method} {route.pattern}" for route in ROUTES)


def test_nothing_generated_is_stale():
    words = [sys.executable, str(REPOSITORY / "tools/update-docs"), "--check"]
    done = subprocess.run(words, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr


@pytest.mark.parametrize("verb", verbs.VERBS)
def test_every_option_of_a_verb_is_described_with_it(verb):
    parser = main.Parser(prog=verb)
    main.load(verb).configure(parser)
    described = section(verb)
    if verb in TAKES_OPTIONS_OF:
        described += section(TAKES_OPTIONS_OF[verb])
    words = [
        word
        for action in parser._actions
        if action.dest != "help"
        for word in (*action.option_strings, *(action.choices or ()))
    ]
    assert [word for word in words if not is_named(word, described)] == []


@pytest.mark.parametrize("verb", verbs.VERBS)
def test_no_option_is_described_that_a_verb_does_not_have(verb):
    parser = main.Parser(prog=verb)
    main.load(verb).configure(parser)
    known = {word for action in parser._actions for word in action.option_strings}
    if verb == "create":
        known |= {"-d", "--detach", "--wait", "--wait-timeout", "--sig-proxy", "--detach-keys"}  # of run, as described
    rows = re.findall(r"(?m)^\| (`-.*?) \|", section(verb))
    assert {word for row in rows for word in re.findall(r"(?<![\w-])--?[a-z][a-z0-9-]*", row)} <= known


def test_settings_and_filters_are_described():
    text = text_of(CLI)
    words = [*config_load.KEYS, *(f"BENTO_{key.upper()}" for key in config_load.KEYS)]
    words += [*main.GLOBAL, *(f"{key}=" for key in _FILTERS)]
    assert [word for word in words if f"`{word}`" not in text] == []


def test_verdicts_and_fields_of_the_report_are_described():
    text = text_of(STOP)
    words = [*(verdict.value for verdict in Verdict), *StopReport.__struct_fields__]
    assert [word for word in words if f"`{word}`" not in text] == []


def test_every_rule_is_held_against_what_others_do_and_has_its_tests():
    rules = tomllib.loads(text_of(DOCS / "peers.toml"))
    for rule, said in rules.items():
        assert set(said) == {"rule", "docker", "podman", "crio", "lxc"}, rule
        assert all(text and "|" not in text and "\n" not in text for text in said.values()), rule
    headings = re.findall(r"(?m)^### (S\d+a?) ", text_of(STOP_RULES))
    assert sorted(rules) == sorted(headings)
    table = text_of(STOP_RULES).partition("<!-- tools/rule-table -->")[2]
    without = re.findall(r"(?m)^\| \*\*(S\d+a?)\*\* .*no test carries its number", table)
    assert [rule for rule in headings if rule in without] == []


def names_of_tests() -> set[str]:
    tests = "\n".join(text_of(path) for path in (REPOSITORY / "tests").rglob("test_*.py"))
    return set(re.findall(r"(?m)^ *def (test_\w+)", tests))


def test_what_is_to_be_touched_names_tests_that_there_are():
    named = set(re.findall(r"`(test_\w+)`", text_of(REPOSITORY / "CONTRIBUTING.md")))
    assert named
    assert named - names_of_tests() == set()


def test_every_promise_about_security_names_tests_that_there_are():
    known = names_of_tests()
    rows = re.findall(r"(?m)^\| (.+) \| (.+) \|$", text_of(DOCS / "security.md"))
    promises = {promise: re.findall(r"`(test_\w+)`", held_by) for promise, held_by in rows if promise != "promise"}
    assert promises
    assert {promise: names for promise, names in promises.items() if not names or not known.issuperset(names)} == {}


def test_every_call_is_described():
    rows = [row for row in section_of(REPOSITORY / "docs/kubernetes.md", "Calls").splitlines() if row.startswith("| ")]
    described = {name: row for row in rows for name in row.split("|")[1].strip().split(", ")}
    answered = {name for name, row in described.items() if "Unimplemented" not in row}
    assert answered - {"call"} == {*METHODS, *STREAMS}


def test_methods_of_the_library_are_described():
    text = text_of(LIBRARY)
    methods = [name for name, value in vars(EngineFacade).items() if callable(value) and not name.startswith("_")]
    assert [name for name in methods if not re.search(rf"`{name}[`(]", text)] == []


def section_of(page: Path, title: str) -> str:
    return re.split(r"(?m)^## ", text_of(page).partition(f"## {title}\n")[2])[0]


def test_what_pages_call_missing_is_missing():
    in_readme = re.findall(
        r"(?m)^- No ((?:`\w+`(?:, | or )?)+)", section_of(REPOSITORY / "README.md", "What it does not do yet")
    )
    in_table = re.findall(
        r"(?m)^\| ((?:`\w+`(?:, )?)+) \|", section_of(DOCS / "coming-from-docker.md", "What is missing")
    )
    missing = set(re.findall(r"\w+", " ".join(in_readme + in_table).replace(" or ", " ")))
    assert {"search", "secret"} <= missing
    assert missing & {verb.split()[0] for verb in verbs.VERBS} == set()


def test_every_decision_has_its_number_its_parts_and_its_place_in_the_index():
    index = text_of(DECISIONS / "README.md")
    listed = re.findall(r"(?m)^(\d+)\. \[(.+)\]\((.+)\)$", index)
    pages = sorted(path for path in DECISIONS.glob("*.md") if path.name != "README.md")
    assert [(int(number), name) for number, _, name in listed] == [(i, page.name) for i, page in enumerate(pages, 1)]
    for number, title, name in listed:
        text = text_of(DECISIONS / name)
        assert name.startswith(f"{int(number):04}-")
        assert text.startswith(f"# {number}. {title}\n")
        assert re.findall(r"(?m)^## (.+)$", text) == ["Context", "Decision", "Measured"], name


@pytest.mark.parametrize("page", [page for page in PAGES if "```python" in text_of(page)], ids=lambda page: page.name)
def test_examples_compile(page):
    for number, example in enumerate(re.findall(r"(?ms)^```python\n(.*?)^```$", text_of(page))):
        compile(example, f"{page.name}, example {number}", "exec")


def commands_of(text: str) -> list[list[str]]:
    """The words of each ``bento ...`` in a page's examples and between its words."""
    text = re.sub(r"(?ms)^```(?:python|toml)\n.*?^```$", "", text)
    examples = re.findall(r"(?ms)^```(?:sh|console)?\n(.*?)^```$|(?<!`)`(bento .+?)`", text)
    commands = []
    for line in "\n".join("".join(found) for found in examples).replace("\\|", "|").splitlines():
        try:
            words = list(shlex.shlex(line.removeprefix("# "), posix=True, punctuation_chars=True))
        except ValueError:
            continue  # of the output
        for number, word in enumerate(words):
            if word == "bento" and words[number - 1] != "cd":
                rest = words[number + 1 :]
                ends = [place for place, each in enumerate(rest) if set(each) <= set("();<>|&")]
                commands.append(rest[: ends[0] if ends else None])
    return commands


def misspelt(words: list[str]) -> str | None:
    """What a command says that the command line does not know: a verb, or an option of it. None: nothing."""
    if {"VERB", "GROUP"} & set(words):
        return None  # stands for any
    try:
        _, verb, rest = main.split(words)
    except UsageError as error:
        return str(error)
    if verb is None:
        return None
    parser = main.Parser(prog=verb)
    main.load(verb).configure(parser)
    known = parser._option_string_actions
    while rest:
        word = rest.pop(0)
        if not word.startswith("-") or word == "-":
            if verb in ("run", "create", "exec"):
                break  # the rest is the container's
            continue
        name = word.partition("=")[0]
        action = known.get(word) or known.get(name) or known.get(word[:2])
        if action is None or (word[:2] not in known and name not in known):
            return f"{verb} has no {word}"
        if action.nargs is None and name == word and rest:
            rest.pop(0)
    return None


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_verbs_and_options_of_commands_in_the_pages_are_known(page):
    wrong = {" ".join(words): what for words in commands_of(text_of(page)) if (what := misspelt(words))}
    assert wrong == {}


@pytest.mark.parametrize(
    ("text", "commands"),
    [
        ("```sh\nbento ps -a | head  # all\n```\n", [["ps", "-a"]]),
        ("```console\n# addr=$(bento inspect db)\n10.0.0.2\n```\n", [["inspect", "db"]]),
        ("say `bento stop -t 5` or `stop`", [["stop", "-t", "5"]]),
    ],
)
def test_which_commands_are_found(text, commands):
    assert commands_of(text) == commands


@pytest.mark.parametrize("words", ["stp", "stop --grace 5", "run -Z host true", "image pul x"])
def test_what_is_misspelt_is_found(words):
    assert misspelt(words.split())


def slugs(page: Path) -> set[str]:
    """The anchors of a page's headings, as forges make them."""
    headings = re.findall(r"(?m)^#+ (.+)$", re.sub(FENCED, "", text_of(page)))
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_links_lead_somewhere(page):
    broken = []
    for target in re.findall(r"\]\(([^)\s]+)\)", re.sub(FENCED, "", text_of(page))):
        if re.match(r"[a-z]+:", target):
            continue
        name, _, anchor = target.partition("#")
        path = (page.parent / name).resolve() if name else page
        if not path.exists() and path.name in ROOT_PAGES:
            continue  # not written yet
        if not path.exists() or (anchor and anchor not in slugs(path)):
            broken.append(target)
    assert broken == []


@pytest.mark.parametrize("page", PAGES, ids=lambda page: str(page.relative_to(REPOSITORY)))
def test_paths_of_sources_lead_somewhere(page):
    """As those below src/bento, the engine, or the repository count what begins with a folder there."""
    source = REPOSITORY / "src/bento"
    tops = {source: os.listdir(source), source / "engine": os.listdir(source / "engine"), REPOSITORY: FOLDERS}
    lost = []
    for path in re.findall(r"`([a-z_]+/[a-z0-9_./-]*)`", text_of(page)):
        first = path.partition("/")[0]
        places = [top / path for top, folders in tops.items() if first in folders]
        if places and not any(place.exists() or place.with_name(f"{place.name}.py").exists() for place in places):
            lost.append(path)
    assert lost == []


def test_records_are_json_as_the_library_page_says():
    assert msgspec.json.decode(msgspec.json.encode(StopOptions(grace_s=5.0)))["grace_s"] == 5.0

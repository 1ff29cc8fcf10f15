"""``--format`` with Go templates: what scripts write is rendered as Go does; nothing ends in a traceback, or never."""

from __future__ import annotations

import time
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from bento.cli.output.templates.parse import FUNCTIONS, MAX_DEPTH, MAX_LENGTH
from bento.cli.output.templates.template import render
from bento.errors import UsageError

HEADERS = {"ID": "CONTAINER ID", "Names": "NAMES"}
LABELS = {"a.b": "c", "tier": "front"}
RECORD: dict[str, Any] = {
    "ID": "0123456789ab",
    "Names": "web",
    "Label": lambda key: LABELS.get(key, ""),
    "State": {"Pid": 7, "Running": True, "Error": "", "Health": None, "Load": 1.5},
    "Args": ["-c", "sleep 1"],
    "Mounts": [{"Type": "bind", "RW": True}],
    "Devices": [{"Path": "/dev/a"}, {"Path": "/dev/b", "Rights": "rw", "Count": 2, "More": {"a": 1}}],
    "Config": {"Labels": LABELS, "Cmd": None},
    "Ports": {"80/tcp": [{"HostIp": "0.0.0.0", "HostPort": "8080"}], "9/udp": []},
}


def one(text: str) -> str:
    return render(text, [RECORD], HEADERS).removesuffix("\n")


@pytest.mark.parametrize(
    ("text", "output"),
    [
        (r"{{.ID}}\t{{.Names}}\n", "0123456789ab\tweb\n"),
        ("plain", "plain"),
        ("{{.State.Pid}} {{ .State.Running }}", "7 true"),
        ("{{.state.pid}}", "7"),
        ("{{.State.Health}} {{.State.Health.Status}}", "<no value> <no value>"),
        ("{{.State}}", "map[Error: Health:<nil> Load:1.5 Pid:7 Running:true]"),
        ("{{.Args}}", "[-c sleep 1]"),
        ("{{.Config.Cmd}} {{len .Config.Cmd}} {{json .Config.Cmd}}", "[] 0 null"),
        ("{{.config.cmd}}{{range .Config.Cmd}}x{{else}}none{{end}}", "[]none"),
        ("{{json .Args}}", '["-c","sleep 1"]'),
        ("{{.Config.Labels | json}}", '{"a.b":"c","tier":"front"}'),
        ('{{index .Config.Labels "a.b"}}|{{index .Config.Labels "no"}}|{{.Config.Labels.no}}', "c||<no value>"),
        ('{{.Label "tier"}}|{{.Label "no"}}', "front|"),
        ('{{(index (index .Ports "80/tcp") 0).HostPort}}', "8080"),
        ('{{range $p, $b := .Ports}}{{$p}}={{range $b}}{{.HostPort}}{{else}}-{{end}} {{end}}', "80/tcp=8080 9/udp=- "),
        ("{{range $i, $a := .Args}}{{if $i}},{{end}}{{$a}}{{end}}", "-c,sleep 1"),
        ("{{range .Mounts}}[{{.Name}}{{.Driver}}{{.name}}]{{.Type}}{{end}}", "[]bind"),
        ("{{(index .Mounts 0).Name}}{{json .Mounts}}", '[{"Type":"bind","RW":true}]'),
        ("{{range .Devices}}{{.Path}} {{.Rights}} {{.Count}}|{{end}}", "/dev/a  0|/dev/b rw 2|"),
        ("{{range .Args}}{{println .}}{{end}}", "-c\nsleep 1\n"),
        ("{{range .Args}}{{$.Names}}{{end}}", "webweb"),
        ("{{with .State}}{{.Pid}}{{end}}{{with .State.Error}}x{{else}}none{{end}}", "7none"),
        ('{{if eq .Names "db" "web"}}a{{else if .ID}}b{{else}}c{{end}}', "a"),
        ('{{if eq .Names "db"}}a{{else if .ID}}b{{else}}c{{end}}', "b"),
        ('{{if .State.Error}}a{{else if .State.Health}}b{{else}}c{{end}}', "c"),
        ("{{and .ID .Names}} {{or .State.Error .Names}} {{not .State.Running}}", "web web false"),
        ("{{and .State.Error (index .Args 99)}}", ""),
        ("{{ne 1 2}} {{lt 1 2}} {{le 2 2}} {{gt 1 2}} {{ge 1 2}} {{lt 0.5 1}}", "true true true false false true"),
        ('{{len .Args}} {{len .Names}} {{len .Ports}} {{len "é"}}', "2 3 2 2"),
        ('{{join (split "a:b:c" ":") "-"}} {{.Names | upper}} {{lower "AB"}}', "a-b-c WEB ab"),
        ('{{title "one two"}} {{truncate .ID 3}}', "One Two 012"),
        ('{{printf "%s|%5d|%-5s|%05d|%v|%q|%t|%.2f|%x|%%" .ID 7 .Names 42 .Args .Names true 1.5 255}}',
         '0123456789ab|    7|web  |00042|[-c sleep 1]|"web"|true|1.50|ff|%'),
        ('{{.Names | printf "%s-%s" .ID}}', "0123456789ab-web"),
        ("{{$x := .ID}}{{$y := slice $x 0 4}}{{$y}}", "0123"),
        ("{{$x := 1}}{{range .Args}}{{$x = .}}{{end}}{{$x}}", "sleep 1"),
        ("a {{- /* said */ -}} b {{- .Names -}} c", "abwebc"),
        ('{{"}}"}}{{`\\t`}}{{"\\t\\u00e9"}}', "}}\\t\té"),
        ("{{true}} {{nil}} {{1.5}} {{100000000.0}} {{1e21}} {{0x10}} {{-3}}", "true <no value> 1.5 1e+08 1e+21 16 -3"),
    ],
)  # fmt: skip
def test_a_template_is_rendered_as_go_does(text, output):
    assert one(text) == output


@pytest.mark.parametrize(
    ("text", "word"),
    [
        ("{{.Nope}}", "ID, Label"),
        ("{{.State.Nope}}", "Pid"),
        ("{{.ID.Nope}}", "'Nope'"),
        ("{{.ID", "closed"),
        ('{{"a}}', "closed"),
        ("{{if .ID}}", "{{end}}"),
        ("{{end}}", "'end'"),
        ("{{else}}", "'else'"),
        ("{{if .ID}}{{else}}{{else}}{{end}}", "'else'"),
        ("{{range .ID}}{{end}}", "0123456789ab"),
        ("{{}}", "value"),
        ("{{if}}{{end}}", "value"),
        ("{{nope .ID}}", "'nope'"),
        ('{{define "x"}}{{end}}', "'define'"),
        ("{{$x}}", "'$x'"),
        ("{{if true}}{{$x := 1}}{{end}}{{$x}}", "'$x'"),
        ("{{.ID .Names}}", "takes no words"),
        ("{{.ID | .Names}}", "takes no words"),
        ("{{.Label}}", ".Label"),
        ("{{len}}", "len"),
        ("{{print or}}", "or"),
        ("{{len 3}}", "length"),
        ("{{index .Args 2}}", "list of 2"),
        ('{{eq .ID 1}}', "compared"),
        ('{{printf "%d" .ID}}', "%d"),
        ('{{printf "%s"}}', "%s"),
        ('{{printf "%9999s" .ID}}', "wider"),
        ("{{(.ID}}", "parenthesis"),
        ("{{.ID)}}", "')'"),
        ('{{"\\z"}}', "escape"),
        ("{{;}}", "';'"),
        ("\udcff{{.ID}}", "UTF-8"),
        ("{{.ID\n\x1b[31m}}", "\\x1b"),
    ],
)  # fmt: skip
def test_a_mistake_is_one_line_that_names_it(text, word):
    with pytest.raises(UsageError) as caught:
        one(text)
    assert word in str(caught.value)
    assert str(caught.value).isprintable()


def test_a_table_is_aligned_below_the_names_of_its_columns():
    other = RECORD | {"ID": "1", "Names": "database"}
    table = render(r'table {{.ID}}\t{{upper .Names}}\t{{.Label "com.acme.front-tier"}}', [RECORD, other], HEADERS)
    assert table == (
        "CONTAINER ID   NAMES      front tier\n"
        "0123456789ab   WEB\n"
        "1              DATABASE\n"
    )  # fmt: skip
    assert render(r"table {{.ID}}\t{{.Names}}", [], HEADERS) == "CONTAINER ID   NAMES\n"
    assert render("{{.ID}}", [], HEADERS) == ""
    assert render("table {{.ID}}", [RECORD]) == "table 0123456789ab\n"


HOSTILE = [
    "{{if 1}}" * 2000,
    "{{" + "(" * 2000 + "1" + ")" * 2000 + "}}",
    "{{range 1000}}" * 30 + "{{end}}" * 30,
    "{{range 99999}}{{range 99999}}x{{end}}{{end}}",
    "{{$x := `" + "a" * 100 + "`}}" + "{{$x = print $x $x}}" * 200,
    "{{$x := printf `%999s` 1}}{{join (split (printf `%s%s%s%s` $x $x $x $x) ``) (printf `%s%s%s%s` $x $x $x $x)}}",
    "{{or " + "1 " * 500 + "}}",
    "{{99999999999999999999999999}}",
    "x" * (MAX_LENGTH + 1),
]


@pytest.mark.parametrize("text", HOSTILE, ids=range(len(HOSTILE)))
def test_a_hostile_template_ends_soon(text):
    begun = time.monotonic()
    with pytest.raises(UsageError):
        one(text)
    assert time.monotonic() - begun < 20


def test_what_may_be_nested_can_be():
    depth = MAX_DEPTH - 1
    assert one("{{if 1}}" * depth + "x" + "{{end}}" * depth) == "x"
    assert one("{{" + "(" * depth + "1" + ")" * depth + "}}") == "1"
    many = "".join(f"{{{{else if eq .ID `{number}`}}}}" for number in range(300))
    assert one("{{if eq .ID `x`}}" + many + "{{else}}none{{end}}") == "none"


PIECES = [
    *sorted(FUNCTIONS), ".", ".ID", ".Args", ".State", ".Label", ".Ports", ".Nope", "$", "$x", "$x :=", "$i, $x :=",
    "$x =", "|", "(", ")", '"a"', "`b`", "1", "-2", "1.5", "nil", "true", ",", '"', "`", "\\t", "%", " ",
]  # fmt: skip
actions = st.builds(
    lambda begin, words, end: "{{" + begin + " ".join(words) + end + "}}",
    st.sampled_from(["", "- ", "if ", "range ", "with ", "else ", "else if ", "end", "/*"]),
    st.lists(st.sampled_from(PIECES), max_size=5),
    st.sampled_from(["", " -", "*/"]),
)
templates = st.lists(
    st.one_of(actions, actions, st.text(max_size=4), st.sampled_from(["{{end}}", "table "])), max_size=8
)


@given(st.one_of(st.text(max_size=60), templates.map("".join)))
@example("{{range $i, $x := .Args}}{{$x}}{{end}}")
@example("table {{range .Names}}{{end}}")
def test_any_text_is_rendered_or_refused_in_one_line(text):
    complaint = ""
    try:
        assert render(text, [RECORD], HEADERS).endswith("\n")
    except UsageError as error:
        complaint = str(error)
    assert "\n" not in complaint

"""Loading specifications in every format (SEMANTICS 3.1, 3.5)."""

import io
import json
from pathlib import Path
from typing import Any

import msgspec
import pytest
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st

from torcctl.specification import Loaded, find_line, find_lines, load_specification
from torcctl.specification import load as load_module
from torcctl.specification import yaml as yaml_module
from torcctl.specification.json import read_json, read_json5
from torcctl.specification.problem import Unreadable
from torcctl.specification.toml import read_toml
from torcctl.specification.yaml import read_yaml
from torcd.protocol.errors import Refused
from torcd.protocol.specification import WorkflowSpec

YAML = """\
# a comment
name: demo
env: {N: 4, RATIO: 1.10, CODE: 007, FLAG: true, WORD: on}
jobs:
  - name: work_{i}
    command: |
      run {i}
    parameters: {i: "1:3", lr: [0.1, 0.2]}
    depends_on:
      - setup
  - {name: setup, command: true x}
files:
resource_requirements:
  - name: small
    runtime: PT1H
slurm_schedulers:
  - walltime: 12:30:00
"""


def loaded(directory: Path, name: str, text: str | bytes) -> Loaded:
    path = directory / name
    path.write_bytes(text if isinstance(text, bytes) else text.encode())
    return load_specification(path)


def refusal(directory: Path, name: str, text: str | bytes) -> dict[str, Any]:
    """The only error of a text; file, line, path and message are told to the user."""
    with pytest.raises(Refused) as caught:
        loaded(directory, name, text)
    (error,) = caught.value.data["errors"]
    place = str(directory / name) + (f":{error['line']}" if error["line"] else "")
    path = f"{error['path']}: " if error["path"] else ""
    assert caught.value.message == f"{place}: {path}{error['message']}"
    assert isinstance(error, dict)
    return error


# ---- formats ----


def test_a_yaml_specification_is_loaded(tmp_path: Path) -> None:
    """SEMANTICS 3.1"""
    spec = loaded(tmp_path, "w.yaml", YAML).spec
    assert [job.name for job in spec.jobs] == ["work_{i}", "setup"]
    assert spec.jobs[0].command == "run {i}\n"
    assert spec.jobs[0].parameters == {"i": "1:3", "lr": [0.1, 0.2]}
    assert spec.jobs[1].command == "true x"
    assert spec.files == []
    assert spec.slurm_schedulers[0].walltime == "12:30:00"


def test_the_environment_is_text_as_it_was_written(tmp_path: Path) -> None:
    spec = loaded(tmp_path, "w.yaml", YAML).spec
    assert spec.env == {"N": "4", "RATIO": "1.10", "CODE": "007", "FLAG": "true", "WORD": "on"}


@pytest.mark.parametrize(
    ("name", "text"),
    [
        ("w.json", '{"name": "w", "jobs": [{"name": "a", "command": "b", "env": {"N": 4, "F": true}}]}'),
        ("w.json5", "{name: 'w', jobs: [{name: 'a', command: 'b', env: {N: 4, F: true}}]} // end"),
        ("w.toml", "name = 'w'\n[[jobs]]\nname = 'a'\ncommand = 'b'\nenv = {N = 4, F = true}\n"),
        ("w.yml", "name: w\nmetadata: &e {N: 4, F: true}\njobs: [{name: a, command: b, env: *e}]\n"),
    ],
)
def test_integers_and_truth_values_become_text_in_the_environment(tmp_path: Path, name: str, text: str) -> None:
    assert loaded(tmp_path, name, text).spec.jobs[0].env == {"N": "4", "F": "true"}


def test_a_float_in_the_environment_is_refused_where_its_text_is_lost(tmp_path: Path) -> None:
    error = refusal(tmp_path, "w.json", '{"name": "w", "jobs": [],\n "env": {"A": "x", "F": 1.10}}')
    assert (error["path"], error["line"], error["value"]) == ("env.F", 2, 1.1)
    assert "quote it" in error["message"]


TEXT = st.text(
    st.characters(codec="utf-8", exclude_categories=["Cs", "Cc"], exclude_characters="\u2028\u2029"), max_size=8
)
SCALAR = st.booleans() | st.integers(-(2**53), 2**53) | st.floats(allow_nan=False, allow_infinity=False) | TEXT
VALUE = st.recursive(
    SCALAR, lambda inner: st.lists(inner, max_size=3) | st.dictionaries(TEXT, inner, max_size=3), max_leaves=6
)
DOCUMENT = st.fixed_dictionaries(
    {
        "name": TEXT,
        "jobs": st.lists(
            st.fixed_dictionaries(
                {"name": TEXT, "command": TEXT},
                optional={
                    "env": st.dictionaries(TEXT, TEXT | st.integers() | st.booleans(), max_size=3),
                    "depends_on": st.lists(TEXT, max_size=3),
                    "parameters": st.dictionaries(TEXT, SCALAR | st.lists(SCALAR, max_size=3), max_size=3),
                    "priority": st.integers(-100, 100),
                    "supports_termination": st.booleans(),
                },
            ),
            max_size=3,
        ),
    },
    optional={
        "metadata": VALUE,
        "user_data": st.lists(st.fixed_dictionaries({"name": TEXT, "data": VALUE}), max_size=3),
    },
)


class Quoting(yaml.SafeDumper):
    """Writes every text in quotes: PyYAML follows YAML 1.1, in which 0E0 needs none."""


Quoting.add_representer(str, lambda dumper, text: dumper.represent_scalar("tag:yaml.org,2002:str", text, style='"'))


def to_yaml(value: Any) -> str:
    return yaml.dump(value, Dumper=Quoting, allow_unicode=True)


def to_toml(value: Any) -> str:
    """TOML's inline notation of plain data without null."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{to_toml(key)} = {to_toml(item)}" for key, item in value.items()) + "}"
    if isinstance(value, list):
        return "[" + ", ".join(map(to_toml, value)) + "]"
    return json.dumps(value, ensure_ascii=False)


@given(DOCUMENT)
def test_the_same_document_in_every_format_is_the_same_specification(document: dict[str, Any]) -> None:
    """SEMANTICS 3.1"""
    text = json.dumps(document, ensure_ascii=False, indent=1)
    specs = [
        load_module._convert(text.encode(), "json"),
        load_module._convert(text.encode(), "json5"),
        load_module._convert(to_yaml(document).encode(), "yaml"),
        load_module._convert("\n".join(f"{key} = {to_toml(item)}" for key, item in document.items()).encode(), "toml"),
    ]
    assert isinstance(specs[0], WorkflowSpec)
    assert specs[0].name == document["name"]
    assert all(spec == specs[0] for spec in specs)


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("# hello\n{name: w, jobs: []}", "yaml"),
        ("{name: 'w', jobs: []} // x", "json5"),
        ('\n {"name": "w", "jobs": []}', "json5"),
        ("name: w\njobs: []", "yaml"),
        ("name = 'w'\njobs = []", "toml"),
    ],
)
def test_without_a_known_suffix_the_text_tells_the_format(tmp_path: Path, text: str, expected: str) -> None:
    found = loaded(tmp_path, "spec", text)
    assert (found.format, found.spec.name) == (expected, "w")


def test_a_dash_is_standard_input(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("sys.stdin", io.TextIOWrapper(io.BytesIO(b"name: w\njobs: {}\n")))
    with pytest.raises(Refused, match=r"^<stdin>:2: jobs: expected a list"):
        load_specification(Path("-"))


def test_a_byte_order_mark_is_skipped(tmp_path: Path) -> None:
    assert loaded(tmp_path, "w.json", b'\xef\xbb\xbf{"name": "w", "jobs": []}').spec.name == "w"


# ---- what is refused ----


@pytest.mark.parametrize(
    ("name", "text", "line", "path"),
    [
        ("w.yaml", "name: w\njobs:\n- name: a\n  comand: x\n", 4, "jobs[0].comand"),
        ("w.json", '{"name": "w", "jobs": [\n{"name": "a",\n"comand": "x"}]}', 3, "jobs[0].comand"),
        ("w.json5", "{name: 'w', jobs: [ // x\n{name: 'a', /*\n*/comand: 'x'}]}", 3, "jobs[0].comand"),
        ("w.toml", "name = 'w'\n[[jobs]]\nname = 'a'\ncomand = 'x'\n", None, "jobs[0].comand"),
    ],
)
def test_an_unknown_field_is_refused_with_line_and_suggestion(
    tmp_path: Path, name: str, text: str, line: int | None, path: str
) -> None:
    """SEMANTICS 3.5"""
    error = refusal(tmp_path, name, text)
    assert (error["line"], error["path"], error["field"], error["value"]) == (line, path, "comand", "x")
    assert error["message"] == "unknown field 'comand'; did you mean 'command'?"


@pytest.mark.parametrize(
    ("text", "line", "path", "message"),
    [
        ("jobs: []", 1, None, "the field 'name' is missing"),
        ("name: w\njobs:\n- name: a\n- name: b\n  command: x\n", 3, "jobs[0]", "the field 'command' is missing"),
        ("name: w\njobs:\n- name: 5\n  command: x\n", 3, "jobs[0].name", "expected a text, not 5; quote it"),
        ("name: w\njobs: {a: b}", 2, "jobs", "expected a list, not a mapping"),
        ("name: w\njobs:\n- a\n", 3, "jobs[0]", "expected a mapping, not 'a'"),
        ("name: w\njobs: []\nextra:\n", 3, "extra", "unknown field 'extra'"),
        ("name: w\njobs:\n- {name: a, command: x,\n   depends_on: b}", 4, "jobs[0].depends_on",
         "expected a list, not 'b'"),
        ("name: w\njobs:\n- {name: a, command: x,\n   parameter_mode: zap}", 4, "jobs[0].parameter_mode",
         "'zap' is not possible here; use product, zip"),
        ("name: w\njobs: []\nparameters:\n  i: 1\n  j: {a: b}", 5, "parameters.j", "not a mapping"),
        ("name: w\njobs: []\nenv:\n  A: x\n  B: [1]", 5, "env.B", "expected a text, not a list"),
        ("", None, None, "the document is empty"),
        ("# only a comment", None, None, "the document is empty"),
        ("- a", 1, None, "is not a mapping but a list"),
    ],
)  # fmt: skip
def test_what_does_not_fit_the_schema_is_refused_at_its_place(
    tmp_path: Path, text: str, line: int | None, path: str | None, message: str
) -> None:
    """SEMANTICS 3.5"""
    error = refusal(tmp_path, "w.yaml", text)
    assert (error["line"], error["path"]) == (line, path)
    assert message in error["message"]


@pytest.mark.parametrize(
    ("name", "text", "line", "message"),
    [
        ("w.yaml", "name: w\njobs: [\n", 3, "not YAML"),
        ("w.yaml", "name: w\njobs: []\nname: x\n", 3, "the key 'name' stands twice"),
        ("w.yaml", "name: w\n---\nname: x\n", 2, "a second document"),
        ("w.yaml", "name: w\njobs: !!python/object:os.system x\n", 2, "has no meaning"),
        ("w.yaml", "!local a: w\n", 1, "has no meaning"),
        ("w.yaml", "name: *w\n", 1, "no anchor &w"),
        ("w.yaml", "a: &a\n  b: *a\n", 2, "no anchor &a"),
        ("w.yaml", "? [a]\n: b\n", 1, "a key must be"),
        ("w.yaml", "a: .inf\n", 1, "no number that JSON can hold"),
        ("w.yaml", "a: 1e999\n", 1, "too large a number"),
        ("w.yaml", "a: " + "9" * 5000, 1, "too many digits"),
        ("w.yaml", "a:\n  " + "[" * 200, 2, "nested more than 100 deep"),
        ("w.yaml", b"name: w\na: \xff\n", 2, "not UTF-8"),
        ("w.json", '{"name": "w",\n"jobs": [}', 2, "not JSON"),
        ("w.json", '{"name": "w",\n"name": "x"}', 2, "the key 'name' stands twice"),
        ("w.json", '{"name": "w", "jobs": [], "metadata": "\\ud800"}', None, "surrogate"),
        ("w.json", '{"name": "w", "metadata": ' + "[" * 9999 + "]" * 9999 + "}", None, "nested more than 100 deep"),
        ("w.json", '{"name": "w", "jobs": [],\n"metadata": ' + "[" * 150 + "]" * 150 + "}", 2, "nested more than 100"),
        ("w.json", '{"name": "w", "jobs": [], "metadata": NaN}', None, "NaN is no number"),
        ("w.json5", "{name: 'w',\n jobs: }", 2, "not JSON5"),
        ("w.json5", "{name: 'w',\n 'name': 'x'}", 2, "the key 'name' stands twice"),
        ("w.json5", "{name: 'w', jobs: [],\n metadata: -Infinity}", 2, "no number that JSON can hold"),
        ("w.json5", "[" * 200, 1, "nested more than 100 deep"),
        ("w.toml", "name = 'w'\njobs = \n", 2, "not TOML"),
        ("w.toml", "name = 'w'\nname = 'x'\n", 2, "not TOML"),
        ("w.toml", "name = 'w'\njobs = []\nmetadata = nan\n", None, "no number that JSON can hold"),
        ("w.toml", "metadata = " + "[" * 9999, None, "nested too deeply"),
        ("w.kdl", "name w", None, "KDL"),
    ],
)  # fmt: skip
def test_a_text_that_cannot_be_read_is_refused_with_its_line(
    tmp_path: Path, name: str, text: str | bytes, line: int | None, message: str
) -> None:
    """SEMANTICS 3.5"""
    error = refusal(tmp_path, name, text)
    assert error["line"] == line
    assert message in error["message"]


def test_a_missing_file_and_a_directory_are_refused(tmp_path: Path) -> None:
    with pytest.raises(Refused, match="No such file"):
        load_specification(tmp_path / "absent.yaml")
    with pytest.raises(Refused, match="directory"):
        load_specification(tmp_path)


def test_a_file_above_the_limit_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(load_module, "MAX_BYTES", 10)
    assert "larger than" in refusal(tmp_path, "w.yaml", "name: a long one")["message"]


# ---- YAML ----


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("null", None), ("~", None), ("", None), ("Null", None), ("true", True), ("True", True), ("FALSE", False),
        ("tRUE", "tRUE"), ("no", "no"), ("on", "on"), ("y", "y"), ("12", 12), ("-12", -12), ("+12", 12), ("0o17", 15),
        ("0x1F", 31), ("1_000", "1_000"), ("1.5", 1.5), (".5", 0.5), ("1.", 1.0), ("1e3", 1000.0),
        ("12:30:00", "12:30:00"),
        ("2024-01-01", "2024-01-01"), ("0b1", "0b1"), (".", "."), ("-", [None]), ("- a", ["a"]), ("1.2.3", "1.2.3"),
        ("'12'", "12"), ('"\\u00e9\\n"', "é\n"), ("|\n  a\n   b\n", "a\n b\n"), (">-\n  a\n  b\n", "a b"),
        ("!!str 12", "12"), ("! 12", "12"), ("!!int '12'", 12), ("!!float 3", 3.0), ("!!null ''", None),
        ("!!map {a: 1}", {"a": 1}),
        ("{1: a, true: b, ~: c, 'x y': d}", {"1": "a", "true": "b", "~": "c", "x y": "d"}),
    ],
)  # fmt: skip
def test_scalars_follow_the_core_schema_of_yaml_1_2(text: str, value: Any) -> None:
    """https://yaml.org/spec/1.2.2/#103-core-schema"""
    found = read_yaml(text.encode())
    assert found == value
    assert type(found) is type(value)


@pytest.mark.parametrize(
    "text", ["!!int x", "!!int 1.5", "!!bool 1", "!!float x", "!!null x", "!!seq {}", "!!set {a, b}"]
)
def test_a_value_that_does_not_fit_its_tag_is_refused(text: str) -> None:
    with pytest.raises(Unreadable):
        read_yaml(text.encode())


def test_aliases_repeat_what_their_anchor_names() -> None:
    assert read_yaml(b"a: &x [1, &y two]\nb: *x\nc: *y\n&k d: *k\n") == {
        "a": [1, "two"],
        "b": [1, "two"],
        "c": "two",
        "d": "d",
    }


def test_merge_keys_add_what_a_mapping_lacks() -> None:
    text = b"""
base: &base {a: 1, b: 2}
more: &more {b: 3, c: 4}
one: {<<: *base, b: 9}
two: {b: 9, <<: [*base, *more]}
three: {'<<': x}
"""
    document = read_yaml(text)
    assert document["one"] == {"a": 1, "b": 9}
    assert document["two"] == {"a": 1, "b": 9, "c": 4}
    assert document["three"] == {"<<": "x"}
    with pytest.raises(Unreadable, match="must be a mapping"):
        read_yaml(b"a: {<<: 5}")


def test_aliases_cannot_blow_up_a_document(monkeypatch: pytest.MonkeyPatch) -> None:
    levels = ["l0: &l0 [x, x, x, x, x, x, x, x, x, x]"]
    levels += [f"l{n}: &l{n} [{', '.join([f'*l{n - 1}'] * 10)}]" for n in range(1, 12)]
    with pytest.raises(Unreadable, match="aliases repeat more than"):
        read_yaml("\n".join(levels).encode())
    monkeypatch.setattr(yaml_module, "MAX_ALIASED", 3)
    with pytest.raises(Unreadable, match="aliases repeat more than 3"):
        read_yaml(b"a: &a [1, 2, 3]\nb: *a")


@given(VALUE | st.none())
def test_what_another_library_writes_is_read_back(value: Any) -> None:
    assert read_yaml(to_yaml({"x": value}).encode())["x"] == value
    text = json.dumps(value, ensure_ascii=False)
    assert read_json(text) == read_json5(text) == value


def test_toml_is_read() -> None:
    assert read_toml("a = 1\n[[b]]\nc = 'x'\n") == {"a": 1, "b": [{"c": "x"}]}


# ---- lines ----


def test_the_line_of_a_position_is_found(tmp_path: Path) -> None:
    """SEMANTICS 3.5"""
    found = loaded(tmp_path, "w.yaml", YAML)
    expected = {
        "name": 2,
        "env.RATIO": 3,
        "jobs": 4,
        "jobs[0].name": 5,
        "jobs[0].parameters.lr[1]": 8,
        "jobs[0].depends_on[0]": 10,
        "jobs[1].command": 11,
        "resource_requirements[0].runtime": 15,
    }
    assert find_lines(found, expected) == expected
    assert all(find_line(found, path) == line for path, line in expected.items())


def test_where_a_position_is_not_written_the_nearest_thing_around_it_has_the_line(tmp_path: Path) -> None:
    found = loaded(tmp_path, "w.yaml", "name: w\nmetadata: &m {k: v}\njobs:\n- name: a\n  command: b\n  env: *m\n")
    assert find_line(found, "jobs[0].env.k") == 6
    assert find_line(found, "jobs[0].priority") == 4
    assert find_line(found, "jobs[7].name") == 3
    assert find_line(found, None) == 1


@pytest.mark.parametrize("suffix", ["json", "json5", "yaml"])
@settings(max_examples=30)
@given(document=DOCUMENT)
def test_every_position_has_a_line_in_every_format_that_tells_lines(suffix: Any, document: dict[str, Any]) -> None:
    text = json.dumps(document, indent=1, ensure_ascii=False)
    spec = WorkflowSpec(name="w", jobs=[])
    found = Loaded(spec=spec, source="w", format=suffix, text=text.encode())
    lines = text.split("\n")
    for index in range(len(document["jobs"])):
        line = find_line(found, f"jobs[{index}].command")
        assert line is not None
        assert lines[line - 1].strip().startswith('"command": ')
    assert find_line(found, "jobs") == next(n for n, line in enumerate(lines, 1) if line.startswith(' "jobs": '))


def test_toml_has_no_lines(tmp_path: Path) -> None:
    found = loaded(tmp_path, "w.toml", "name = 'w'\njobs = []\n")
    assert find_line(found, "jobs") is None


def test_what_was_loaded_can_be_sent(tmp_path: Path) -> None:
    spec = loaded(tmp_path, "w.yaml", YAML).spec
    assert msgspec.json.decode(msgspec.json.encode(spec), type=WorkflowSpec) == spec

"""Expanding specifications (SEMANTICS 3)."""

import re
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from torcd.core import parameters, unfold
from torcd.core.cycles import find_cycle
from torcd.core.expansion import Expansion
from torcd.core.fingerprint import Definition, definition_digest, user_data_digest
from torcd.core.references import Names, literal_prefix
from torcd.core.specification import expand
from torcd.protocol.errors import Refused
from torcd.protocol.specification import Header, Piece

DIRECTORY = "/sub/dir"


def job(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "command": "true", **fields}


def file(name: str, **fields: Any) -> dict[str, Any]:
    return {"name": name, "path": f"{name}.txt", **fields}


def expanded(
    *jobs: dict[str, Any], files: list[Any] | None = None, user_data: list[Any] | None = None, **header: Any
) -> Expansion:
    piece = {"jobs": list(jobs), "files": files or [], "user_data": user_data or []}
    header_struct = msgspec.convert({"name": "w", **header}, Header)
    return expand(header_struct, [msgspec.convert(piece, Piece)], DIRECTORY)


def refusals(*jobs: dict[str, Any], **others: Any) -> list[dict[str, Any]]:
    """The errors with which a specification is refused; each is told in the message."""
    with pytest.raises(Refused) as caught:
        expanded(*jobs, **others)
    errors: list[dict[str, Any]] = caught.value.data["errors"]
    for error in errors:
        assert error["path"] in caught.value.message
        assert error["message"] in caught.value.message
    return errors


def refusal(*jobs: dict[str, Any], **others: Any) -> tuple[str, str]:
    """Path and message of the only error."""
    (error,) = refusals(*jobs, **others)
    return error["path"], error["message"]


def names(expansion: Expansion) -> list[str]:
    return [job.name for job in expansion.jobs]


# ---- plain specifications ----


def test_names_become_indexes() -> None:
    expansion = expanded(
        job("a", output_files=["x"], output_user_data=["u"]),
        job("b", input_files=["y", "x"], input_user_data=["u"], depends_on=["c", "a", "c"]),
        job("c"),
        files=[file("x"), file("y")],
        user_data=[{"name": "u"}],
    )
    first, second, _ = expansion.jobs
    assert (first.output_files, first.output_user_data) == ([0], [0])
    assert (second.input_files, second.input_user_data, second.depends_on) == ([0, 1], [0], [0, 2])


def test_everything_else_of_a_job_is_kept() -> None:
    fields = {
        "command": "run",
        "invocation_script": "wrap.sh",
        "scheduler": "s",
        "priority": 7,
        "cancel_on_blocking_job_failure": False,
        "supports_termination": True,
    }
    (found,) = expanded(job("a", **fields), slurm_schedulers=[{"name": "s"}]).jobs
    assert {name: getattr(found, name) for name in fields} == fields


def test_the_environment_of_a_job_lies_over_that_of_the_workflow() -> None:
    expansion = expanded(job("a", env={"B": "job", "C": "3"}), job("b"), env={"A": "1", "B": "2"})
    assert expansion.jobs[0].env == {"A": "1", "B": "job", "C": "3"}
    assert expansion.jobs[1].env == {"A": "1", "B": "2"}


def test_relative_paths_resolve_against_the_directory() -> None:
    """SEMANTICS 3.6"""
    paths = ["a.txt", "/abs/b", "./c//d/./e", "../up", "link/../f"]
    expansion = expanded(files=[{"name": path, "path": path} for path in paths])
    assert [found.path for found in expansion.files] == [
        "/sub/dir/a.txt", "/abs/b", "/sub/dir/c/d/e", "/sub/dir/../up", "/sub/dir/link/../f",
    ]  # fmt: skip


def test_a_directory_that_is_not_absolute_is_refused() -> None:
    """SEMANTICS 3.6"""
    with pytest.raises(Refused, match="not absolute"):
        expand(Header(name="w"), [], "work")


def test_requirements_have_numbers_and_jobs_refer_to_them() -> None:
    expansion = expanded(
        job("a", resource_requirements="big"),
        job("b"),
        resource_requirements=[
            {"name": "big", "num_cpus": 4, "memory": "2g", "num_gpus": 1, "num_nodes": 2, "runtime": "P1DT1H"}
        ],
    )
    (big,) = expansion.requirements
    assert (big.num_cpus, big.memory_bytes, big.num_gpus, big.num_nodes, big.runtime_s) == (4, 2**31, 1, 2, 90000)
    assert [found.requirement for found in expansion.jobs] == [0, -1]


def test_jobs_without_requirements_take_those_named_default() -> None:
    expansion = expanded(
        job("a"), job("b", resource_requirements="x"), resource_requirements=[{"name": "x"}, {"name": "default"}]
    )
    assert [found.requirement for found in expansion.jobs] == [1, 0]


def test_user_data_keeps_null_apart_from_no_value() -> None:
    unset, null, value = expanded(
        user_data=[{"name": "a"}, {"name": "b", "data": None}, {"name": "c", "data": {"x": 1}, "is_ephemeral": True}]
    ).user_data
    assert (unset.data, unset.digest) == (None, None)
    assert (null.data, null.digest) == (b"null", user_data_digest(None))
    assert (value.data, value.is_ephemeral) == (b'{"x":1}', True)


def nested(depth: int) -> Any:
    value: Any = 1
    for _ in range(depth):
        value = [value]
    return value


def test_what_is_nested_too_deeply_is_refused_at_its_place() -> None:
    """SEMANTICS 3.5. It could be stored, but no answer and no document could hold it."""
    expanded(user_data=[{"name": "a", "data": nested(99)}], metadata=nested(99))
    path, message = refusal(user_data=[{"name": "a", "data": nested(101)}])
    assert (path, "nested more than 100 deep" in message) == ("user_data[0].data", True)
    assert refusal(metadata=nested(101))[0] == "metadata"
    assert refusal(slurm_defaults={"a": nested(101)})[0] == "slurm_defaults"


@pytest.mark.parametrize(
    "spec",
    [
        {"jobs": [job("j{i}", command="{i:999d}" * 1000, parameters={"i": "1:10000"})]},
        {"jobs": [job("j{i}", depends_on=["j{i}", *["a"] * 1000], parameters={"i": "1:10000"})]},
        {"jobs": [job("j{i}", env={"A": "{i}", **{f"B{n}": "" for n in range(1000)}}, parameters={"i": "1:10000"})]},
        {"user_data": [{"name": "d{i}", "data": ["{i}", *[1] * 1000], "parameters": {"i": "1:10000"}}]},
        {"user_data": [{"name": "d{i}", "data": {str(n): "{i}" for n in range(1000)}, "parameters": {"i": "1:10000"}}]},
    ],
)
def test_what_expands_without_end_is_refused_with_one_error(
    spec: dict[str, Any], monkeypatch: pytest.MonkeyPatch
) -> None:
    """SEMANTICS 3.5. All else that may be wrong with it is not looked for."""
    monkeypatch.setattr(parameters, "MAX_CHARACTERS", 10_000_000)
    path, message = refusal(*spec.get("jobs", ()), user_data=spec.get("user_data"))
    assert "characters in all" in message
    assert path.startswith(("jobs[0].", "user_data[0]."))


def test_a_message_about_something_long_is_cut() -> None:
    (error,) = refusals(job("a", depends_on=["b" * 100_000]), job("b" * 99_999))
    assert len(error["message"]) < 2100


def test_jobs_are_counted_over_all_pieces() -> None:
    pieces = [msgspec.convert({"jobs": [job("a")]}, Piece), msgspec.convert({"jobs": [job("a")]}, Piece)]
    with pytest.raises(Refused) as caught:
        expand(Header(name="w"), pieces, DIRECTORY)
    assert caught.value.data["errors"][0]["path"] == "jobs[1].name"


def test_the_definition_digest_covers_the_final_definition() -> None:
    """SEMANTICS 4.2"""
    (_, found) = expanded(
        job("up"),
        job("a", command="cat ${files.input.x}", env={"B": "2"}, depends_on_regexes=["u."], input_file_regexes=["y+"]),
        files=[file("y"), file("x")],
        env={"A": "1"},
    ).jobs
    definition = Definition(command="cat x.txt", env={"A": "1", "B": "2"}, input_files=["x", "y"], depends_on=["up"])
    assert found.definition_digest == definition_digest(definition)


# ---- parameters ----


def test_a_job_expands_to_one_for_each_combination() -> None:
    """SEMANTICS 3.2"""
    expansion = expanded(
        job(
            "{a}_{b:02d}",
            command="run {a} ${b} {c}",
            env={"X": "{b}", "Y": "y"},
            input_files=["in_{a}"],
            parameters={"a": "[x,y]", "b": "1:2"},
        ),
        files=[file("in_{k}", parameters={"k": ["x", "y"]})],
    )
    assert names(expansion) == ["x_01", "x_02", "y_01", "y_02"]
    last = expansion.jobs[3]
    assert (last.command, last.env, last.input_files) == ("run y ${b} {c}", {"X": "2", "Y": "y"}, [1])
    assert [found.path for found in expansion.files] == ["/sub/dir/in_x.txt", "/sub/dir/in_y.txt"]


def test_zip_pairs_the_parameters_of_a_job() -> None:
    """SEMANTICS 3.2"""
    expansion = expanded(job("{a}{b}", parameters={"a": "1:2", "b": "[x,y]"}, parameter_mode="zip"))
    assert names(expansion) == ["1x", "2y"]


def test_shared_parameters_are_used_by_those_that_name_them_and_own_ones_win() -> None:
    """SEMANTICS 3.2"""
    expansion = expanded(
        job("a{i}", use_parameters=["i"]),
        job("b{i}", use_parameters=["i"], parameters={"i": "[9]"}),
        job("c{i}"),
        parameters={"i": "1:2"},
    )
    assert names(expansion) == ["a1", "a2", "b9", "c{i}"]


def test_depends_on_expands_with_the_jobs_own_combination() -> None:
    """SEMANTICS 3.2"""
    expansion = expanded(
        job("work_{i}", parameters={"i": "1:3"}), job("check_{i}", depends_on=["work_{i}"], parameters={"i": "1:3"})
    )
    assert [found.depends_on for found in expansion.jobs[3:]] == [[0], [1], [2]]


def test_a_job_whose_name_lacks_the_parameter_waits_for_all() -> None:
    """SEMANTICS 3.2: fan-in."""
    expansion = expanded(
        job("work_{i}", output_files=["o{i}"], use_parameters=["i"]),
        job("report", depends_on=["work_{i}", "extra"], input_files=["o{i}"], use_parameters=["i"]),
        job("extra"),
        files=[file("o{i}", use_parameters=["i"])],
        parameters={"i": "1:3"},
    )
    assert names(expansion) == ["work_1", "work_2", "work_3", "report", "extra"]
    assert expansion.jobs[3].depends_on == [0, 1, 2, 4]
    assert expansion.jobs[3].input_files == [0, 1, 2]


def test_a_name_with_some_of_the_parameters_fans_in_over_the_others() -> None:
    """SEMANTICS 3.2: fan-in."""
    both = {"a": "[x,y]", "b": "1:2"}
    expansion = expanded(
        job("work_{a}{b}", parameters=both),
        job("report_{a}", command="r {a}", depends_on=["work_{a}{b}"], parameters=both),
    )
    assert names(expansion)[4:] == ["report_x", "report_y"]
    assert [(found.command, found.depends_on) for found in expansion.jobs[4:]] == [("r x", [0, 1]), ("r y", [2, 3])]


def test_fan_in_refuses_a_command_that_would_differ() -> None:
    """SEMANTICS 3.2: one name is one job."""
    path, message = refusal(
        job("w{i}", parameters={"i": "1:2"}),
        job("report", command="r {i}", depends_on=["w{i}"], parameters={"i": "1:2"}),
    )
    assert path == "jobs[1].name"
    assert "differ in their command" in message


def test_combinations_that_give_the_same_job_are_refused() -> None:
    """SEMANTICS 3.5: duplicate names."""
    path, message = refusal(job("same", parameters={"i": "1:3"}))
    assert path == "jobs[0].name"
    assert "3 combinations" in message


def test_parameters_are_replaced_within_user_data() -> None:
    """SEMANTICS 3.2"""
    first, second = expanded(
        user_data=[
            {"name": "c_{i}", "data": {"n{i}": ["{i}", 1, {"x": "{j}"}]}, "parameters": {"i": "1:2"}},
        ]
    ).user_data
    assert (first.name, first.data) == ("c_1", b'{"n1":["1",1,{"x":"{j}"}]}')
    assert second.data == b'{"n2":["2",1,{"x":"{j}"}]}'


def test_parameters_in_regular_expressions_stand_for_themselves() -> None:
    expansion = expanded(
        job("w_0.5_1"), job("w_0x5_1"), job("m_{v}", depends_on_regexes=[r"w_{v}_\d{1}"], parameters={"v": "[0.5]"})
    )
    assert expansion.jobs[2].depends_on == [0]


@pytest.mark.parametrize(
    ("fields", "path"),
    [
        ({"parameters": {"i": "5:1"}}, "jobs[0].parameters.i"),
        ({"use_parameters": ["lr"]}, "jobs[0].use_parameters[0]"),
        ({"parameters": {"i": "1:2", "j": "1:3"}, "parameter_mode": "zip"}, "jobs[0].parameters"),
        ({"parameters": {"i": "[a]"}, "command": "{i:d}"}, "jobs[0].command"),
        ({"parameters": {"i": "[a]"}, "depends_on": ["x", "{i:d}"]}, "jobs[0].depends_on[1]"),
        ({"parameters": {"i": "[a]"}, "env": {"X": "{i:d}"}}, "jobs[0].env.X"),
    ],
)
def test_bad_parameters_are_refused_at_their_place(fields: dict[str, Any], path: str) -> None:
    """SEMANTICS 3.5"""
    assert refusal(job("a{i}", **fields), parameters={"l": 1})[0] == path


def test_a_bad_shared_parameter_is_refused_at_its_place() -> None:
    """SEMANTICS 3.5"""
    assert refusal(job("a"), parameters={"i": "5:1"})[0] == "parameters.i"


def test_an_unknown_shared_parameter_is_refused_with_a_suggestion() -> None:
    """SEMANTICS 3.5"""
    _, message = refusal(job("a", use_parameters=["rat"]), parameters={"rate": 1})
    assert "did you mean 'rate'" in message


def test_too_many_combinations_are_refused_over_the_whole_specification(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(unfold, "MAX_COMBINATIONS", 10)
    expanded(job("a{i}", parameters={"i": "1:10"}))
    path, message = refusal(job("a{i}", parameters={"i": "1:6"}), job("b{i}", parameters={"i": "1:5"}))
    assert path == "jobs[1].parameters"
    assert "too many" in message


def test_a_product_of_ranges_is_refused_before_it_takes_memory() -> None:
    wide = f"1:{parameters.MAX_COMBINATIONS}"
    assert refusal(job("{a}{b}", parameters={"a": wide, "b": wide}))[0] == "jobs[0].parameters"


# ---- variables ----


def test_variables_are_substituted_and_imply_inputs_and_outputs() -> None:
    """SEMANTICS 3.3"""
    expansion = expanded(
        job("a", command="${HOME} ${files.input.x} > ${files.output.y}; ${user_data.input.u} ${user_data.output.v}"),
        files=[{"name": "x", "path": "/abs/x"}, file("y")],
        user_data=[{"name": "u"}, {"name": "v"}],
    )
    (found,) = expansion.jobs
    assert found.command == "${HOME} /abs/x > y.txt; u v"
    assert (found.input_files, found.output_files) == ([0], [1])
    assert (found.input_user_data, found.output_user_data) == ([0], [1])


def test_implied_inputs_join_the_declared_ones() -> None:
    """SEMANTICS 3.3"""
    (found,) = expanded(
        job("a", command="${files.input.x} ${files.input.x}", input_files=["y", "x"]), files=[file("x"), file("y")]
    ).jobs
    assert found.input_files == [0, 1]


def test_the_name_in_a_variable_may_hold_parameters() -> None:
    """SEMANTICS 3.3"""
    expansion = expanded(
        job("j{i}", command="cat ${files.input.f_{i:02d}}", parameters={"i": "1:2"}),
        files=[file("f_{i:02d}", parameters={"i": "1:2"})],
    )
    assert [found.command for found in expansion.jobs] == ["cat f_01.txt", "cat f_02.txt"]
    assert [found.input_files for found in expansion.jobs] == [[0], [1]]


def test_variables_work_in_the_invocation_script() -> None:
    (found,) = expanded(job("a", invocation_script="${files.input.x}"), files=[file("x")]).jobs
    assert (found.invocation_script, found.input_files) == ("x.txt", [0])


def test_every_other_variable_stays_literal() -> None:
    """SEMANTICS 3.2"""
    command = "${files.length} ${files.input} ${user_data.x.y} $files.input.x ${X:-{}} $(date)"
    assert expanded(job("a", command=command)).jobs[0].command == command


def test_an_unknown_name_in_a_variable_is_refused() -> None:
    """SEMANTICS 3.3"""
    path, message = refusal(job("a", command="cat ${files.input.inpt}"), files=[file("input")])
    assert path == "jobs[0].command"
    assert "there is no file 'inpt'; did you mean 'input'?" in message


# ---- references ----


def test_regular_expressions_match_the_whole_name() -> None:
    """SEMANTICS 3.4"""
    expansion = expanded(
        job("work_1"),
        job("work_10"),
        job("rework_1"),
        job("end", depends_on_regexes=[r"work_\d"], input_file_regexes=["f|g"], input_user_data_regexes=[".*"]),
        files=[file("f"), file("fg"), file("g")],
        user_data=[{"name": "u"}],
    )
    found = expansion.jobs[3]
    assert (found.depends_on, found.input_files, found.input_user_data) == ([0], [0, 2], [0])


@pytest.mark.parametrize("field", ["depends_on_regexes", "output_file_regexes", "input_user_data_regexes"])
@pytest.mark.parametrize(("pattern", "why"), [("zzz", "matches no"), ("(", "is not a regular expression")])
def test_a_regular_expression_that_matches_nothing_or_is_invalid_is_refused(field: str, pattern: str, why: str) -> None:
    """SEMANTICS 3.4"""
    path, message = refusal(
        job("a", **{field: [".*x", pattern]}), job("x"), files=[file("x")], user_data=[{"name": "x"}]
    )
    assert path == f"jobs[0].{field}[1]"
    assert why in message


@pytest.mark.filterwarnings("ignore::FutureWarning")  # of re, for "[[" and the like
@given(st.text(alphabet="ab_.\\+*?|()[]{}12^$", max_size=8), st.lists(st.text(alphabet="ab_.12", max_size=6)))
def test_looking_only_at_names_with_the_literal_prefix_changes_no_match(pattern: str, candidates: list[str]) -> None:
    try:
        expected = {name for name in candidates if re.fullmatch(pattern, name)}
    except re.error:
        return
    found = Names("job", sorted(set(candidates)))
    try:
        matched = {found.names[index] for index in found.match(pattern)}
    except Refused:
        matched = set()
    assert matched == expected


def test_the_literal_prefix_is_what_narrows_the_search() -> None:
    assert literal_prefix(r"work_7_\d+") == "work_7_"
    assert literal_prefix(r"a\.b*") == "a."
    assert literal_prefix("ab|c") == ""


@pytest.mark.parametrize(
    ("field", "noun"),
    [
        ("depends_on", "job"),
        ("input_files", "file"),
        ("output_files", "file"),
        ("input_user_data", "user data"),
        ("output_user_data", "user data"),
        ("resource_requirements", "resource requirements"),
        ("scheduler", "Slurm scheduler"),
    ],
)
def test_an_unknown_reference_is_refused_with_a_suggestion(field: str, noun: str) -> None:
    """SEMANTICS 3.5"""
    is_list = field not in ("resource_requirements", "scheduler")
    (error,) = refusals(
        job("sample"),
        job("b", **{field: ["sampel"] if is_list else "sampel"}),
        files=[file("sample")],
        user_data=[{"name": "sample"}],
        resource_requirements=[{"name": "sample"}],
        slurm_schedulers=[{"name": "sample"}],
    )
    assert error["path"] == f"jobs[1].{field}" + ("[0]" if is_list else "")
    assert error["field"] == field
    assert error["value"] == "sampel"
    assert f"no {noun} 'sampel'; did you mean 'sample'?" in error["message"]


def test_an_unreplaced_brace_in_a_reference_is_explained() -> None:
    _, message = refusal(job("work"), job("end", depends_on=["stage_{i}"]))
    assert "use_parameters" in message


def test_references_of_expanded_jobs_are_refused_at_the_written_place() -> None:
    """SEMANTICS 3.5"""
    (first, second) = refusals(
        job("w"),
        job("x{i}", depends_on=["w", "v{i}"], parameters={"i": "[1]"}),
        job("y", depends_on=["w", "u{i}", "x{i}"], parameters={"i": "1"}),
        job("x2"),
    )[:2]
    assert (first["path"], first["value"]) == ("jobs[1].depends_on[1]", "v1")
    assert (second["path"], second["value"]) == ("jobs[2].depends_on[1]", "u1")


def test_references_of_united_jobs_are_refused_at_the_written_place() -> None:
    """SEMANTICS 3.5"""
    errors = refusals(job("w1"), job("y", depends_on=["w1", "w{i}"], parameters={"i": "1:3"}))
    assert [(error["path"], error["value"]) for error in errors] == [
        ("jobs[1].depends_on[1]", "w2"),
        ("jobs[1].depends_on[1]", "w3"),
    ]


# ---- what is refused ----


@pytest.mark.parametrize("name", ["", "a\nb", "a\0b"])
def test_bad_names_are_refused(name: str) -> None:
    """SEMANTICS 3.5"""
    errors = refusals(
        job(name),
        files=[{"name": name, "path": "x"}],
        user_data=[{"name": name}],
        resource_requirements=[{"name": name}],
    )
    assert {error["path"] for error in errors} == {
        "jobs[0].name", "files[0].name", "user_data[0].name", "resource_requirements[0].name",
    }  # fmt: skip


def test_duplicate_names_are_refused() -> None:
    """SEMANTICS 3.5"""
    errors = refusals(
        job("a"),
        job("b"),
        job("a"),
        files=[file("x"), file("x", path="other")],
        user_data=[{"name": "u"}, {"name": "u"}],
        resource_requirements=[{"name": "r"}, {"name": "r"}],
        slurm_schedulers=[{"name": "s"}, {"name": "s"}],
    )
    assert {error["path"] for error in errors} == {
        "jobs[2].name", "files[1].name", "user_data[1].name", "resource_requirements[1].name",
        "slurm_schedulers[1].name",
    }  # fmt: skip


def test_jobs_files_and_user_data_may_share_a_name() -> None:
    expanded(job("a"), files=[file("a")], user_data=[{"name": "a"}], resource_requirements=[{"name": "a"}])


@pytest.mark.parametrize("other", ["x.txt", "./x.txt", "/sub/dir/x.txt", "/sub//dir/./x.txt"])
def test_two_names_for_one_path_are_refused(other: str) -> None:
    path, message = refusal(files=[file("x"), {"name": "y", "path": other}])
    assert path == "files[1].path"
    assert "'x' and 'y'" in message


@pytest.mark.parametrize("path", ["", "a\0b"])
def test_an_impossible_path_is_refused(path: str) -> None:
    assert refusal(files=[{"name": "x", "path": path}])[0] == "files[0].path"


@pytest.mark.parametrize("command", ["", "  \n", "a\0b"])
def test_an_impossible_command_is_refused(command: str) -> None:
    assert refusal(job("a", command=command))[0] == "jobs[0].command"


@pytest.mark.parametrize("env", [{"": "x"}, {"A=B": "x"}, {"A": "x\0"}])
def test_an_impossible_environment_is_refused(env: dict[str, str]) -> None:
    ((name, _),) = env.items()
    assert refusal(job("a", env=env))[0] == f"jobs[0].env.{name}"
    assert refusal(job("a"), env=env)[0] == f"env.{name}"


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("memory", "1 parsec"),
        ("runtime", "1h"),
        ("runtime", "PT0S"),
        ("num_cpus", 0),
        ("num_gpus", -1),
        ("num_nodes", 2**40),
    ],
)
def test_bad_requirements_are_refused(field: str, value: Any) -> None:
    """SEMANTICS 3.5"""
    (error,) = refusals(job("a"), resource_requirements=[{"name": "ok"}, {"name": "r", field: value}])
    assert (error["path"], error["field"], error["value"]) == (f"resource_requirements[1].{field}", field, value)


@pytest.mark.parametrize(("field", "value"), [("walltime", "1h"), ("walltime", "00:00:00"), ("nodes", 0)])
def test_bad_schedulers_are_refused(field: str, value: Any) -> None:
    """SEMANTICS 3.5"""
    assert refusal(job("a"), slurm_schedulers=[{"name": "s", field: value}])[0] == f"slurm_schedulers[0].{field}"


def test_two_producers_of_a_file_or_user_data_are_refused() -> None:
    """SEMANTICS 3.5"""
    first, second = refusals(
        job("a", output_files=["x"], output_user_data=["u"]),
        job("b", output_file_regexes=["x"], command="${user_data.output.u}"),
        files=[file("x")],
        user_data=[{"name": "u"}],
    )
    assert first["path"] == "jobs[1].output_file_regexes[0]"
    assert "already an output of job 'a'" in first["message"]
    assert second["path"] == "jobs[1].command"


def test_many_errors_are_told_at_once_but_not_endlessly() -> None:
    """SEMANTICS 3.5"""
    with pytest.raises(Refused) as caught:
        expanded(*(job(f"j{index}", depends_on=["nowhere"]) for index in range(100)))
    assert caught.value.data["count"] == 100
    assert len(caught.value.data["errors"]) == 20
    assert "100 errors" in caught.value.message
    assert "and 80 more" in caught.value.message


# ---- cycles ----


@pytest.mark.parametrize(
    ("jobs", "cycle", "path"),
    [
        ([job("a", depends_on=["a"])], "a -> a", "jobs[0].depends_on[0]"),
        ([job("a", depends_on_regexes=[".*"])], "a -> a", "jobs[0].depends_on_regexes[0]"),
        ([job("a", input_files=["x"], output_files=["x"])], "a -> a (via file 'x')", "jobs[0].input_files[0]"),
        (
            [job("a", input_files=["x"]), job("b", depends_on=["a"], output_files=["x"])],
            "a -> b -> a (via file 'x')",
            "jobs[0].input_files[0]",
        ),
        (
            [
                job("a", depends_on=["b"]),
                job("b", input_user_data=["u"]),
                job("c", output_user_data=["u"], depends_on=["a"]),
            ],
            "a -> c -> b (via user data 'u') -> a",
            "jobs[0].depends_on[0]",
        ),
        ([job("a", command="mv ${files.input.x} ${files.output.x}")], "a -> a (via file 'x')", "jobs[0].command"),
    ],
)
def test_a_cycle_is_refused_and_printed(jobs: list[dict[str, Any]], cycle: str, path: str) -> None:
    """SEMANTICS 3.5"""
    where, message = refusal(*jobs, files=[file("x")], user_data=[{"name": "u"}])
    assert message.endswith(f": {cycle}")
    assert where == path


def test_a_long_cycle_is_shortened() -> None:
    """SEMANTICS 3.5"""
    _, message = refusal(*(job(f"j{index}", depends_on=[f"j{(index + 1) % 100}"]) for index in range(100)))
    assert message.endswith("… (100 jobs in all)")


def test_a_chain_of_100_000_jobs_is_no_cycle_and_needs_no_recursion() -> None:
    chain = [[index + 1] for index in range(99_999)]
    assert find_cycle([*chain, []]) is None
    assert find_cycle([*chain, [50_000]]) is not None


@given(
    st.integers(1, 8).flatmap(lambda size: st.lists(st.lists(st.integers(0, size - 1)), min_size=size, max_size=size))
)
def test_a_cycle_is_found_exactly_when_there_is_one(upstream: list[list[int]]) -> None:
    remaining = set(range(len(upstream)))
    while free := {index for index in remaining if not remaining & set(upstream[index])}:
        remaining -= free
    cycle = find_cycle(upstream)
    assert (cycle is not None) == bool(remaining)
    if cycle:
        assert cycle[0] == min(cycle)
        assert len(set(cycle)) == len(cycle)
        for before, after in zip(cycle, [*cycle[1:], cycle[0]], strict=True):
            assert before in upstream[after]


# ---- what may be missing, what ends, how changes are told ----


def test_a_file_says_what_its_absence_means() -> None:
    """on_missing"""
    files = [
        file("kept"),
        file("made", on_missing="rerun"),
        file("scratch{i}", on_missing="ignore", parameters={"i": "1:2"}),
    ]
    found = {each.name: each.may_be_missing for each in expanded(job("a"), files=files).files}
    assert found == {"kept": False, "made": False, "scratch1": True, "scratch2": True}


def test_user_data_says_whether_its_value_ends_with_the_run_that_wrote_it() -> None:
    values = [{"name": "long"}, {"name": "short{i}", "is_ephemeral": True, "parameters": {"i": "1:2"}}]
    found = {each.name: each.is_ephemeral for each in expanded(job("a"), user_data=values).user_data}
    assert found == {"long": False, "short1": True, "short2": True}


@pytest.mark.parametrize(
    ("what", "value"), [("files", file("x", on_missing="maybe")), ("files", file("x", on_missing=True))]
)
def test_another_way_to_deal_with_absence_is_no_specification(what: str, value: dict[str, Any]) -> None:
    """SEMANTICS 3.5"""
    with pytest.raises(msgspec.ValidationError, match="on_missing"):
        expanded(job("a"), **{what: [value]})


@pytest.mark.parametrize("detect", ["size", "", None, "Content"])
def test_another_way_to_tell_changes_is_no_specification(detect: str | None) -> None:
    """SEMANTICS 3.5, 4.9"""
    with pytest.raises(msgspec.ValidationError, match="detect"):
        expanded(job("a"), detect=detect)

"""What is written is read as what it was."""

from pathlib import Path
from typing import Any

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from torcctl.specification import load_specification
from torcctl.specification.write import format_yaml, save_specification
from torcctl.specification.yaml import read_yaml
from torcd.protocol.specification import JobSpec, SlurmSchedulerSpec, UserDataSpec, WorkflowSpec

TEXTS = st.one_of(
    st.text(max_size=20),
    st.text("ab -:#|>'\"\n\\\t{}[]&*!%@`?", max_size=20),
    st.sampled_from(
        ["yes", "null", "~", "0o17", "1:10", "\n", "a\n", "a\n\nb", " a\nb", "a\nb\n\n", "- a\n- b", "\x85"]
    ),
)
VALUES = st.recursive(
    st.one_of(
        st.none(), st.booleans(), st.integers(-(2**53), 2**53), st.floats(allow_nan=False, allow_infinity=False), TEXTS
    ),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(TEXTS, inner, max_size=3)),
    max_leaves=8,
)


@given(st.dictionaries(TEXTS, VALUES, max_size=4))
def test_any_mapping_is_read_back_from_yaml(fields: dict[str, Any]) -> None:
    assert read_yaml(format_yaml(fields).encode()) == (fields or {})


SCRIPT = 'set -e\nfor f in *; do\n    echo "$f" # all\n\ndone\n'


@pytest.mark.parametrize("suffix", [".yaml", ".yml", ".json", ".json5"])
def test_a_specification_is_read_back_from_each_format(tmp_path: Path, suffix: str) -> None:
    spec = WorkflowSpec(
        name="w",
        env={"ON": "yes", "PATH": "a:b"},
        jobs=[JobSpec(name="j{i}", command=SCRIPT, parameters={"i": "1:3"}, scheduler="s")],
        user_data=[UserDataSpec(name="u", data={"x": [1, 2.5, None, {"y": []}]})],
        slurm_schedulers=[SlurmSchedulerSpec(name="s", walltime="02:00:00")],
    )
    path = tmp_path / f"out{suffix}"
    save_specification(path, spec)
    assert load_specification(path).spec == spec


def test_commands_of_several_lines_stay_readable() -> None:
    assert (
        format_yaml(msgspec.to_builtins(JobSpec(name="a", command="one\n  two\n")))
        == """\
name: "a"
command: |
  one
    two
"""
    )

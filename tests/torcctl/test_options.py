"""The global options, apart from any command."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from torcctl.exits import UsageError
from torcctl.options import Options, split


@pytest.mark.parametrize("spelling", ["-f json", "-F json", "-fjson", "--format json", "--output-format=json"])
def test_every_spelling_of_the_format_stands_before_the_noun(spelling: str) -> None:
    options, rest = split([*spelling.split(), "jobs", "list"], {})
    assert options.json
    assert rest == ["jobs", "list"]


def test_short_options_after_the_noun_belong_to_the_command() -> None:
    options, rest = split(["slurm", "schedule-nodes", "-n3", "-k", "5", "-f", "json"], {})
    assert options == Options(format="table")
    assert rest == ["slurm", "schedule-nodes", "-n3", "-k", "5", "-f", "json"]


def test_long_options_are_taken_from_anywhere_up_to_two_dashes() -> None:
    argv = ["jobs", "list", "--workflow-key", "3", "7", "--no-prompts", "--url=ws://x", "--", "--format", "json"]
    options, rest = split(argv, {})
    assert (options.workflow_key, options.no_prompts, options.url) == ("3", True, "ws://x")
    assert rest == ["jobs", "list", "7", "--", "--format", "json"]


def test_the_environment_gives_the_format_unless_a_flag_does() -> None:
    assert split(["x"], {"TORC_FORMAT": "json"})[0].json
    assert not split(["-f", "table", "x"], {"TORC_FORMAT": "json"})[0].json


@pytest.mark.parametrize(
    "argv", [["-f", "xml"], ["-f"], ["--wat", "x"], ["-x", "y"], ["--no-prompts=1"], ["x", "--log-level", "loud"]]
)
def test_a_wrong_global_option_is_a_usage_error(argv: list[str]) -> None:
    with pytest.raises(UsageError):
        split(argv, {})


WORDS = st.sampled_from(["jobs", "list", "7", "-f", "status=ready", "-n3", "--force", "--dry-run", "--data={}"])


@given(st.lists(WORDS))
def test_what_is_no_global_option_reaches_the_command_unchanged(words: list[str]) -> None:
    _, rest = split(["noun", *words], {})
    assert rest == ["noun", *words]

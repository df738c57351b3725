"""The stand-in for jq does what jq does, as far as the contract's command lines go."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

STAND_IN = [sys.executable, str(Path(__file__).with_name("jq_stand_in.py"))]
JQ = shutil.which("jq")


@pytest.mark.parametrize(
    ("text", "document", "expected"),
    [
        (".task_id", '{"task_id": 12, "status": "running"}', "12\n"),
        (".task_id", '{"error": {"code": 409}}', "null\n"),
        (".results | .[] | .job_key", '{"results": [{"job_key": 3}, {"job_key": 5}]}', "3\n5\n"),
        (".results | .[] | .job_key", '{"results": []}', ""),
        (".jobs | .[] | .name", '{"jobs": [{"name": "a b"}]}', "a b\n"),
    ],
)
def test_it_prints_what_jq_prints(text: str, document: str, expected: str) -> None:
    for program in [STAND_IN] if JQ is None else [STAND_IN, [JQ]]:
        done = subprocess.run([*program, "-r", text], input=document, capture_output=True, text=True, check=True)
        assert (done.stdout, done.stderr) == (expected, ""), program


@pytest.mark.parametrize("words", [["-c", "."], ["-r", "map(.a)"]])
def test_it_does_not_pretend_to_be_more(words: list[str]) -> None:
    done = subprocess.run([*STAND_IN, *words], input="{}", capture_output=True, text=True, check=False)
    assert done.returncode != 0
    assert "stand-in" in done.stderr

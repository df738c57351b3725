"""docs/reliability.md names tests, and there are such tests."""

import re
from pathlib import Path

TESTS = Path(__file__).parents[1]
TEXT = (TESTS.parent / "docs" / "reliability.md").read_text()


def test_every_test_that_keeps_a_promise_is_there() -> None:
    files = {path.name: path.read_text() for path in TESTS.rglob("test_*.py")}
    functions = set(re.findall(r"^(?:async )?def (test_\w+)", "\n".join(files.values()), re.MULTILINE))
    named = set(re.findall(r"`(test_[\w.]+)`", TEXT))
    assert len(named) > 10
    assert named <= functions | files.keys()

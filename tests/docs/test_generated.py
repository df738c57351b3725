"""The generated documents are those that the code makes now."""

import importlib.util
from pathlib import Path

import pytest

DOCS = Path(__file__).resolve().parents[2] / "docs"
_spec = importlib.util.spec_from_file_location("generate", DOCS / "generate.py")
assert _spec is not None
assert _spec.loader is not None
generate = importlib.util.module_from_spec(_spec)
_spec.loader.exec_module(generate)


@pytest.mark.parametrize("name", sorted(generate.DOCUMENTS))
def test_a_generated_document_is_up_to_date(name: str) -> None:
    assert (DOCS / name).read_text() == generate.DOCUMENTS[name](), "run `make docs`"

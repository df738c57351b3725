"""docs/export.md tells of every field of a document."""

import re
from pathlib import Path

from torcd.protocol.document import LISTS, VERSION, EarlierDefinition, Head, Record, Standing, ValueVersion

TEXT = (Path(__file__).parents[2] / "docs" / "export.md").read_text()


def test_every_field_is_described() -> None:
    told = set(re.findall(r"`([a-z_]+)`", TEXT))
    kinds = [Head, Standing, Record, ValueVersion, EarlierDefinition, *LISTS.values()]
    assert {field for kind in kinds for field in kind.__struct_fields__} <= told
    assert f"## The format, version {VERSION}\n" in TEXT

"""Differences as users see them, and the digest by which they are known again."""

import hashlib
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

import msgspec

from torcd.core.differences import TEXTS, Changed, Differences, FieldChange, attributes_of
from torcd.core.expansion import Expansion
from torcd.protocol.update import Difference, FieldDifference

LONGEST_VALUE = 16 * 1024
"""Bytes of JSON; a longer value is cut, so that a job with all of its fields fits into a message."""
SHOWN_OF_LONG = 200

_encode = msgspec.json.Encoder(order="deterministic").encode


def show_fields(fields: Sequence[FieldChange]) -> list[FieldDifference]:
    """Fields that differ."""
    return [FieldDifference(field=each.field, old=_shorten(each.old), new=_shorten(each.new)) for each in fields]


def _shorten(value: Any) -> Any:
    if value is None or isinstance(value, int | float):
        return value
    encoded = _encode(value)
    if len(encoded) <= LONGEST_VALUE:
        return value
    text = value if isinstance(value, str) else encoded.decode()
    return f"{text[:SHOWN_OF_LONG]}… ({len(encoded)} bytes)"


def show_differences(
    differences: Differences,
    expansion: Expansion,
    results: Mapping[int, int],
    ids: Mapping[str, Sequence[int]] | None = None,
) -> Iterator[bytes]:
    """Each object that differs, as JSON: section by section, what is added first, in the specification's order.

    `results`: how many results each removed job has. `ids`: those of everything in the expansion, by section; None
    as long as nothing was added.
    """
    objects: dict[str, Sequence[Any]] = {
        "jobs": expansion.jobs,
        "files": expansion.files,
        "user_data": expansion.user_data,
        "resource_requirements": expansion.requirements,
    }
    for name, section in differences.sections().items():
        named = objects[name]
        for index in section.added:
            more = {"path": named[index].path} if name == "files" else {}
            number = None if ids is None else ids[name][index]
            yield _show(name, "added", number, named[index].name, **more)
        for change in section.changed:
            yield _show(name, "changed", change.id, named[change.new].name, fields=show_fields(change.fields))
        for gone in section.removed:
            more = {"results": results.get(gone.id, 0)} if name == "jobs" else {}
            yield _show(name, "removed", gone.id, gone.name, **more)


def _show(section: Any, change: Any, number: int | None, name: str, **more: Any) -> bytes:
    return _encode(Difference(section=section, change=change, id=number, name=name, **more))


def digest_differences(
    workflow_id: int,
    differences: Differences,
    expansion: Expansion,
    scripts: Sequence[tuple[int, str]],
    shown: Sequence[bytes],
) -> str:
    """Changes whenever anything that would happen changes; `shown`: the entries without ids of what is added."""
    digest = hashlib.sha256(_encode((workflow_id, differences.header)))
    for entry in shown:
        digest.update(entry)
    for index in _written(differences.jobs.added, differences.jobs.changed):
        job = expansion.jobs[index]
        digest.update(job.definition_digest)
        digest.update(_encode(attributes_of(expansion, job)))
    for index in _written(differences.user_data.added, differences.user_data.changed):
        value = expansion.user_data[index]
        digest.update(_encode((value.name, value.digest, value.is_ephemeral)))
    digest.update(_encode([expansion.requirements[index] for index in differences.resource_requirements.added]))
    searched = set(_written(differences.jobs.added, [each for each in differences.jobs.changed if each.touches(TEXTS)]))
    digest.update(_encode([(expansion.jobs[index].name, path) for index, path in scripts if index in searched]))
    return digest.hexdigest()


def _written(added: Sequence[int], changed: Sequence[Changed]) -> list[int]:
    return [*added, *(change.new for change in changed)]

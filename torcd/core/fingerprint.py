"""Fingerprints: what of a job's definition and of user data decides whether a job is stale.

SEMANTICS 4.2 and 4.3. Digests are kept in databases, so the canonical encodings never change; a test holds a
golden sample of each.
"""

import re
from hashlib import sha256
from typing import Any, NamedTuple

import msgspec

_encoder = msgspec.json.Encoder(order="deterministic")

_TOKEN = re.compile(rb'"(?:[^"\\]|\\.)*"|-?\d+(?:\.\d+)?(?:[eE][+-]?\d+)?')


NO_NAMES: list[str] = []
"""For the lists of definitions made in masses: most are empty, and a shared one costs nothing. Never changed."""

NO_ENV: dict[str, str] = {}
"""The same for environments."""


class Definition(msgspec.Struct, frozen=True, kw_only=True, gc=False, omit_defaults=True):
    """The critical attributes of a job. Of the lists only the set of names counts.

    Resources, priority, scheduler, walltime, the cancel flag and the job's name are not part of it: changing
    them changes nothing that a job leaves behind.
    """

    command: str
    invocation_script: str | None = None
    env: dict[str, str] = msgspec.field(default_factory=dict)
    """As the job sees it: the workflow's with the job's own on top."""
    input_files: list[str] = msgspec.field(default_factory=list)
    output_files: list[str] = msgspec.field(default_factory=list)
    input_user_data: list[str] = msgspec.field(default_factory=list)
    output_user_data: list[str] = msgspec.field(default_factory=list)
    depends_on: list[str] = msgspec.field(default_factory=list)
    """Explicit dependencies; the implied ones follow from the files and user data."""


def read_definition(kept: Definition | str) -> Definition:
    """A definition that may be kept as the JSON text it was stored as: a large workflow's are rarely looked at."""
    return _decode(kept) if isinstance(kept, str) else kept


class DefinitionChange(NamedTuple):
    """A critical attribute that differs, by the name of its field."""

    field: str
    old: Any
    new: Any


_decode = msgspec.json.Decoder(Definition).decode


def _sorted(names: list[str]) -> list[str]:
    return names if len(names) < 2 else sorted(set(names))


def definition_digest(definition: Definition) -> bytes:
    """SHA-256 (32 bytes) of a definition; the order of names and of variables does not matter."""
    return sha256(
        _encoder.encode(
            (
                definition.command,
                definition.invocation_script,
                definition.env,
                _sorted(definition.input_files),
                _sorted(definition.output_files),
                _sorted(definition.input_user_data),
                _sorted(definition.output_user_data),
                _sorted(definition.depends_on),
            )
        )
    ).digest()


def find_definition_changes(old: Definition, new: Definition) -> list[DefinitionChange]:
    """The critical attributes in which two definitions differ; names are given sorted.

    Empty exactly when the digests are equal.
    """
    changes = []
    for name in Definition.__struct_fields__:
        before, after = getattr(old, name), getattr(new, name)
        if isinstance(before, list):
            before, after = _sorted(before), _sorted(after)
        if before != after:
            changes.append(DefinitionChange(name, before, after))
    return changes


def _canonical_token(match: re.Match[bytes]) -> bytes:
    token = match[0]
    if token[0] == 0x22 or not (b"." in token or b"e" in token):  # a string, or an integer already
        return token
    number = float(token)
    return b"%d" % int(number) if number.is_integer() else token


def user_data_digest(value: Any) -> bytes:
    """SHA-256 (32 bytes) of a JSON value; the order of keys and white space do not matter.

    JSON has one kind of number, so 1 and 1.0 (and 1e0) are the same value; true and 1 are not, nor are "1"
    and 1. `value` is what a JSON decoder makes: keys are strings and floats are finite.
    """
    encoded = _encoder.encode(value)
    return sha256(_TOKEN.sub(_canonical_token, encoded)).digest()

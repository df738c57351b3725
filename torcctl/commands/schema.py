"""`torcctl schema`: the protocol as JSON Schema, generated from the message types."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import msgspec

from torcctl import output
from torcd.protocol import PROTOCOL, model
from torcd.protocol.methods import METHODS

if TYPE_CHECKING:
    from torcctl.context import Context
    from torcctl.parameters import Command

DIALECT = "https://json-schema.org/draft/2020-12/schema"


def protocol_schema() -> dict[str, Any]:
    """One document: the params of every method, every noun that is answered with, and the events."""
    answers = sorted(model.Answer.__subclasses__(), key=lambda kind: kind.__name__)
    schemas, definitions = msgspec.json.schema_components([*METHODS.values(), *answers], ref_template="#/$defs/{name}")
    params = schemas[: len(METHODS)]
    return {
        "$schema": DIALECT,
        "protocol": PROTOCOL,
        "methods": {method: {"params": schema} for method, schema in zip(METHODS, params, strict=True)},
        "answers": {kind.__name__: schema for kind, schema in zip(answers, schemas[len(METHODS) :], strict=True)},
        "notifications": _notifications(),
        "$defs": definitions,
    }


def _notifications() -> dict[str, Any]:
    number, text = {"type": "integer"}, {"type": "string"}
    params: dict[str, dict[str, Any]] = {
        "event": {"subscription": number, "event": {"$ref": "#/$defs/Event"}},
        "progress": {"subscription": number, "progress": {"type": "object"}},
        "lagged": {"subscription": number, "from_seq": number, "to_seq": number},
        "ended": {"subscription": number, "reason": text},
    }
    return {
        name: {"params": {"type": "object", "properties": fields, "required": list(fields)}}
        for name, fields in params.items()
    }


def schema(*, context: Context) -> None:
    """Print the JSON Schema of every method and event."""
    output.write_json(protocol_schema())


VERBS: dict[str, Command] = {"": schema}

"""fastavro, with types: what a parsed schema is, how one record is read and written."""

from __future__ import annotations

import copy
import io
from typing import Any, NewType, cast

import fastavro
import fastavro.read
from fastavro.schema import SchemaParseException, UnknownType, to_parsing_canonical_form

Parsed = NewType("Parsed", object)

#: What fastavro says where a record's schema cannot be read by ours.
ResolutionError: type[Exception] = fastavro.read.SchemaResolutionError

#: What fastavro says of a schema that is none; a registry server may hold anything.
SCHEMA_ERRORS = (
    SchemaParseException, UnknownType, KeyError, TypeError, ValueError, AttributeError, RecursionError,
)  # fmt: skip


def parse(schema: dict[str, Any]) -> Parsed:
    """A schema (references put in) ready for use; raises fastavro's SchemaParseException."""
    return cast(Parsed, fastavro.parse_schema(copy.deepcopy(schema)))


def canonical(schema: dict[str, Any]) -> str:
    """Avro's parsing canonical form, with defaults, which decide how older records are read."""
    return f"{to_parsing_canonical_form(copy.deepcopy(schema))}{_defaults(schema)}"


def read(data: bytes, start: int, writer: Parsed, reader: Parsed | None = None) -> tuple[Any, int]:
    """One record from ``start`` and where it ended; as ``reader`` sees it where one is given."""
    stream = io.BytesIO(data)
    stream.seek(start)
    record = fastavro.schemaless_reader(stream, cast(Any, writer), cast(Any, reader))
    return record, stream.tell()


def write(schema: Parsed, record: dict[str, Any], prefix: bytes) -> bytes:
    """``prefix`` and the record; ValueError or TypeError if it does not fit, a field too many included."""
    stream = io.BytesIO()
    stream.write(prefix)
    fastavro.schemaless_writer(stream, cast(Any, schema), record, strict_allow_default=True)
    return stream.getvalue()


def _defaults(node: Any) -> str:
    if isinstance(node, list):
        return "".join(map(_defaults, node))
    if not isinstance(node, dict):
        return ""
    own = f";{node['default']!r}" if "default" in node else ""
    return own + "".join(_defaults(node[key]) for key in ("type", "items", "values", "fields") if key in node)

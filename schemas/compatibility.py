"""The gate: no version of a schema may lock out another one.

Every version of a record is held against every earlier one in both directions (FULL_TRANSITIVE)
with `avro`'s own checker, so that publishers and readers can be upgraded in any order. What that
checker does not know is checked beside it: that a published file stays as it is, that ids are only
ever added, and that a later version refuses no value that an earlier one allowed.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import avro.compatibility
import avro.errors
import avro.schema

from schemas.avro_io import SCHEMA_ERRORS
from schemas.registry import EVENT, PART, FileRegistry, Schema, SchemaError

_SPELLED = {
    "reader_field_missing_default_value": "a field without a default is new: give it a default (null)",
    "missing_enum_symbols": "the reader's enum lacks a symbol: keep all symbols, and a default",
    "missing_union_branch": "the reader's union lacks a branch: widen it in neither version",
    "name_mismatch": "a record, enum or fixed has another name: keep the name, or add an alias in both",
    "fixed_size_mismatch": "a fixed has another size: add a new field instead",
    "type_mismatch": "a field has another type: add a new field instead",
}
_EVENT_PROPERTIES = ("leadstream.family", "leadstream.topic", "leadstream.subject")


def check_directory(path: Path) -> list[str]:
    """What is wrong with a folder of schemas, a line per problem; empty if nothing is."""
    try:
        registry = FileRegistry(path)
    except (SchemaError, *SCHEMA_ERRORS) as error:
        return [str(error) or f"{path}: cannot be read ({type(error).__name__})"]
    return check(registry)


def check(registry: FileRegistry) -> list[str]:
    """The same for schemas that are already loaded."""
    problems = [problem for schema in registry.schemas.values() for problem in _on_its_own(schema)]
    if problems:  # the rest compares schemas, and makes no sense of broken ones
        return problems
    problems += _ids(registry)
    versions: dict[str, list[Schema]] = {}
    for schema in sorted(registry.schemas.values(), key=lambda s: (s.name, s.version)):
        versions.setdefault(schema.name, []).append(schema)
    for line in versions.values():
        for position, later in enumerate(line):
            for earlier in line[:position]:
                problems += compare(earlier, later)
    return problems


def compare(earlier: Schema, later: Schema) -> list[str]:
    """Why the two cannot read each other's records; empty if they can."""
    pair = f"{later.path} against {earlier.path}"
    problems = []
    for reader, writer in ((later, earlier), (earlier, later)):
        for kind, where, what in _incompatibilities(reader.lean, writer.lean):
            problems.append(
                f"{pair}: {reader.key} cannot read {writer.key}: {_SPELLED[kind]} ({what} at {where})"
            )
    return problems + [f"{pair}: {problem}" for problem in _tightened(earlier.resolved, later.resolved, "")]


def _incompatibilities(reader: dict[str, Any], writer: dict[str, Any]) -> list[tuple[str, str, str]]:
    """(kind, where, what) of each incompatibility that avro finds."""
    checker: Any = avro.compatibility.ReaderWriterCompatibilityChecker()
    found: Any = checker.get_compatibility(_avro(reader), _avro(writer))
    if found.compatibility is avro.compatibility.SchemaCompatibilityType.compatible:
        return []
    where, what = ", ".join(sorted(found.locations)), ", ".join(sorted(found.messages))
    return [(kind, where, what) for kind in sorted({i.value for i in found.incompatibilities})]


def _avro(schema: dict[str, Any]) -> object:
    parsed: object = avro.schema.parse(json.dumps(schema))
    return parsed


def _on_its_own(schema: Schema) -> Iterator[str]:
    record, path = schema.resolved, schema.path
    try:
        _ = schema.parsed
        _avro(schema.lean)
    except (*SCHEMA_ERRORS, avro.errors.AvroException) as error:
        yield f"{path}: not a valid Avro schema ({error}); mend it"
        return
    if record.get("type") != "record":
        yield f"{path}: not a record; put one record into each file"
        return
    if record.get("leadstream.version") != schema.version:
        yield f"{path}: leadstream.version is {record.get('leadstream.version')}; the file's name says {schema.version}"
    if schema.kind == PART:
        return
    said = record["leadstream.type" if schema.kind == EVENT else "leadstream.output"]
    if said != schema.name:
        yield f"{path}: it calls itself {said!r}; the file's name says {schema.name!r}"
    for name in _EVENT_PROPERTIES if schema.kind == EVENT else ("leadstream.topic",):
        if not isinstance(record.get(name), str):
            yield f"{path}: {name} is missing; say it as text"
    if schema.kind == EVENT and record["fields"][0]["name"] != "envelope":
        yield f"{path}: the first field is not the envelope; begin with it"


def _ids(registry: FileRegistry) -> Iterator[str]:
    """Ids are published: they are complete, without gaps, and mean the same for ever."""
    holders: dict[int, str] = {}
    for key, (id_, fingerprint) in registry.assigned.items():
        if id_ in holders:
            yield f"ids.json: {key} and {holders[id_]} have the same id {id_}; give the later one the next free id"
        holders[id_] = key
        schema = registry.schemas.get(key)
        if schema is None:
            yield f"ids.json: {key} has id {id_}, but its file is gone; bring it back, old records need it"
        elif schema.fingerprint != fingerprint:
            yield f"{schema.path}: was changed after it was published; undo that, and add version {schema.version + 1}"
    if sorted(holders) != list(range(1, len(holders) + 1)):
        yield "ids.json: the ids have gaps; they go from 1 up, and none is ever taken away"
    for schema in registry.written():
        if schema.key not in registry.assigned:
            yield f"ids.json: {schema.key} has no id; add it with the next free one (schemas.registry.assign_ids)"


def _tightened(earlier: Any, later: Any, where: str) -> Iterator[str]:
    """Where the later version's properties refuse what the earlier one's allowed."""
    for name in ("leadstream.type", "leadstream.output", "leadstream.topic", "leadstream.subject"):
        if earlier.get(name) != later.get(name):
            yield f"{name} is {later.get(name)!r}, was {earlier.get(name)!r}; a new meaning needs a new name"
    fields = {field["name"]: field for field in _fields(earlier)}
    for new in _fields(later):
        old = fields.get(new["name"])
        if old is None:
            continue
        here = f"{where}{new['name']}"
        gone = set(old.get("leadstream.values", ())) - set(new.get("leadstream.values", ()))
        if gone and "leadstream.values" in new:
            yield f"field {here}: no longer allows {', '.join(sorted(gone))}; keep every value"
        for name in ("leadstream.values", "leadstream.format", "leadstream.min", "leadstream.max"):
            if name in new and (name not in old or (name != "leadstream.values" and new[name] != old[name])):
                yield f"field {here}: {name} is {new[name]!r}, was {old.get(name)!r}; leave it as it was"
        for before, after in zip(_records(old["type"]), _records(new["type"]), strict=False):
            yield from _tightened(before, after, f"{here}.")


def _fields(record: dict[str, Any]) -> list[dict[str, Any]]:
    fields: list[dict[str, Any]] = record.get("fields", [])
    return fields


def _records(type_: Any) -> Iterator[dict[str, Any]]:
    """The records within a type."""
    if isinstance(type_, list):
        for branch in type_:
            yield from _records(branch)
    elif isinstance(type_, dict):
        if type_["type"] == "record":
            yield type_
        else:
            for name in ("items", "values"):
                yield from _records(type_.get(name))

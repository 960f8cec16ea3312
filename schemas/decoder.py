"""Readers of Avro records, generated per schema: the hot path.

``reader(schema)`` writes the source of a Python function that walks the bytes of exactly this
record, and compiles it. It gives what `fastavro` gives, but leaves out fields that are null, which
is the shape of the wire JSON, in about a third of the time. The tests hold it against `fastavro`
and `avro` for every schema.
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from typing import Any

from schemas import avro_io

#: (bytes, start) -> (record, end). Raises one of BAD_BYTES for bytes that are no such record.
Reader = Callable[[bytes, int], tuple[dict[str, Any], int]]

_INT = 31
_LONG = 63


class BytesError(ValueError):
    """The bytes do not follow the schema."""


#: What bytes that are no such record make a reader raise, fastavro's readers included.
BAD_BYTES = (
    BytesError,
    IndexError,
    struct.error,
    EOFError,
    ValueError,
    TypeError,
    KeyError,
    OverflowError,
    MemoryError,
    avro_io.ResolutionError,
)


class UnsupportedError(Exception):
    """The schema has a part that no reader is generated for (a recursive record, bytes, fixed...)."""


def reader(schema: dict[str, Any]) -> Reader:
    """The reader of a record schema (references put in). Raises UnsupportedError."""
    source = _Source()
    source.put("def read(b, i):")
    source.depth = 1
    source.put("z = len(b)")
    source.value(schema, "r")
    # A text that overruns leaves the position behind the end: the next byte fails, or this does.
    source.put("if i > z: raise Broken('the record ends too early')")
    source.put("return r, i")
    scope: dict[str, Any] = {
        "Broken": BytesError, "long": _long, "more": _more, "length": _length, "double": struct.Struct("<d").unpack_from,
        "single": struct.Struct("<f").unpack_from,
    }  # fmt: skip
    # The text comes from schema files and a registry that the operator chose; names are quoted.
    code = compile("\n".join(source.lines), f"<reader of {schema.get('name')}>", "exec")
    exec(code, scope)  # noqa: S102  # as the comment above says
    read: Reader = scope["read"]
    return read


def resolving(writer: avro_io.Parsed, target: dict[str, Any]) -> Reader:
    """Reads another version by Avro's rules of resolution; slower, and rare."""
    parsed = avro_io.parse(target)

    def read(data: bytes, start: int) -> tuple[dict[str, Any], int]:
        record, end = avro_io.read(data, start, writer, parsed)
        return without_nulls(target, record), end

    return read


def without_nulls(schema: Any, value: Any) -> Any:
    """A record as the generated readers give it: fields that are null left out."""
    if isinstance(schema, list):
        records = [branch for branch in schema if branch != "null"]
        return without_nulls(records[0], value) if len(records) == 1 and value is not None else value
    if isinstance(schema, dict):
        match schema["type"]:
            case "record":
                return {
                    field["name"]: without_nulls(field["type"], value[field["name"]])
                    for field in schema["fields"]
                    if value[field["name"]] is not None
                }
            case "array":
                return [without_nulls(schema["items"], item) for item in value]
            case "map":
                return {key: without_nulls(schema["values"], item) for key, item in value.items()}
    return value


def _more(b: bytes, i: int, n: int) -> tuple[int, int]:
    """The rest of a variable-length number whose first byte is ``n`` (> 127)."""
    n &= 127
    shift = 7
    while True:
        c = b[i]
        i += 1
        n |= (c & 127) << shift
        if c < 128:
            if n >> 64:
                raise BytesError("a number is longer than 64 bits")
            return n, i
        shift += 7
        if shift > _LONG:
            raise BytesError("a number is longer than 64 bits")


def _long(b: bytes, i: int) -> tuple[int, int]:
    n = b[i]
    i += 1
    if n > 127:
        n, i = _more(b, i, n)
    return (n >> 1) ^ -(n & 1), i


def _length(b: bytes, i: int, n: int) -> tuple[int, int]:
    """The length that starts with ``n``, which is odd or goes on in further bytes."""
    if n > 127:
        n, i = _more(b, i, n)
    if n & 1:
        raise BytesError("a length is negative")
    return n, i


class _Source:
    """The lines of a reader. In them ``b`` is the bytes, ``i`` the position, ``n`` the last number."""

    def __init__(self) -> None:
        self.lines: list[str] = []
        self.depth = 0
        self._names = 0
        self._open: list[str] = []
        self._records: dict[str, dict[str, Any]] = {}
        self._space = ""

    def put(self, *lines: str) -> None:
        self.lines += ["    " * self.depth + line for line in lines]

    def _name(self) -> str:
        self._names += 1
        return f"v{self._names}"

    def value(self, schema: Any, into: str) -> None:
        """Lines that read one value into the variable or item ``into``."""
        if isinstance(schema, list):
            self._union(schema, lambda branch: self.value(branch, into), f"{into} = None")
            return
        kind = schema["type"] if isinstance(schema, dict) else schema
        if kind in ("record", "enum"):
            assert isinstance(schema, dict)
            self._records[f"{schema.get('namespace', self._space)}.{schema['name']}"] = schema
        known = self._records.get(kind if "." in str(kind) else f"{self._space}.{kind}")
        match kind:
            case "null":
                self.put(f"{into} = None")
            case "boolean":
                self._byte()
                self.put("if n > 1: raise Broken('a boolean is neither 0 nor 1')", f"{into} = n == 1")
            case "int" | "long":
                self._number()
                bits = _INT if kind == "int" else _LONG
                self.put(f"{into} = (n >> 1) ^ -(n & 1)")
                if bits == _INT:
                    self.put("if n >> 32: raise Broken('an int is longer than 32 bits')")
            case "float" | "double":
                size, unpack = (4, "single") if kind == "float" else (8, "double")
                self.put(f"{into}, = {unpack}(b, i)", f"i += {size}")
            case "string":
                self._length()
                self.put(f"{into} = b[i:e].decode()", "i = e")
            case "enum":
                self._number()
                self.put(
                    f"if n & 1 or n >> 1 >= {len(schema['symbols'])}: raise Broken('no such symbol')",
                    f"{into} = {tuple(schema['symbols'])!r}[n >> 1]",
                )
            case "array" | "map":
                self._blocks(schema, into)
            case "record":
                self._record(schema, into)
            case _ if known is not None:
                self.value(known, into)
            case _:
                raise UnsupportedError(f"no reader is generated for {kind!r}")

    def _byte(self) -> None:
        self.put("n = b[i]", "i += 1")

    def _number(self) -> None:
        self._byte()
        self.put("if n > 127: n, i = more(b, i, n)")

    def _length(self) -> None:
        self._byte()
        self.put("if n & 129: n, i = length(b, i, n)", "e = i + (n >> 1)")

    def _record(self, schema: dict[str, Any], into: str) -> None:
        space = self._space
        self._space = schema.get("namespace", space)
        name = f"{self._space}.{schema['name']}"
        if name in self._open:
            raise UnsupportedError(f"{name} contains itself")
        self._open.append(name)
        here = self._name()
        self.put(f"{here} = {into} = {{}}" if into.isidentifier() else f"{into} = {here} = {{}}")
        for field in schema["fields"]:
            item = f"{here}[{field['name']!r}]"
            if isinstance(field["type"], list):
                self._union(field["type"], lambda branch, item=item: self.value(branch, item), None)  # type: ignore[misc]  # a default freezes the loop variable
            else:
                self.value(field["type"], item)
        self._open.pop()
        self._space = space

    def _union(self, branches: list[Any], read: Callable[[Any], None], null: str | None) -> None:
        """``null`` is the line for a null, None where the field is then left out."""
        self._byte()
        word = "if"
        for index, branch in enumerate(branches):
            if branch == "null":
                continue
            self.put(f"{word} n == {2 * index}:")
            self.depth += 1
            read(branch)
            self.depth -= 1
            word = "elif"
        if "null" in branches:
            index = branches.index("null")
            if null is not None:
                self.put(f"{word} n == {2 * index}: {null}")
                self.put("else: raise Broken('no such branch of a union')")
            else:
                self.put(
                    f"{'elif' if word == 'elif' else 'if'} n != {2 * index}: raise Broken('no such branch')"
                )
        else:
            self.put("else: raise Broken('no such branch of a union')")

    def _blocks(self, schema: dict[str, Any], into: str) -> None:
        here, count, item = self._name(), self._name(), self._name()
        self.put(f"{here} = {'[]' if schema['type'] == 'array' else '{}'}", "while True:")
        self.depth += 1
        self.put(f"{count}, i = long(b, i)", f"if {count} == 0: break")
        self.put(f"if {count} < 0: {count} = -{count}; n, i = long(b, i)")
        # A count is believed only as far as the bytes can hold it: no item is shorter than a byte.
        self.put(f"if {count} > z - i: raise Broken('a count is larger than the record')")
        self.put(f"for _ in range({count}):")
        self.depth += 1
        if schema["type"] == "array":
            self.value(schema["items"], item)
            self.put(f"{here}.append({item})")
        else:
            key = self._name()
            self.value("string", key)
            self.value(schema["values"], f"{here}[{key}]")
        self.depth -= 2
        self.put(f"{into} = {here}")

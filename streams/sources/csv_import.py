"""CSV files to events, by a mapping: a TOML document that says which columns make which events.

::

    [defaults]                      # of all events below
    source_system = "crm-export"
    backfill = true                 # history calls nobody (this is the default)
    zone = "UTC"                    # of times that say none

    [[file]]
    name = "leads*.csv"             # the files that this part is for, by their names
    delimiter = ","                 # and encoding = "utf-8"

    [[file.event]]
    type = "created"
    when = ["created_on"]           # column filled; also "!column", "column = text", "column != text"
    subject = { lead_id = "{id}" }
    occurred_at = { column = "created_on", format = "%d.%m.%Y", zone = "Europe/Berlin" }
    source_event_id = "created:{id}"
    [file.event.payload]
    source = { column = "origin", map = { web = "website" }, empty = "omit" }
    generated_by = "marketing"

A text is a template: ``{column}`` is replaced, ``{{`` and ``}}`` are braces. A table with ``column`` is
one column with options: ``type`` (text, integer, number, boolean, minor_units with ``digits``, time with
``format`` and ``zone``), ``decimal`` of numbers and amounts ("," for 1.234,50; the other one groups digits), ``map`` (value to value; what is not in it stays, unless ``otherwise`` names a
value), ``empty`` (omit, keep, null, error) and ``default`` (used where it is empty). Other tables and
lists are nested. A value made of an empty column is left out of the payload, unless ``empty`` says so; a
subject, a time or an id made of one is an error.
"""

from __future__ import annotations

import csv
import difflib
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping, Sequence
from fnmatch import fnmatchcase
from importlib.resources import files
from pathlib import Path
from string import Formatter
from typing import Any, NamedTuple
from zoneinfo import ZoneInfo, ZoneInfoNotFoundError

from processors.definition.lines import Lines
from streams.sources.csv_cells import CONVERTERS, minor_units, real, time_ms, why

Event = dict[str, Any]

_TOP = ("defaults", "file")
_DEFAULTS = ("source_system", "backfill", "zone")
_FILE = ("name", "delimiter", "encoding", "event")
_EVENT = (
    "type", "when", "subject", "occurred_at", "observed_at", "source_system", "source_event_id", "source_seq",
    "actor", "causation_id", "backfill", "payload",
)  # fmt: skip
_COLUMN = ("column", "type", "format", "zone", "map", "otherwise", "empty", "default", "digits", "decimal")
_SUBJECT = ("lead_id", "anonymous_id", "deal_id", "account_id")
_TYPES = ("text", "integer", "number", "boolean", "minor_units", "time")
#: Options of one column, and the types that they are for.
_OPTIONS = (
    ("format", "time"), ("zone", "time"), ("digits", "minor_units"), ("decimal", "number", "minor_units"),
)  # fmt: skip
_EMPTY = ("omit", "keep", "null", "error")
_CONDITION = re.compile(r"(?P<no>!?)(?P<column>.+?)(?:\s+(?P<op>!?=)\s*(?P<text>.*))?")


class MappingError(Exception):
    """A mapping that cannot be used: file, line, what is wrong, what to do."""


class RowError(Exception):
    """A row that cannot be mapped; ``str`` gives file:line:column and the reason."""

    def __init__(self, file: str, line: int, column: str, reason: str) -> None:
        super().__init__(f"{file}:{line}:{column + ':' if column else ''} {reason}")
        self.file, self.line, self.column, self.reason = file, line, column, reason


class Mapped(NamedTuple):
    """An event and the row that it was made from; or, instead of the event, why there is none."""

    file: str
    line: int
    event: Event
    error: RowError | None = None


class _Absent(NamedTuple):
    """The value of something to be left out, because this column is empty."""

    column: str


class _CellError(Exception):
    def __init__(self, column: str, reason: str) -> None:
        super().__init__(reason)
        self.column, self.reason = column, reason


_Row = Sequence[str]
#: Makes a value of a row: anything that JSON has, or _Absent. Raises _CellError.
_Value = Callable[[_Row], Any]
_Path = tuple[str | int, ...]


class CsvMapping:
    """A mapping that was read and found well-formed. ``source`` names it in messages."""

    def __init__(self, text: str, source: str) -> None:
        """:raises MappingError: the text is no mapping."""
        self.source = source
        try:
            self._document = tomllib.loads(text)
        except tomllib.TOMLDecodeError as error:
            raise MappingError(f"{source}: not valid TOML: {error}") from None
        self._lines = Lines(text)
        self._keys((), self._document, _TOP)
        self._keys(("defaults",), self._table(("defaults",), self._document.get("defaults", {})), _DEFAULTS)
        self._files = self._tables(("file",), self._document.get("file"))
        for number, part in enumerate(self._files):
            path: _Path = ("file", number)
            self._keys(path, part, _FILE)
            self._text((*path, "name"), part.get("name"))
            delimiter = self._text((*path, "delimiter"), part.get("delimiter", ","))
            if len(delimiter) != 1 or delimiter in '"\r\n':
                raise self._wrong(
                    (*path, "delimiter"), "a delimiter is one character, and no quote or line end"
                )
            self._text((*path, "encoding"), part.get("encoding", "utf-8"))
            # Columns are looked up when a file is there; all else is checked now.
            self._compile(number, None, "")

    def events(self, csv_file: Path) -> Iterator[Mapped]:
        """Events of one CSV file in the order of its rows.

        :raises MappingError: no part of the mapping is for this file, or it names columns that are not there.
        :raises RowError: the file ends early in the sense of CSV: bad quoting, wrong encoding.
        """
        number = self._part_for(csv_file.name)
        part = self._files[number]
        shown, line = str(csv_file), 1
        encoding = part.get("encoding", "utf-8-sig")
        try:
            with csv_file.open(newline="", encoding=encoding) as handle:
                reader = csv.reader(handle, delimiter=part.get("delimiter", ","), strict=True)
                header = next(reader, None)
                if not header:
                    raise RowError(shown, 1, "", "the file has no header line")
                makers = self._compile(number, _columns(header, shown), shown)
                line = reader.line_num + 1
                for row in reader:
                    if row:
                        yield from _rows_events(shown, line, header, row, makers)
                    line = reader.line_num + 1
        except csv.Error as error:
            raise RowError(shown, line, "", f"not readable as CSV: {error}") from None
        except UnicodeDecodeError as error:
            raise RowError(
                shown,
                line,
                "",
                f"at or after this line: not {encoding} ({error.reason}); set `encoding` of [[file]], e.g. "
                f'"cp1252" for what Excel saves on Windows',
            ) from None
        except LookupError:
            raise self._wrong(("file", number, "encoding"), f"no such encoding: {encoding!r}") from None

    def _part_for(self, file_name: str) -> int:
        for number, part in enumerate(self._files):
            if fnmatchcase(file_name, part["name"]):
                return number
        names = ", ".join(part["name"] for part in self._files)
        raise MappingError(
            f"{self.source}: no [[file]] is for {file_name} (there are: {names}); "
            f"correct a name, or leave the file out"
        )

    # -- compiling -------------------------------------------------------------------------------

    def _compile(self, number: int, columns: Mapping[str, int] | None, csv_name: str) -> list[_Maker]:
        path: _Path = ("file", number, "event")
        events = self._tables(path, self._files[number].get("event"))
        compiler = _Compiler(self, columns, csv_name)
        return [compiler.event((*path, index), event) for index, event in enumerate(events)]

    def default(self, name: str) -> Any:
        return self._document.get("defaults", {}).get(name)

    def _wrong(self, path: _Path, reason: str) -> MappingError:
        where = ".".join(str(part) for part in path if isinstance(part, str))
        return MappingError(f"{self.source}:{self._lines.of(path)}: {where}: {reason}")

    def _keys(self, path: _Path, table: Mapping[str, Any], known: Sequence[str]) -> None:
        for key in table:
            if key not in known:
                close = difflib.get_close_matches(key, known, n=1)
                advice = f"did you mean {close[0]!r}?" if close else f"there are: {', '.join(known)}"
                raise self._wrong((*path, key), f"unknown key; {advice}")

    def _table(self, path: _Path, node: object) -> dict[str, Any]:
        if not isinstance(node, dict):
            raise self._wrong(path, "must be a table")
        return node

    def _tables(self, path: _Path, node: object) -> list[dict[str, Any]]:
        if not isinstance(node, list) or not node or not all(isinstance(each, dict) for each in node):
            raise self._wrong(
                path, f"at least one [[{'.'.join(p for p in path if isinstance(p, str))}]] is needed"
            )
        return node

    def _text(self, path: _Path, node: object) -> str:
        if not isinstance(node, str) or not node:
            raise self._wrong(path, "must be given, as text")
        return node


class _Maker(NamedTuple):
    """One compiled ``[[file.event]]``."""

    type: str
    conditions: Sequence[Callable[[_Row], bool]]
    fields: Sequence[tuple[str, _Value, bool]]  # name, value, whether it must be there


class _Compiler:
    """Compiles the events of one ``[[file]]`` against the header of one CSV file.

    ``columns`` None: no file yet, any column may exist.
    """

    def __init__(self, mapping: CsvMapping, columns: Mapping[str, int] | None, csv_name: str) -> None:
        self._m, self._columns, self._csv = mapping, columns, csv_name

    def event(self, path: _Path, node: Mapping[str, Any]) -> _Maker:
        m = self._m
        m._keys(path, node, _EVENT)
        type_ = m._text((*path, "type"), node.get("type"))
        conditions = [
            self.condition((*path, "when", n), text) for n, text in enumerate(self._list(path, node))
        ]
        if "occurred_at" not in node:
            raise m._wrong(path, "occurred_at is missing")
        system = node.get("source_system", m.default("source_system"))
        m._text((*path, "source_system"), system)
        fields: list[tuple[str, _Value, bool]] = [
            ("occurred_at", self.time((*path, "occurred_at"), node["occurred_at"]), True),
            ("source_system", self.value((*path, "source_system"), system), True),
        ]
        fields += [
            (name, self.value((*path, name), node[name]), name == "source_event_id")
            for name in ("source_event_id", "source_seq", "causation_id")
            if name in node
        ]
        if "observed_at" in node:
            fields.append(("observed_at", self.time((*path, "observed_at"), node["observed_at"]), False))
        if "subject" in node:
            subject = m._table((*path, "subject"), node["subject"])
            m._keys((*path, "subject"), subject, _SUBJECT)
            fields.append(("subject", self.nested((*path, "subject"), subject, strict=True), True))
        if "actor" in node:
            actor = m._table((*path, "actor"), node["actor"])
            m._keys((*path, "actor"), actor, ("type", "id"))
            fields.append(("actor", self.nested((*path, "actor"), actor), False))
        backfill = node.get("backfill", m.default("backfill"))
        if not isinstance(backfill, bool | None):
            raise m._wrong((*path, "backfill"), "must be true or false")
        fields.append(("backfill", _constant(backfill is not False), False))
        payload = m._table((*path, "payload"), node.get("payload", {}))
        fields.append(("payload", self.nested((*path, "payload"), payload), False))
        return _Maker(type_, conditions, fields)

    def condition(self, path: _Path, text: str) -> Callable[[_Row], bool]:
        match = _CONDITION.fullmatch(text.strip())
        if match is None or (match["no"] and match["op"]):
            raise self._m._wrong(
                path, f'{text!r}: write "column", "!column", "column = text" or "column != text"'
            )
        at = self.column(path, match["column"])
        if match["op"] is None:
            filled = not match["no"]
            return lambda row: bool(row[at].strip()) is filled
        wanted, equal = match["text"], match["op"] == "="
        return lambda row: (row[at] == wanted) is equal

    def value(self, path: _Path, node: object) -> _Value:
        if isinstance(node, str):
            return self.template(path, node)
        if isinstance(node, bool | int | float):
            return _constant(node)
        if isinstance(node, dict):
            return self.one_column(path, node) if "column" in node else self.nested(path, node)
        if isinstance(node, list):
            parts = [self.value((*path, number), each) for number, each in enumerate(node)]
            return lambda row: [made for part in parts if not isinstance(made := part(row), _Absent)]
        raise self._m._wrong(path, "write dates and times as text")

    def nested(self, path: _Path, node: Mapping[str, Any], *, strict: bool = False) -> _Value:
        parts = [(name, self.value((*path, name), each)) for name, each in node.items()]

        def make(row: _Row) -> dict[str, Any]:
            made = {}
            for name, part in parts:
                value = part(row)
                if not isinstance(value, _Absent):
                    made[name] = value
                elif strict:
                    raise _CellError(value.column, f"is empty, but {name} is made of it")
            return made

        return make

    def template(self, path: _Path, text: str) -> _Value:
        try:
            parts = list(Formatter().parse(text))
        except ValueError as error:
            raise self._m._wrong(path, f"{text!r}: {error}; a brace in the text is written twice") from None
        if all(field is None for _, field, _, _ in parts):
            return _constant("".join(literal for literal, *_ in parts))
        pieces: list[tuple[str, int, str]] = []
        for literal, field, spec, conversion in parts:
            if field == "" or spec or conversion:
                raise self._m._wrong(path, f"{text!r}: write {{column}}; options go into {{ column = ... }}")
            pieces.append((literal, -1 if field is None else self.column(path, field), field or ""))
        if len(pieces) == 1 and not pieces[0][0]:
            _, only, name = pieces[0]
            return lambda row: row[only] if row[only].strip() else _Absent(name)

        def make(row: _Row) -> Any:
            text = ""
            for literal, at, name in pieces:
                text += literal
                if at >= 0:
                    if not row[at].strip():
                        return _Absent(name)
                    text += row[at]
            return text

        return make

    def one_column(self, path: _Path, node: Mapping[str, Any], type_: str = "text") -> _Value:
        m = self._m
        m._keys(path, node, _COLUMN)
        name = m._text((*path, "column"), node["column"])
        at = self.column((*path, "column"), name)
        kind = self._one_of(path, node, "type", _TYPES, type_)
        empty = self._one_of(path, node, "empty", _EMPTY, "omit")
        convert = self._converter(path, node, kind)
        table = m._table((*path, "map"), node.get("map", {}))
        has_otherwise, otherwise = "otherwise" in node, node.get("otherwise")
        has_default, default = "default" in node, node.get("default")

        def make(row: _Row) -> Any:
            text = row[at]
            if text in table:
                return table[text]
            if not text.strip():
                if has_default:
                    return default
                if empty == "error":
                    raise _CellError(name, "is empty")
                return "" if empty == "keep" else None if empty == "null" else _Absent(name)
            if has_otherwise:
                return otherwise
            try:
                return convert(text)
            except (ValueError, ArithmeticError) as error:
                raise _CellError(name, f"{text!r}: {why(kind, node, error)}") from None

        return make

    def time(self, path: _Path, node: object) -> _Value:
        if isinstance(node, dict):
            if "column" not in node:
                raise self._m._wrong(path, "needs a column")
            if "type" in node:
                raise self._m._wrong((*path, "type"), "is always a time here; leave `type` out")
            return self.one_column(path, node, "time")
        template = self.template(path, self._m._text(path, node))
        zone = self._zone(path, {})

        def make(row: _Row) -> Any:
            text = template(row)
            try:
                return text if isinstance(text, _Absent) else time_ms(text, "iso", zone)
            except (ValueError, ArithmeticError) as error:
                raise _CellError("", f"{text!r}: {why('time', {}, error)}") from None

        return make

    def column(self, path: _Path, name: str) -> int:
        if self._columns is None:
            return 0
        if name not in self._columns:
            close = difflib.get_close_matches(name, self._columns, n=1)
            advice = f"did you mean {close[0]!r}?" if close else f"it has: {', '.join(self._columns)}"
            if len(self._columns) == 1:  # read with the wrong delimiter, a header is one name
                advice += "; if these are several, set `delimiter` of [[file]]"
            raise self._m._wrong(path, f"{self._csv} has no column {name!r}; {advice}")
        return self._columns[name]

    def _converter(self, path: _Path, node: Mapping[str, Any], kind: str) -> Callable[[str], Any]:
        for option, *of in _OPTIONS:
            if option in node and kind not in of:
                raise self._m._wrong((*path, option), "is for type = " + " or ".join(f'"{x}"' for x in of))
        decimal = self._one_of(path, node, "decimal", (".", ","), "") if "decimal" in node else ""
        if kind == "time":
            pattern = self._m._text((*path, "format"), node.get("format", "iso"))
            zone = self._zone(path, node)
            return lambda text: time_ms(text, pattern, zone)
        if kind == "minor_units":
            digits = node.get("digits", 2)
            if not isinstance(digits, int) or not 0 <= digits <= 4:
                raise self._m._wrong((*path, "digits"), "is a number from 0 to 4")
            return lambda text: minor_units(text, digits, decimal)
        if kind == "number":
            return lambda text: real(text, decimal)
        return CONVERTERS[kind]

    def _zone(self, path: _Path, node: Mapping[str, Any]) -> ZoneInfo:
        name = node.get("zone", self._m.default("zone") or "UTC")
        try:
            return ZoneInfo(name)
        except (ZoneInfoNotFoundError, ValueError, TypeError, OSError):
            raise self._m._wrong(
                (*path, "zone"), f"no such time zone: {name!r}; write e.g. Europe/Berlin"
            ) from None

    def _one_of(
        self, path: _Path, node: Mapping[str, Any], key: str, known: Sequence[str], default: str
    ) -> str:
        value = node.get(key, default)
        if value not in known:
            raise self._m._wrong((*path, key), f"{value!r} is none of {', '.join(known)}")
        return str(value)

    def _list(self, path: _Path, node: Mapping[str, Any]) -> list[str]:
        when = node.get("when", [])
        if not isinstance(when, list) or not all(isinstance(text, str) and text.strip() for text in when):
            raise self._m._wrong((*path, "when"), 'is a list of texts, e.g. ["won_date", "status = won"]')
        return when


def _rows_events(
    file: str, line: int, header: Sequence[str], row: _Row, makers: Sequence[_Maker]
) -> Iterator[Mapped]:
    if len(row) != len(header):
        reason = f"{len(row)} fields, but the header has {len(header)}"
        yield Mapped(file, line, {}, RowError(file, line, "", reason))
        return
    for maker in makers:
        if not all(holds(row) for holds in maker.conditions):
            continue
        event: Event = {"type": maker.type}
        try:
            for name, value, needed in maker.fields:
                made = value(row)
                if not isinstance(made, _Absent):
                    event[name] = made
                elif needed:
                    raise _CellError(made.column, f"is empty, but {name} of {maker.type!r} is made of it")
        except _CellError as bad:
            yield Mapped(file, line, {}, RowError(file, line, bad.column, bad.reason))
        else:
            yield Mapped(file, line, event)


def packaged_mapping(name: str) -> str | None:
    """The text of a mapping that leadstream brings along (``olist``), None if there is none of that name."""
    if not re.fullmatch(r"[a-z][a-z0-9_]*", name):
        return None
    file = files("streams.sources").joinpath(name, "mapping.toml")
    return file.read_text(encoding="utf-8") if file.is_file() else None


def _columns(header: Sequence[str], file: str) -> dict[str, int]:
    found: dict[str, int] = {}
    for at, name in enumerate(header):
        if name in found:
            raise RowError(file, 1, name, "two columns have this name; rename one of them")
        found[name] = at
    return found


def _constant(value: object) -> _Value:
    return lambda _row: value

"""CSV files become events by a mapping; what is wrong is told with its file, line and column."""

from __future__ import annotations

import csv
from collections import Counter
from datetime import UTC, date, datetime
from pathlib import Path
from typing import Any

import pytest

from schemas import codec
from streams.sources.csv_import import CsvMapping, Mapped, MappingError, RowError, packaged_mapping

HEAD = """\
[defaults]
source_system = "crm"
[[file]]
name = "leads*.csv"
[[file.event]]
type = "created"
subject = { lead_id = "{id}" }
source_event_id = "created:{id}"
"""
WHEN = 'occurred_at = { column = "on" }\n'


def mapped(tmp_path: Path, mapping: str, text: str | bytes, name: str = "leads.csv") -> list[Mapped]:
    file = tmp_path / name
    file.write_bytes(text if isinstance(text, bytes) else text.encode())
    return list(CsvMapping(mapping, "m.toml").events(file))


def only(tmp_path: Path, mapping: str, text: str) -> dict[str, Any]:
    (one,) = mapped(tmp_path, mapping, text)
    assert one.error is None, one.error
    return one.event


def error_of(tmp_path: Path, mapping: str, text: str) -> str:
    (one,) = mapped(tmp_path, mapping, text)
    assert one.error is not None
    return str(one.error).removeprefix(str(tmp_path) + "/")


def refused(mapping: str) -> str:
    with pytest.raises(MappingError) as caught:
        CsvMapping(mapping, "m.toml")
    return str(caught.value)


def test_a_row_becomes_an_event_that_is_history(tmp_path: Path) -> None:
    event = only(
        tmp_path,
        HEAD + WHEN + 'payload = { source = { column = "origin" }, generated_by = "marketing" }',
        "id,on,origin\nlead-1,2026-01-01,web\n",
    )
    assert event == {
        "type": "created",
        "occurred_at": 1767225600000,
        "source_system": "crm",
        "source_event_id": "created:lead-1",
        "subject": {"lead_id": "lead-1"},
        "backfill": True,
        "payload": {"source": "web", "generated_by": "marketing"},
    }


@pytest.mark.parametrize(
    ("column", "cell", "ms"),
    [
        ('{ column = "on" }', "2026-07-01T10:00:00Z", "2026-07-01T10:00:00+00:00"),
        ('{ column = "on", zone = "Europe/Berlin" }', "2026-07-01 12:00:00", "2026-07-01T10:00:00+00:00"),
        (
            '{ column = "on", format = "%d.%m.%Y", zone = "Europe/Berlin" }',
            "01.01.2026",
            "2025-12-31T23:00:00+00:00",
        ),
        ('{ column = "on", format = "epoch_s" }', "1767225600.5", "2026-01-01T00:00:00.500+00:00"),
        ('{ column = "on", format = "epoch_ms" }', "1767225600000", "2026-01-01T00:00:00+00:00"),
        ('"{on}T08:00:00"', "2026-01-01", "2026-01-01T08:00:00+00:00"),
    ],
)
def test_times_have_formats_and_zones(tmp_path: Path, column: str, cell: str, ms: str) -> None:
    event = only(tmp_path, HEAD + f"occurred_at = {column}\n", f"id,on\nlead-1,{cell}\n")
    assert event["occurred_at"] == int(datetime.fromisoformat(ms).timestamp() * 1000)


@pytest.mark.parametrize(
    ("value", "cell", "made"),
    [
        ('"{x}"', "a b", {"v": "a b"}),
        ('"<{x}|{id}>"', "y", {"v": "<y|lead-1>"}),
        ('"{{x}}"', "y", {"v": "{x}"}),
        ('"{x}"', "", {}),
        ('{ column = "x" }', " ", {}),
        ('{ column = "x", empty = "keep" }', "", {"v": ""}),
        ('{ column = "x", empty = "null" }', "", {"v": None}),
        ('{ column = "x", default = 7 }', "", {"v": 7}),
        ('{ column = "x", type = "integer" }', "12", {"v": 12}),
        ('{ column = "x", type = "number" }', "0.0", {"v": 0.0}),
        ('{ column = "x", type = "boolean" }', "Yes", {"v": True}),
        ('{ column = "x", type = "minor_units" }', "12.5", {"v": 1250}),
        ('{ column = "x", type = "minor_units", digits = 0 }', "12", {"v": 12}),
        ('{ column = "x", type = "time" }', "2026-01-01", {"v": 1767225600000}),
        ('{ column = "x", map = { a = "A", b = 2 } }', "b", {"v": 2}),
        ('{ column = "x", map = { a = "A" } }', "c", {"v": "c"}),
        ('{ column = "x", map = { a = "A" }, otherwise = "other" }', "c", {"v": "other"}),
        ('{ column = "x", map = { "" = "none" } }', "", {"v": "none"}),
        ("true", "", {"v": True}),
        ('[{ lead_id = "{id}", weight = 1 }]', "", {"v": [{"lead_id": "lead-1", "weight": 1}]}),
    ],
)
def test_values(tmp_path: Path, value: str, cell: str, made: dict[str, Any]) -> None:
    event = only(
        tmp_path, HEAD + WHEN + f"payload = {{ v = {value} }}", f'id,on,x\nlead-1,2026-01-01,"{cell}"\n'
    )
    assert event["payload"] == made


@pytest.mark.parametrize(
    ("when", "made"),
    [
        ('["x"]', ["2", "3"]),
        ('["!x"]', ["1"]),
        ('["x = won"]', ["2"]),
        ('["x != won"]', ["1", "3"]),
        ('["x", "x != won"]', ["3"]),
    ],
)
def test_conditions_choose_rows(tmp_path: Path, when: str, made: list[str]) -> None:
    text = "id,on,x\n1,2026-01-01,\n2,2026-01-01,won\n3,2026-01-01,lost\n"
    found = mapped(tmp_path, HEAD + WHEN + f"when = {when}", text)
    assert [each.event["subject"]["lead_id"] for each in found] == made


@pytest.mark.parametrize(
    ("payload", "row", "says"),
    [
        (
            "",
            "lead-1,01/02/2026,",
            "leads.csv:2:on: '01/02/2026': is no time of format 'iso' (write `format`)",
        ),
        ("", ",2026-01-01,", "leads.csv:2:id: is empty, but source_event_id of 'created' is made of it"),
        ("", "lead-1,,", "leads.csv:2:on: is empty, but occurred_at of 'created' is made of it"),
        ("", "lead-1,2026-01-01", "leads.csv:2: 2 fields, but the header has 3"),
        (
            'v = { column = "x", type = "integer" }',
            "lead-1,2026-01-01,1.5",
            "leads.csv:2:x: '1.5': is no integer",
        ),
        (
            'v = { column = "x", type = "number" }',
            "lead-1,2026-01-01,NaN",
            "leads.csv:2:x: 'NaN': is no number",
        ),
        ('v = { column = "x", type = "minor_units" }', "lead-1,2026-01-01,1.005", "more than 2 digits"),
        ('v = { column = "x", empty = "error" }', "lead-1,2026-01-01,", "leads.csv:2:x: is empty"),
    ],
)
def test_a_bad_cell_is_told_with_file_line_and_column(
    tmp_path: Path, payload: str, row: str, says: str
) -> None:
    assert says in error_of(tmp_path, HEAD + WHEN + f"payload = {{ {payload} }}", f"id,on,x\n{row}\n")


def test_lines_are_those_of_the_file_even_where_cells_span_several(tmp_path: Path) -> None:
    text = 'id,on,x\n1,2026-01-01,"two\nlines"\n\n2,bad,\n3,2026-01-01,\n'
    found = mapped(tmp_path, HEAD + WHEN, text)
    assert [(each.line, each.error is None) for each in found] == [(2, True), (5, False), (6, True)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        (b"", "no header line"),
        (b"id,id\n", "two columns have this name"),
        (b"id,on\nlead-1,\xff\xfe\n", "leads.csv:1: at or after this line: .* set `encoding` .*cp1252"),
        (b'id,on\n"lead-1,2026', "not readable as CSV"),
    ],
)
def test_a_file_that_cannot_be_read_is_told(tmp_path: Path, text: bytes, says: str) -> None:
    with pytest.raises(RowError, match=says):
        mapped(tmp_path, HEAD + WHEN, text)


def test_delimiters_encodings_and_byte_order_marks(tmp_path: Path) -> None:
    mapping = (HEAD + WHEN + 'payload = { v = "{x}" }').replace(
        'name = "leads*.csv"', 'name = "leads*.csv"\ndelimiter = ";"\nencoding = "cp1252"'
    )
    (one,) = mapped(tmp_path, mapping, "id;on;x\n1;2026-01-01;Müller\n".encode("cp1252"))
    assert one.event["payload"] == {"v": "Müller"}
    (one,) = mapped(tmp_path, HEAD + WHEN, b"\xef\xbb\xbfid,on\n1,2026-01-01\n")
    assert one.event["subject"] == {"lead_id": "1"}


@pytest.mark.parametrize(
    ("mapping", "says"),
    [
        ("x = ", "m.toml: not valid TOML"),
        ("", "m.toml:1: file: at least one [[file]] is needed"),
        ('[[file]]\nname = "a"\n', "at least one [[file.event]] is needed"),
        (HEAD, "m.toml:5: file.event: occurred_at is missing"),
        (
            HEAD + WHEN + "payloads = {}",
            "m.toml:10: file.event.payloads: unknown key; did you mean 'payload'?",
        ),
        (HEAD + WHEN + "payload = 3", "m.toml:10: file.event.payload: must be a table"),
        (HEAD + 'occurred_at = { column = "on", zone = "Mars" }', "no such time zone: 'Mars'"),
        (HEAD + 'occurred_at = { column = "on", format = 5 }', "occurred_at.format: must be given, as text"),
        ("[[file]]\nname = 'a'\nencoding = 3\n", "m.toml:3: file.encoding: must be given, as text"),
        (
            '[[file]]\nname = "a"\ndelimiter = "\\n"\n',
            "m.toml:3: file.delimiter: a delimiter is one character, and no",
        ),
        (HEAD + 'occurred_at = "{on!r}"', "write {column}"),
        (HEAD + 'occurred_at = "{on"', "a brace in the text is written twice"),
        (
            HEAD + WHEN + 'payload = { v = { column = "x", type = "float" } }',
            "'float' is none of text, integer",
        ),
        (HEAD + WHEN + 'payload = { v = { column = "x", digits = 2 } }', 'is for type = "minor_units"'),
        (HEAD + WHEN + "payload = { v = 2026-01-01 }", "write dates and times as text"),
        (HEAD + WHEN + 'when = "x"', "is a list of texts"),
        (HEAD.replace('source_system = "crm"', "") + WHEN, "source_system: must be given, as text"),
    ],
)
def test_a_mistake_in_the_mapping_is_told_with_its_line(mapping: str, says: str) -> None:
    assert says in refused(mapping)


def test_a_column_that_is_not_there_is_told_with_the_nearest_one(tmp_path: Path) -> None:
    with pytest.raises(
        MappingError, match=r"m\.toml:8: .*leads\.csv has no column 'id'; did you mean 'idd'\?"
    ):
        mapped(tmp_path, HEAD + WHEN, "idd,on\n")


def test_a_header_read_with_the_wrong_delimiter_is_told_so(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match="it has: id;on; if these are several, set `delimiter`"):
        mapped(tmp_path, HEAD + WHEN, "id;on\n1;2026-01-01\n")


@pytest.mark.parametrize(
    ("decimal", "cell", "made"),
    [
        (",", "1.234,50", 123_450), (",", "1234,5", 123_450), (",", "-1.234.567", -123_456_700), (",", "12", 1_200),
        (",", "1 234,50", 123_450), (",", "1\u202f234", 123_400), (".", "1,234.50", 123_450), (".", "1'234.5", 123_450),
        (",", "1234.50", None), (",", "1.23,4", None), (",", "1.234 567", None), (".", "1.234,50", None), (",", "1e3", None),
    ],
)  # fmt: skip
def test_a_comma_may_divide_and_digits_may_be_grouped(
    tmp_path: Path, decimal: str, cell: str, made: int | None
) -> None:
    """What is written otherwise is refused: 1234.50 read with a comma would be a hundred times as much."""
    value = f'{{ column = "x", type = "minor_units", decimal = "{decimal}" }}'
    mapping, text = HEAD + WHEN + f"payload = {{ v = {value} }}", f'id,on,x\n1,2026-01-01,"{cell}"\n'
    if made is None:
        assert f"is no amount: {decimal!r} divides" in error_of(tmp_path, mapping, text)
    else:
        assert only(tmp_path, mapping, text)["payload"] == {"v": made}


def test_without_decimal_a_comma_is_refused_with_the_remedy(tmp_path: Path) -> None:
    mapping = HEAD + WHEN + 'payload = { v = { column = "x", type = "minor_units" } }'
    assert 'write `decimal` = ","' in error_of(tmp_path, mapping, 'id,on,x\n1,2026-01-01,"1.234,50"\n')
    assert 'is for type = "number" or "minor_units"' in refused(
        mapping.replace("minor_units", 'text", decimal = ",')
    )


def test_a_file_that_no_part_is_for_is_told(tmp_path: Path) -> None:
    with pytest.raises(MappingError, match=r"no \[\[file\]\] is for other\.csv"):
        mapped(tmp_path, HEAD + WHEN, "id,on\n", name="other.csv")


def test_only_packaged_mappings_are_found_by_name() -> None:
    assert packaged_mapping("olist") is not None
    assert packaged_mapping("nothing") is None
    assert packaged_mapping("../olist") is None


@pytest.fixture(scope="module")
def olist(data_dir: Path) -> list[dict[str, Any]]:
    text = packaged_mapping("olist")
    assert text is not None
    mapping = CsvMapping(text, "olist")
    found = [each for file in sorted((data_dir / "olist").glob("*.csv")) for each in mapping.events(file)]
    assert not [each.error for each in found if each.error]
    return [each.event for each in found]


def test_olist_every_row_becomes_its_events(olist: list[dict[str, Any]]) -> None:
    assert Counter(event["type"] for event in olist) == {
        "created": 8000,
        "attributes_changed": 842,
        "lead_linked": 842,
        "won": 842,
    }
    assert all(event["backfill"] for event in olist)


def test_olist_identities_are_distinct(olist: list[dict[str, Any]]) -> None:
    assert len({event["source_event_id"] for event in olist}) == len(olist)


def test_olist_the_codec_takes_all_of_them(olist: list[dict[str, Any]]) -> None:
    for event in olist:
        envelope = codec.decode(codec.encode_event(event), [])
        assert envelope.known
        assert not envelope.unknown_fields


def test_olist_unknown_and_empty_origins_stay_two_different_nulls(
    olist: list[dict[str, Any]], data_dir: Path
) -> None:
    with (data_dir / "olist" / "olist_marketing_qualified_leads_dataset.csv").open(newline="") as handle:
        rows = Counter(row["origin"] or None for row in csv.DictReader(handle))
    sources = Counter(e["payload"].get("source") for e in olist if e["type"] == "created")
    assert sources == rows
    assert sources["unknown"] == 1099
    assert sources[None] == 60


def test_olist_days_to_win_are_those_of_the_data(olist: list[dict[str, Any]]) -> None:
    created = {e["subject"]["lead_id"]: e["occurred_at"] for e in olist if e["type"] == "created"}
    lead_of = {e["subject"]["deal_id"]: e["payload"]["lead_id"] for e in olist if e["type"] == "lead_linked"}

    def day(ms: int) -> date:
        return datetime.fromtimestamp(ms / 1000, UTC).date()

    days = [
        (day(e["occurred_at"]) - day(created[lead_of[e["subject"]["deal_id"]]])).days
        for e in olist
        if e["type"] == "won"
    ]
    assert (min(days), max(days), round(sum(days) / len(days), 4)) == (-2, 427, 48.4406)
    assert [sum(d <= h for d in days) for h in (7, 30, 90)] == [284, 555, 692]

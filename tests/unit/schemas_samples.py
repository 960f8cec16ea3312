"""Records and events drawn from the schemas themselves, so that a new schema is tested by being there."""

from __future__ import annotations

import string
from datetime import date, timedelta
from typing import Any

from hypothesis import strategies as st

from schemas.registry import EVENT, OUTPUT, Schema, packaged

EVENTS = packaged().newest(EVENT)
OUTPUTS = packaged().newest(OUTPUT)
WRITTEN = packaged().written()

NOW_MS = 1_795_341_600_000
SUBJECTS = {
    "lead": {"lead_id": "lead-1"},
    "deal": {"deal_id": "deal-1"},
    "account": {"account_id": "account-1"},
    "": None,
}

# No surrogates: UTF-8 has none. All planes beside that.
texts = st.text(st.characters(codec="utf-8"), max_size=12)
_longs = st.integers(-(2**63), 2**63 - 1)
_ids = st.text(string.ascii_letters + string.digits + "-_/", min_size=1, max_size=12)
_filled = texts.filter(lambda text: bool(text.strip()))


def avro(schema: Any) -> st.SearchStrategy[Any]:
    """Data of a schema (references put in, no logical types), nulls written out."""
    if isinstance(schema, list):
        # A whole number fits long and double: fastavro takes the first branch, avro the last.
        branches = [b for b in schema if b != "long" or "double" not in schema]
        return st.one_of([avro(branch) for branch in branches])
    kind = schema["type"] if isinstance(schema, dict) else schema
    match kind:
        case "null":
            return st.none()
        case "boolean":
            return st.booleans()
        case "int":
            return st.integers(-(2**31), 2**31 - 1)
        case "long":
            return _longs
        case "double":
            return st.floats(allow_nan=False)
        case "string":
            return texts
        case "enum":
            return st.sampled_from(schema["symbols"])
        case "array":
            return st.lists(avro(schema["items"]), max_size=3)
        case "map":
            return st.dictionaries(texts, avro(schema["values"]), max_size=3)
        case "record":
            return st.fixed_dictionaries({f["name"]: avro(f["type"]) for f in schema["fields"]})
    raise AssertionError(f"no strategy for {kind!r}")


def payloads(schema: Schema) -> st.SearchStrategy[dict[str, Any]]:
    """Legal payloads of an event, as in wire JSON: what is optional is sometimes left out."""
    required, optional = {}, {}
    for field in schema.resolved["fields"]:
        if field["name"] != "envelope":
            (optional if "default" in field else required)[field["name"]] = _value(field)
    drawn = st.fixed_dictionaries(required, optional=optional)
    if "period_start" in required:
        drawn = st.builds(lambda p, period: p | period, drawn, _periods)
    if schema.name == "contract_signed":
        drawn = drawn.map(lambda p: p | dict(zip(_TERM, sorted(p[f] for f in _TERM), strict=True)))
    if schema.name == "target_set":
        drawn = drawn.map(lambda p: {"team": "sales"} | p)
    if schema.name == "rejected":
        drawn = drawn.map(lambda p: p | {"reason_code": "no_budget"})
    return drawn


_periods = st.builds(
    lambda first, days: {"period_start": str(first), "period_end": str(first + timedelta(days))},
    st.dates(date(2000, 1, 1), date(2500, 1, 1)),
    st.integers(0, 3660),
)
_TERM = ("starts", "ends")


def _value(field: dict[str, Any]) -> st.SearchStrategy[Any]:
    type_ = field["type"]
    if isinstance(type_, list):
        branches = [branch for branch in type_ if branch != "null"]
        if len(branches) > 1:
            numbers = st.floats(allow_nan=False, allow_infinity=False)
            return st.one_of(st.none(), texts, _longs, st.booleans(), numbers)
        type_ = branches[0]
    return _compound(type_) if isinstance(type_, dict) else _plain(type_, field)


def _compound(type_: dict[str, Any]) -> st.SearchStrategy[Any]:
    match type_["type"]:
        case "long":
            assert type_["logicalType"] == "timestamp-millis"
            return st.integers(NOW_MS, NOW_MS + 10**10)
        case "array":
            return st.lists(_value({"type": type_["items"]}), max_size=3)
        case "map":
            return st.dictionaries(texts, _value({"type": type_["values"]}), max_size=3)
        case "record":
            return st.fixed_dictionaries(
                {f["name"]: _value(f) for f in type_["fields"] if "default" not in f},
                optional={f["name"]: _value(f) for f in type_["fields"] if "default" in f},
            )
    raise AssertionError(f"no strategy for {type_!r}")


_FORMATS = {
    "id": _ids,
    "date": st.dates().map(str),
    "currency": st.sampled_from(["EUR", "JPY", "KWD"]),
    "decimal": st.sampled_from(["1.0832", "1", "0.000001"]),
}


def _plain(type_: str, field: dict[str, Any]) -> st.SearchStrategy[Any]:
    low, high = field.get("leadstream.min"), field.get("leadstream.max")
    match type_:
        case "string" if "leadstream.values" in field:
            return st.sampled_from(field["leadstream.values"])
        case "string":
            return _FORMATS.get(field.get("leadstream.format", ""), _filled)
        case "int":
            return st.integers(-(2**31) if low is None else low, 2**31 - 1)
        case "long":
            return st.integers(-(2**63) if low is None else low, 2**63 - 1 if high is None else high)
        case "double":
            return st.floats(low, high, allow_nan=False)
        case "boolean":
            return st.booleans()
    raise AssertionError(f"no strategy for {field!r}")


def event(name: str, payload: dict[str, Any]) -> dict[str, Any]:
    """The wire JSON of an event with all that CloudEvents can say as well."""
    wire: dict[str, Any] = {
        "type": name,
        "occurred_at": NOW_MS,
        "source_system": "crm",
        "source_event_id": "e-1",
        "payload": payload,
    }
    subject = SUBJECTS[EVENTS[name].resolved["leadstream.subject"]]
    if name == "identified":
        subject = {"lead_id": payload["lead_id"]}
    if name == "merged":
        subject = {"lead_id": payload["winner"]}
    if subject is not None:
        wire["subject"] = subject
    return wire

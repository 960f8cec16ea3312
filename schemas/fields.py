"""What a payload must look like, compiled from the schemas.

A check takes a value and where it stands, and gives the value as the rest of the program wants it
(times as epoch ms, numbers of a double as float, nulls of optional fields left out), or raises
Malformed.
"""

from __future__ import annotations

import copy
import math
import re
from collections.abc import Callable
from datetime import UTC, date, datetime, timedelta
from typing import Any, NamedTuple

from schemas.envelope import Malformed
from schemas.registry import Schema

Check = Callable[[Any, str], Any]

SHOWN_CHARS = 80
ISO_CHARS = 40
#: Longer ids are a mistake of the publisher, and would be keys of rows.
ID_CHARS = 512
#: Deeper values could not be written again by every encoder that a row passes.
DEPTH = 32
YEAR_2000_MS = 946_684_800_000  # before it, a time has the wrong unit,
LAST_MS = 253_402_300_799_999  # as beyond the end of the year 9999
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_MS = timedelta(milliseconds=1)


def shown(value: object) -> str:
    """What was found, for people: short, and never expensive."""
    if isinstance(value, str):
        text = repr(value[: SHOWN_CHARS + 1])
    elif value is None:
        return "null"
    elif isinstance(value, bool):
        return "true" if value else "false"
    elif isinstance(value, int) and value.bit_length() > 256:
        return f"an integer of {value.bit_length()} bits"
    elif isinstance(value, (int, float)):
        text = repr(value)
    elif isinstance(value, dict):
        text = "an object with " + (", ".join(str(key)[:20] for key in list(value)[:4]) or "nothing in it")
    elif isinstance(value, list):
        return f"a list of {len(value)} items"
    else:
        text = f"a {type(value).__name__}"
    return text if len(text) <= SHOWN_CHARS else text[: SHOWN_CHARS - 3] + "..."


def bad(where: str, value: object, need: str, code: str = "bad_field") -> Malformed:
    return Malformed(code, f"{where}: found {shown(value)}; {need}")


def missing(where: str, need: str) -> Malformed:
    return Malformed("missing_field", f"{where}: not given; {need}")


def fits(value: int) -> bool:
    """Whether an integer is one of Avro's longs."""
    return -(1 << 63) <= value < 1 << 63


def instant(value: Any, where: str, code: str = "bad_field") -> int:
    """Epoch ms of an integer (ms) or an ISO 8601 text; without a zone it is UTC."""
    ms: int | None = None
    if type(value) is int:
        ms = value
    elif isinstance(value, str) and len(value) <= ISO_CHARS:
        try:
            moment = datetime.fromisoformat(value.strip().upper())
        except ValueError:
            moment = None
        if moment is not None:
            if moment.tzinfo is None:
                moment = moment.replace(tzinfo=UTC)
            ms = (moment - _EPOCH) // _MS
    if ms is None:
        raise bad(
            where,
            value,
            'give integer milliseconds since 1970 UTC, or ISO 8601 such as "2026-11-22T10:00:00Z"',
            code,
        )
    if not -LAST_MS <= ms <= LAST_MS:
        raise bad(where, value, "give milliseconds since 1970, not micro- or nanoseconds", code)
    return ms


def subject_id(value: Any, where: str) -> str:
    """An id of a person, a deal or an account: opaque, so that no row holds an address."""
    if not isinstance(value, str):
        raise bad(where, value, "give the id as text", "bad_subject")
    if not value or value.isspace():
        raise bad(where, value, "give a non-empty id", "bad_subject")
    if "@" in value:
        raise bad(
            where, value, "ids are opaque: give the system's own id, not an e-mail address", "bad_subject"
        )
    if len(value) > ID_CHARS:
        raise bad(where, value, f"give an id of at most {ID_CHARS} characters", "bad_subject")
    return value


def plain(value: Any, where: str, depth: int = 0) -> Any:
    """A value that no schema knows: kept as it is, if a row can hold it."""
    if depth > DEPTH:
        raise Malformed("bad_json", f"{where}: nested deeper than {DEPTH} levels; send flat values")
    if isinstance(value, dict):
        for key, item in value.items():
            plain(item, f"{where}.{key[:SHOWN_CHARS]}" if depth < 3 else where, depth + 1)
    elif isinstance(value, list):
        for item in value:
            plain(item, where, depth + 1)
    elif isinstance(value, int) and not fits(value):
        raise bad(where, value, "give a whole number of at most 64 bits, or text")
    return value


def _text(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise bad(where, value, "give text")
    return value


def _filled(value: Any, where: str) -> str:
    if not isinstance(value, str):
        raise bad(where, value, "give text")
    if not value or value.isspace():
        raise Malformed("missing_field", f"{where}: is empty; fill it in")
    return value


def _one_of(values: tuple[str, ...]) -> Check:
    allowed = frozenset(values)
    need = "give one of " + ", ".join(values)

    def check(value: Any, where: str) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise bad(where, value, need)
        return value

    return check


def _day(value: Any, where: str) -> str:
    try:
        if isinstance(value, str) and len(value) == 10:
            date.fromisoformat(value)
            return value
    except ValueError:
        pass
    raise bad(where, value, 'give a day as "2026-11-22"')


def _currency(value: Any, where: str) -> str:
    if not isinstance(value, str) or not re.fullmatch("[A-Z]{3}", value):
        raise bad(where, value, 'give an ISO 4217 code in capitals, such as "EUR"')
    return value


def _decimal(value: Any, where: str) -> str:
    if not isinstance(value, str) or not re.fullmatch(r"[0-9]{1,12}(\.[0-9]{1,12})?", value):
        raise bad(where, value, 'give a decimal number as text, such as "1.0832"')
    if not value.strip("0."):
        raise bad(where, value, "a rate is above 0")
    return value


_LONGEST_DAYS = 3660
_FORMATS: dict[str, Check] = {"id": subject_id, "date": _day, "currency": _currency, "decimal": _decimal}


def _integer(bits: int, least: int | None, most: int | None = None) -> Check:
    low = -(1 << bits) if least is None else least
    high = (1 << bits) - 1 if most is None else most
    need = "give a whole number"
    negative = (
        "it is not negative; a refund, a loss or a shrinking is an event of its own, with a positive amount"
    )

    def check(value: Any, where: str) -> int:
        if type(value) is not int:
            money = where.endswith("amount")
            raise bad(where, value, need + (" of minor units (cents), without a fraction" if money else ""))
        if not low <= value <= high:
            if least is not None and value < least:
                raise bad(where, value, negative if where.endswith("amount") else f"give at least {least}")
            raise bad(where, value, f"give at most {high}" if value > high else f"give at least {low}")
        return value

    return check


def _number(least: float | None, most: float | None) -> Check:
    need = "give a number" if least is None else f"give a number from {least} to {most}"

    def check(value: Any, where: str) -> float:
        if type(value) is not float and type(value) is not int:
            raise bad(where, value, need)
        if type(value) is int and not fits(value):
            raise bad(where, value, need)
        number = float(value)
        if (
            not math.isfinite(number)
            or (least is not None and number < least)
            or (most is not None and number > most)
        ):
            raise bad(where, value, need)
        return number

    return check


def _boolean(value: Any, where: str) -> bool:
    if value is True or value is False:
        return value
    raise bad(where, value, "give true or false")


def _scalar(value: Any, where: str) -> Any:
    if isinstance(value, (dict, list)):
        raise bad(where, value, "give text, a number, true, false or null; flatten what is nested")
    if type(value) is int and not fits(value):
        raise bad(where, value, "give a whole number of at most 64 bits, or text")
    if type(value) is float and not math.isfinite(value):
        raise bad(where, value, "give a finite number")
    return value


def _mapping(check: Check, keep_null: bool) -> Check:
    def checked(value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise bad(where, value, "give an object of names and values")
        return {
            key: None if item is None else check(item, f"{where}.{key[:SHOWN_CHARS]}")
            for key, item in value.items()
            if keep_null or item is not None
        }

    return checked


def _list(check: Check) -> Check:
    def checked(value: Any, where: str) -> list[Any]:
        if not isinstance(value, list):
            raise bad(where, value, "give a list")
        return [check(item, f"{where}[{index}]") for index, item in enumerate(value)]

    return checked


class Field(NamedTuple):
    """``default`` is what is filled in where the field is left out; None: nothing."""

    name: str
    check: Check
    required: bool
    default: Any
    doc: str


def _record(fields: tuple[Field, ...]) -> Check:
    by_name = {field.name: field for field in fields}

    def checked(value: Any, where: str) -> dict[str, Any]:
        if not isinstance(value, dict):
            raise bad(where, value, "give an object with " + ", ".join(by_name))
        for field in fields:
            if field.required and value.get(field.name) is None:
                raise missing(f"{where}.{field.name}", field.doc)
        for name in value:
            if name not in by_name:
                raise bad(
                    f"{where}.{name[:SHOWN_CHARS]}", value[name], "there is no such field; leave it out"
                )
        return {
            name: by_name[name].check(item, f"{where}.{name}")
            for name, item in value.items()
            if item is not None
        }

    return checked


def _check(type_: Any, props: dict[str, Any], required: bool) -> Check:
    """The check of an Avro type with the properties of its field."""
    if isinstance(type_, list):
        branches = [branch for branch in type_ if branch != "null"]
        return _check(branches[0], props, required) if len(branches) == 1 else _scalar
    if isinstance(type_, dict):
        if type_.get("logicalType") == "timestamp-millis":
            return instant
        match type_["type"]:
            case "map":
                values = type_["values"]
                return _mapping(_check(values, {}, False), keep_null=isinstance(values, list))
            case "array":
                return _list(_check(type_["items"], {}, False))
            case "record":
                return _record(tuple(map(_field, type_["fields"])))
        return _check(type_["type"], props, required)
    least, most = props.get("leadstream.min"), props.get("leadstream.max")
    match type_:
        case "string":
            if "leadstream.values" in props:
                return _one_of(tuple(props["leadstream.values"]))
            return _FORMATS.get(props.get("leadstream.format", "")) or (_filled if required else _text)
        case "int":
            return _integer(31, least)
        case "long":
            return _integer(63, least, most)
        case "double":
            return _number(least, most)
        case "boolean":
            return _boolean
    raise TypeError(f"payload fields of type {type_!r} have no check; add one to schemas/fields.py")


def _field(declared: dict[str, Any]) -> Field:
    required = "default" not in declared
    check = _check(declared["type"], declared, required)
    return Field(declared["name"], check, required, declared.get("default"), declared.get("doc", ""))


# What no single field can say.


def _rejected(payload: dict[str, Any]) -> None:
    if payload["reason_code"] == "other" and not str(payload.get("notes") or "").strip():
        raise missing("payload.notes", "reason_code is other, so say in words why")


def _target_set(payload: dict[str, Any]) -> None:
    if payload.get("team") is None and payload.get("owner") is None:
        raise missing("payload.team", "say whose target it is: team or owner")
    _period(payload)


def _period(payload: dict[str, Any]) -> None:
    """Amounts are spread over the days of a period: one of two thousand years is a year mistyped."""
    _in_order(payload, "period_start", "period_end")
    first, last = (date.fromisoformat(payload[name]) for name in ("period_start", "period_end"))
    if first.year < 2000:
        raise bad("payload.period_start", payload["period_start"], "nothing before the year 2000 is taken")
    if (last - first).days > _LONGEST_DAYS:
        raise bad(
            "payload.period_end", payload["period_end"], "a period has at most ten years; check the year"
        )


def _won(payload: dict[str, Any]) -> None:
    if payload.get("closed_at") is not None and payload["closed_at"] < YEAR_2000_MS:
        need = "give milliseconds since 1970, not seconds; nothing before the year 2000 is taken"
        raise bad("payload.closed_at", payload["closed_at"], need)


def _contract(payload: dict[str, Any]) -> None:
    _in_order(payload, "starts", "ends")


def _in_order(payload: dict[str, Any], first: str, last: str) -> None:
    if payload[last] < payload[first]:
        raise bad(f"payload.{last}", payload[last], f"it is before {first} ({payload[first]}); exchange them")


_RULES: dict[str, Callable[[dict[str, Any]], None]] = {
    "rejected": _rejected,
    "target_set": _target_set,
    "spend_recorded": _period,
    "budget_set": _period,
    "contract_signed": _contract,
    "won": _won,
}


class Shape:
    """The payload of one event type.

    ``complete`` checks a payload of any origin, ``meaning`` only what the Avro schema cannot say.
    Both change the payload in place.
    """

    def __init__(self, schema: Schema) -> None:
        self.name = schema.name
        self.subject: str = schema.resolved["leadstream.subject"]
        self.family: str = schema.resolved["leadstream.family"]
        self._fields = {
            declared["name"]: _field(declared)
            for declared in schema.resolved["fields"]
            if declared["name"] != "envelope"
        }
        self._required = tuple(f for f in self._fields.values() if f.required)
        self._defaults = tuple(f for f in self._fields.values() if f.default is not None)
        self._rule = _RULES.get(self.name)
        self._loose = tuple(
            (declared["name"], self._fields[declared["name"]].check)
            for declared in schema.resolved["fields"]
            if declared["name"] != "envelope" and _beyond_avro(declared, self._fields[declared["name"]].check)
        )

    def complete(self, payload: dict[str, Any]) -> tuple[dict[str, Any], tuple[str, ...]]:
        """The payload as it should be, and the names of the fields that no schema has."""
        fields = self._fields
        settled: dict[str, Any] = {}
        unknown: list[str] = []
        for name, value in payload.items():
            field = fields.get(name)
            if field is None:
                unknown.append(name)
                settled[name] = plain(value, f"payload.{name[:SHOWN_CHARS]}")
            elif value is not None:
                settled[name] = field.check(value, f"payload.{name}")
        for field in self._required:
            if field.name not in settled:
                raise missing(f"payload.{field.name}", f"{self.name} needs it ({field.doc})")
        for field in self._defaults:
            if field.name not in settled:
                settled[field.name] = copy.copy(field.default)
        if self._rule is not None:
            self._rule(settled)
        return settled, tuple(unknown)

    def meaning(self, payload: dict[str, Any]) -> None:
        for name, check in self._loose:
            if name in payload:
                payload[name] = check(payload[name], f"payload.{name}")
        if self._rule is not None:
            self._rule(payload)


def _beyond_avro(declared: dict[str, Any], check: Check) -> bool:
    """Whether bytes of the right schema can still fail the check."""
    text_map = {"type": "map", "values": "string"}
    return check not in (_text, _boolean) and declared["type"] not in (text_map, ["null", text_map])

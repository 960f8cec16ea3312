"""Every type of the vocabulary with whatever its schema lets through, and with what it does not: a record is folded or a
dead letter, nothing ever fails, and what is counted is what the rows add."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from processors.definition.model import HOUR
from processors.report import report
from schemas.registry import EVENT, packaged
from schemas.vocabulary import CUSTOMER, DEAL, ENGAGEMENT, EVENTS, LEAD
from streams.state_reader import figures_of_rows, loaded
from tests.strategies import FITS, T0, at, moments, sent
from tests.world import LAW, OWNERS, Funnel

_TYPES = sorted(name for name, e in EVENTS.items() if e.family in (ENGAGEMENT, LEAD, DEAL, CUSTOMER))
#: Texts that mean something to some field, and such as mean nothing to any.
_TEXTS = [
    "lead-1", "lead-2", "visitor-1", "deal-1", "c-1", "e3", "EUR", "JPY", "XXX", "2026-03-05", "2026-02-30", "9999-12-31",
    "0001-01-01", "hand_raise", "human", "bot", "marketing", "sales_contact", "profiling", "owner-1", "timing", "won", "mql",
    "price", "https://example.org/pricing?utm_source=s#x", "", " ", "\0", "é\U0001f600", "x" * 400,
]  # fmt: skip
_WHOLE = [0, 1, 7, -1, 9, 100, T0, at(9), at(900), 10**12, 2**31 - 1, 2**53 + 1, 2**62, 2**63 - 1, -(2**63)]
_REAL = [0.0, 0.25, 1.0, -0.5, 1.5, 1e9, 1e308, 5e-324]
_ODD = [None, True, [], {}, "text", 3, 1.5, ["x"], {"x": {"y": [1]}}, float("nan")]


def _values(type_: Any, choices: list[str]) -> st.SearchStrategy[Any]:
    """Values of an Avro type."""
    if isinstance(type_, list):
        return st.one_of(*(_values(x, choices) for x in type_))
    if isinstance(type_, dict):
        inner = type_["type"]
        if inner == "map":
            return st.dictionaries(
                st.sampled_from([*FITS, "budget", "x"]), _values(type_["values"], []), max_size=3
            )
        if inner == "array":
            return st.lists(_values(type_["items"], []), max_size=3)
        if inner == "record":
            return st.fixed_dictionaries({x["name"]: _field(x) for x in type_["fields"]})
        return _values(inner, choices)
    found: dict[str, list[Any]] = {
        "null": [None], "string": choices * 20 or _TEXTS, "long": _WHOLE, "int": _WHOLE, "double": _REAL,
        "boolean": [False, True],
    }  # fmt: skip
    return st.sampled_from([*found[type_], *_TEXTS] if type_ == "string" and choices else found[type_])


_DATES = ["2026-03-05", "2026-03-31", "2026-04-20", "9999-12-31", "0001-01-01"]
#: What a field usually has, so that most records pass.
_USUAL: dict[str, list[Any]] = {
    "currency": ["EUR", "EUR", "JPY", "KWD", "XTS"], "date": _DATES, "starts": _DATES, "ends": _DATES,
    "amount": [0, 1, 101, 10**12, 2**62], "notice_days": [0, 30, 400], "send_id": ["s1", "s2"], "of": ["e100", "e101"],
    "merge_event_id": ["e100", "e103"], "contract_id": ["c-1", "c-2"], "leads": [[{"lead_id": "lead-1"}], []],
    "loser": ["lead-1", "lead-2"], "winner": ["lead-1", "lead-2"], "lead_id": ["lead-1", "lead-2"],
    "anonymous_id": ["visitor-1"], "account_id": ["c-1", "c-2"], "probability": [0.0, 0.5, 1.0],
}  # fmt: skip


def _field(field: dict[str, Any]) -> st.SearchStrategy[Any]:
    drawn = _values(field["type"], list(field.get("leadstream.values", ())))
    usual = _USUAL.get(field["name"])
    return drawn if usual is None else st.one_of(*(st.sampled_from(usual) for _ in range(7)), drawn)


_PAYLOADS = {
    name: st.fixed_dictionaries(
        {
            f["name"]: _field(f)
            for f in schema.resolved["fields"]
            if f["name"] != "envelope" and "default" not in f
        },
        optional={
            f["name"]: _field(f)
            for f in schema.resolved["fields"]
            if f["name"] != "envelope" and "default" in f
        },
    )
    for name, schema in packaged().newest(EVENT).items()
    if name in _TYPES
}


@st.composite
def facts(draw: st.DrawFn) -> tuple[str, dict[str, Any], dict[str, Any]]:
    """A type, a payload, and who it is about."""
    name = draw(st.sampled_from(_TYPES))
    payload = dict(draw(_PAYLOADS[name]))
    if draw(st.integers(0, 9)) == 0 and payload:
        payload[draw(st.sampled_from(sorted(payload)))] = draw(st.sampled_from(_ODD))
    kind = EVENTS[name].subject_kind
    who = {
        "lead": ["lead_id", "lead_id", "lead_id", "anonymous_id"],
        "deal": ["deal_id"],
        "account": ["account_id"],
    }[kind]
    ids = {"lead_id": "lead-1", "anonymous_id": "visitor-1", "deal_id": "deal-1", "account_id": "c-1"}
    named = draw(st.sampled_from(who))
    subject = {
        named: str(payload.get("lead_id") or payload.get("winner") or ids[named])
        if named == "lead_id"
        else ids[named]
    }
    return name, payload, subject


@given(st.lists(st.tuples(facts(), moments(30)), min_size=1, max_size=14), st.booleans())
def test_whatever_a_schema_lets_through_is_folded(
    found: list[tuple[tuple[str, dict[str, Any], dict[str, Any]], int]], in_order: bool
) -> None:
    f = Funnel(LAW, T0, partitions=2, owners=OWNERS)
    f.fit(T0)
    f.raise_hand(T0 + HOUR)
    for n, ((name, payload, subject), t) in enumerate(
        sorted(found, key=lambda x: x[1]) if in_order else found
    ):
        if in_order:
            f.until(max(f.now, t))
        topic = {"deal": "deal", "account": "deal"}.get(EVENTS[name].subject_kind, "lead")
        type_ = "reopened" if name == "deal_reopened" else name
        f.publish(sent(type_, t, 100 + n, payload, topic=topic, subject=subject, recorded_at=max(t, f.now)))
    f.until(at(200))
    assert not f.topology.counts["fold_errors",]
    assert not any(f.topology.failing_by_partition().values())
    totals = f.topology.totals()
    f.topology.exposition()
    whole = figures_of_rows(loaded(f.driver.all_rows()), f.topology, f.now)
    for v in report(whole, f.topology.definitions[-1], f.now):
        assert not v.figure.startswith("check_") or v.value == 0
    f.restart()
    assert {k: n for k, n in f.topology.totals().items() if n} == {k: n for k, n in totals.items() if n}

"""Replay: what is in a file of events, folded offline, whatever the order, the chunks and the partitions."""

from __future__ import annotations

import io
import json
import random
from collections.abc import Callable, Iterable
from datetime import datetime
from itertools import islice
from pathlib import Path
from typing import Any

import pytest
from msgspec.structs import replace as changed
from typer.testing import CliRunner, Result

from processors.days import day_number
from processors.definition.load import load
from processors.definition.model import HOUR, Definition
from schemas.codec import decode, decode_output
from streams.cli import build
from streams.cli.events import topic_of
from streams.definitions import default_text
from streams.driver import Driver
from streams.replay import Replayed, file_lines, replay, spooled, survey
from streams.settings import Settings
from streams.sources.simulator import Simulation
from streams.state_reader import figures_of_rows, loaded
from streams.topology import LeadTopology
from streams.work import Message

DEFAULT = changed(load(default_text(), origin="default.toml"), effective_at=0)
DAY = 24 * HOUR


def ms(text: str) -> int:
    return int(datetime.fromisoformat(text + "+00:00").timestamp() * 1000)


MONDAY = ms("2026-11-16T09:00:00")


def event(type_: str, at: int, lead: str = "lead-1", **more: Any) -> dict[str, Any]:
    payload = more.pop("payload", {})
    made = {"type": type_, "occurred_at": at, "source_system": "test", "payload": payload}
    if lead:
        made["subject"] = {"lead_id": lead}
    return made | {"source_event_id": f"{type_}/{lead}/{at}"} | more


def raising(at: int = MONDAY, lead: str = "lead-1") -> list[dict[str, Any]]:
    """A director who asks to be contacted an hour after they are known."""
    return [
        event("created", at, lead, payload={"source": "email", "generated_by": "marketing"}),
        event("attributes_changed", at, lead, payload={"fields": {"role": "director", "company_size": 50}}),
        event("form_submitted", at + HOUR, lead, payload={"form_id": "demo", "intent": "hand_raise"}),
    ]


OWNER = event(
    "owner_changed", MONDAY - DAY, "", payload={"owner": "owner-1", "team": "sales", "active": True}
)


def ndjson(events: Iterable[Any]) -> list[bytes]:
    return [(e if isinstance(e, str) else json.dumps(e)).encode() + b"\n" for e in events]


def fold(events: Iterable[Any], definition: Definition = DEFAULT, **options: Any) -> Replayed:
    found = ndjson(events)
    return replay(Settings(), definition, lambda: found, **options)


def handoffs_of(events: Iterable[Any], **options: Any) -> list[dict[str, Any]]:
    """What was published of handoffs."""
    messages: list[Message] = []
    fold(events, sink=messages.append, as_of=MONDAY + 6 * HOUR, **options)
    outputs = (decode_output(m.value or b"") for m in messages)
    return [record for name, record in outputs if name == "handoff"]


def stages(done: Replayed) -> dict[str, int]:
    return {v.labels["stage"]: int(v.value or 0) for v in done.report(only=("entered",)) if v.value}


def value(done: Replayed, figure: str, **labels: str) -> Any:
    (found,) = [v for v in done.report(only=(figure,)) if v.labels == labels]
    return found.value


@pytest.fixture(scope="module")
def history() -> list[dict[str, Any]]:
    """A simulated company's traffic: late, double and contradicting deliveries included."""
    return [d.event for d in islice(Simulation(7).events(), 3_000) if d.raw is None]


@pytest.fixture(scope="module")
def whole(history: list[dict[str, Any]]) -> Replayed:
    return fold(history)


# -- the set of facts decides -----------------------------------------------------------------------------------------


def test_neither_order_nor_chunks_nor_partitions_nor_doubles_matter(
    history: list[dict[str, Any]], whole: Replayed
) -> None:
    expected = whole.totals
    assert len(expected) > 500
    # Of one identity with two payloads the one recorded first stays, by instant and line: so not in any order.
    shuffled = list(history)
    random.Random(1).shuffle(shuffled)
    assert fold(history, chunk=170).totals == expected
    assert fold(history, partitions=1).totals == expected
    assert fold(history, partitions=31).totals == expected
    assert fold(history + history[:900]).totals == expected
    assert fold(shuffled, as_of=whole.as_of).totals == expected


def test_it_is_what_the_worker_would_have_made_of_the_same_records(
    history: list[dict[str, Any]], whole: Replayed
) -> None:
    """The driver has the worker's contract; here it reads everything at once, then time passes."""
    settings = Settings()
    topology = LeadTopology(settings, DEFAULT)
    topology.apply([(e, e.occurred_at) for e in whole.reference])
    driver = Driver(topology, live=False)
    for raw in ndjson(history):
        e = decode(raw, ())
        if e.subject_kind:
            at = e.occurred_at if e.observed_at is None else e.observed_at
            driver.publish(topic_of(settings, e.type), e.subject_id.encode(), raw, timestamp_ms=at)
    driver.now_ms = whole.as_of
    driver.run()
    driver.catch_up()
    assert figures_of_rows(loaded(driver.all_rows()), topology, whole.as_of) == whole.totals


# -- the instant ------------------------------------------------------------------------------------------------------


def test_the_newest_event_gives_the_instant() -> None:
    done = fold([*raising(), event("page_viewed", MONDAY + 9 * DAY, payload={"url": "https://x.example/"})])
    assert done.as_of == MONDAY + 9 * DAY
    # Both deadlines have passed by then, without any event.
    assert stages(done)["expired"] == 1


def test_a_date_far_ahead_is_a_mistake_and_does_not_move_the_instant() -> None:
    far = event("page_viewed", ms("2100-01-01T00:00:00"), payload={"url": "https://x.example/"})
    done = fold([*raising(), far], latest=MONDAY + DAY)
    assert done.as_of == MONDAY + HOUR
    assert done.dead == {"too_far": 1}
    assert done.examples[0].line == 4
    assert "hours ahead" in done.examples[0].detail


def test_as_of_leaves_out_what_came_later() -> None:
    later = event("accepted", MONDAY + 5 * HOUR)
    done = fold([*raising(), later], as_of=MONDAY + 4 * HOUR)
    assert (done.accepted, done.later, done.dead.total()) == (3, 1, 0)
    assert done.totals == fold(raising(), as_of=MONDAY + 4 * HOUR).totals
    assert value(done, "handoffs", outcome="open") == 1
    assert value(fold([*raising(), later]), "handoffs", outcome="accepted") == 1


def test_time_goes_on_after_the_last_event() -> None:
    # Handed over Monday 10:00; a decision is due after 16 business hours, Wednesday 10:00.
    before = fold(raising(), as_of=ms("2026-11-18T10:01:00"))
    after = fold(raising(), as_of=ms("2026-11-18T10:02:00"))
    assert value(before, "sla_compliance", clock="decision") is None
    assert value(after, "sla_compliance", clock="decision") == 0


# -- lines ------------------------------------------------------------------------------------------------------------


def test_what_is_no_event_is_counted_with_its_line_and_reason() -> None:
    bad = [
        "not json",
        '{"type": "created"}',
        json.dumps(event("created", MONDAY, "someone@example.org")),
        json.dumps(event("created", 0)),
        "[]",
        "",
        json.dumps(event("something_new", MONDAY, "")),
    ]
    done = fold([bad[0], *raising(), *bad[1:]])
    assert done.accepted == 3
    assert [refused.line for refused in done.examples] == [1, 5, 6, 7, 8, 10]
    assert done.dead.total() == 6
    assert done.dead["bad_json"] == 1
    assert all(refused.detail for refused in done.examples)


def test_a_conflicting_payload_is_a_dead_letter_by_the_line_of_the_one_that_lost() -> None:
    first = event("page_viewed", MONDAY, payload={"url": "https://x.example/a"}, source_event_id="e-1")
    other = first | {"payload": {"url": "https://x.example/b"}}
    done = fold([*raising(), first, other])
    assert [(r.line, r.code) for r in done.examples] == [(5, "conflicting_payload")]


def test_an_unknown_type_is_kept_and_counted() -> None:
    done = fold([*raising(), event("something_new", MONDAY)])
    assert done.types["(unknown)"] == 1
    assert not done.dead


def test_a_line_says_when_it_was_recorded() -> None:
    """The clock of a handoff starts when its ground could be known, not when it happened."""
    known_late = [e | {"observed_at": e["occurred_at"] + 3 * HOUR} for e in raising()]
    first, second = handoffs_of(raising()), handoffs_of(known_late)
    assert [r["started_at"] for r in first] == [MONDAY + HOUR]
    # The lag until it was recorded is kept to 1/2048, rounded up.
    assert MONDAY + 4 * HOUR <= second[0]["started_at"] <= MONDAY + 4 * HOUR + 3 * HOUR // 2048
    assert [r["trigger_at"] for r in second] == [MONDAY + HOUR]


# -- reference and market data ----------------------------------------------------------------------------------------


def test_the_times_of_a_file_are_its_own_also_beside_a_demo() -> None:
    """A demo's settings name a clock that runs 600 times as fast; the workers ask it when a record was recorded."""
    found = ndjson([OWNER, *raising()])
    beside = Settings(clock="scaled:2026-11-23T08:00:00Z@2026-11-10T10:00:00Zx600")
    done = [replay(settings, DEFAULT, lambda: found) for settings in (Settings(), beside)]
    rows = [dict(each.rows()) for each in done]
    assert rows[0] == rows[1]


def test_reference_data_are_known_first_wherever_they_stand() -> None:
    assert [r["owner"] for r in handoffs_of([*raising(), OWNER])] == ["owner-1"]
    done = fold([*raising(), OWNER])
    assert [e.type for e in done.reference] == ["owner_changed"]
    assert done.accepted == 3


def test_a_published_definition_holds_from_its_instant() -> None:
    text = 'name = "strict"\nversion = 1\n[thresholds]\nfit_min = 90\nfit_min_hand_raise = 90\n'
    published = event(
        "definition_published",
        MONDAY + DAY,
        "",
        payload={
            "name": "strict",
            "version": 1,
            "toml": text,
            "effective_at": MONDAY + DAY,
            "unsigned": True,
        },
    )
    done = fold([*raising(), *raising(MONDAY + 2 * DAY, "lead-2"), published])
    assert stages(done)["known"] == 2
    assert stages(done)["mql"] == 1


def test_a_simulated_quarter_tells_what_it_cost_and_brought() -> None:
    """Dirty deliveries included: no money figure that has its inputs is missing, and credit is what was booked."""
    done = fold(d.event for d in islice(Simulation(3, leads_per_day=4).events(), 22_000) if d.raw is None)
    found = {v.figure: v for v in done.report()}
    for name in (
        "booked_revenue", "collected", "pipeline_value", "forecast", "forecast_sd", "velocity", "spend", "cost_per_lead",
        "cost_per_mql", "cost_per_sql", "cac", "arpa", "payback", "clv_realised", "attributed_revenue", "roas",
        "budget_share", "budget_use", "target_attainment", "target_pace",
    ):  # fmt: skip
        assert found[name].value, name
    assert found["marketing_roi"].value is not None
    assert found["check_credit"].value == 0
    assert found["forecast_accuracy"].inputs["came"] > 0
    assert {v.labels["channel"] for v in done.report(by=("channel",), only=("cost_per_lead",))} >= {
        "paid_search",
        "email",
    }


def test_market_events_are_kept_aside() -> None:
    spend = event(
        "spend_recorded",
        MONDAY,
        "",
        payload={
            "channel": "paid_search", "period_start": "2026-11-01", "period_end": "2026-11-30", "amount": 100,
            "currency": "EUR", "kind": "media", "team": "marketing",
        },
    )  # fmt: skip
    done = fold([*raising(), spend])
    assert [e.type for e in done.market] == ["spend_recorded"]
    days = MONDAY // DAY - day_number(2026, 11, 1) + 1
    so_far = 4 * min(days, 10) + 3 * max(days - 10, 0)  # 30 days, the first ten have one more
    assert value(done, "spend") == value(done, "cost_per_lead") == so_far
    assert value(fold([*raising(), spend], as_of=MONDAY + 400 * DAY), "spend") == 100
    assert (done.accepted, done.dead.total()) == (3, 0)


# -- what is said -----------------------------------------------------------------------------------------------------


def test_nothing_is_said_of_a_half_read_past() -> None:
    """A handoff that ended before the end of the file calls nobody: it is history."""
    answered = [*raising(), event("touched", MONDAY + 2 * HOUR, payload={"channel": "phone", "kind": "call"}),
                event("accepted", MONDAY + 3 * HOUR)]  # fmt: skip
    found = handoffs_of([*answered, *raising(MONDAY + HOUR, "lead-2")], chunk=2)
    kinds = {(r["lead_id"], r["kind"]) for r in found}
    assert kinds == {("lead-1", "historical"), ("lead-1", "answered"), ("lead-2", "made")}
    assert fold([*answered, *raising(MONDAY + HOUR, "lead-2")]).outputs["handoff made"] == 1


def test_sequences_are_free_of_gaps(history: list[dict[str, Any]]) -> None:
    last: dict[tuple[str, str], int] = {}

    def check(message: Any) -> None:
        _, record = decode_output(message.value)
        key = (message.topic, record["lead_id"])
        assert record["sequence"] == last.get(key, 0) + 1
        last[key] = record["sequence"]

    fold(history, sink=check)
    assert len(last) > 100


def test_reading_twice_from_a_stream_and_counting_its_lines() -> None:
    with spooled(io.BytesIO(b"".join(ndjson([OWNER, *raising()])))) as lines:
        found = survey(lines)
        assert (found.lines, len(found.reference)) == (4, 1)
        assert replay(Settings(), DEFAULT, lines).accepted == 3


def test_a_file_may_begin_with_a_byte_order_mark(tmp_path: Path) -> None:
    file = tmp_path / "events.ndjson"
    file.write_bytes(b"\xef\xbb\xbf" + b"".join(ndjson(raising())))
    done = replay(Settings(), DEFAULT, file_lines(file))
    assert (done.accepted, done.dead.total()) == (3, 0)


# -- the command ------------------------------------------------------------------------------------------------------

Run = Callable[..., Result]


@pytest.fixture
def run(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Run:
    monkeypatch.chdir(tmp_path)

    def invoke(*arguments: str, stdin: str | None = None, **env: str) -> Result:
        return CliRunner().invoke(build(), list(arguments), input=stdin, env={"COLUMNS": "200", **env})

    return invoke


def test_the_command_prints_figures_and_what_it_read(run: Run, tmp_path: Path) -> None:
    (tmp_path / "e.ndjson").write_bytes(b"".join(ndjson([*raising(), OWNER])))
    result = run("replay", "e.ndjson")
    assert result.exit_code == 0, result.output
    assert "leads" in result.stdout
    assert "3 events as of 2026-11-16T10:00:00Z" in result.stderr
    assert "1 reference event" in result.stderr


def test_json_holds_the_same_figures(run: Run, tmp_path: Path) -> None:
    (tmp_path / "e.ndjson").write_bytes(b"".join(ndjson(raising())))
    found = json.loads(run("replay", "e.ndjson", "--json").stdout)
    assert found["as_of"] == "2026-11-16T10:00:00Z"
    assert found["accepted"] == 3
    assert found["outputs"]["handoff made"] == 1
    leads = [v["value"] for v in found["figures"] if v["figure"] == "leads"]
    assert leads == [1]


def test_stdin_and_the_instant(run: Run) -> None:
    text = b"".join(ndjson(raising())).decode()
    found = json.loads(run("replay", "-", "--as-of", "2026-11-16T09:30:00Z", "--json", stdin=text).stdout)
    assert (found["accepted"], found["after_as_of"]) == (2, 1)


def test_refused_lines_are_told_and_fail_only_when_strict(run: Run, tmp_path: Path) -> None:
    (tmp_path / "e.ndjson").write_bytes(b"".join(ndjson([*raising(), "{"])))
    result = run("replay", "e.ndjson")
    assert result.exit_code == 0
    assert "e.ndjson:4: " in result.stderr
    assert run("replay", "e.ndjson", "--strict").exit_code == 1


def test_outputs_are_written_decoded(run: Run, tmp_path: Path) -> None:
    (tmp_path / "e.ndjson").write_bytes(b"".join(ndjson(raising())))
    assert run("replay", "e.ndjson", "--outputs", "out.ndjson").exit_code == 0
    found = [json.loads(line) for line in (tmp_path / "out.ndjson").read_text().splitlines()]
    assert {r["record"] for r in found} == {"stage_change", "handoff", "sla", "nurture"}
    (made,) = [r for r in found if r["record"] == "handoff"]
    assert made["topic"] == "lead.handoffs.v1"
    assert made["context"]["rows"][0]["offset"] == 3, "the number of the line"


@pytest.mark.parametrize(
    ("arguments", "code", "says"),
    [
        (("replay", "nothing.ndjson"), 2, "no such file"),
        (("replay", "empty.ndjson"), 1, "no event was accepted"),
        (("replay", "bad.ndjson"), 1, "line 1"),
        (("replay", "good.ndjson", "--as-of", "yesterday"), 2, "--as-of"),
        (("replay", "good.ndjson", "--definition", "nowhere.toml"), 2, "nowhere.toml"),
        (("replay", "good.ndjson", "--definition", "broken.toml"), 2, "broken.toml:1"),
        (("replay", "good.ndjson", "--outputs", "no/such/folder.ndjson"), 2, "folder.ndjson"),
    ],
)
def test_mistakes_are_one_line(
    run: Run, tmp_path: Path, arguments: tuple[str, ...], code: int, says: str
) -> None:
    (tmp_path / "empty.ndjson").write_bytes(b"")
    (tmp_path / "bad.ndjson").write_bytes(b"{\n")
    (tmp_path / "good.ndjson").write_bytes(b"".join(ndjson(raising())))
    (tmp_path / "broken.toml").write_text("name = ours\n")
    result = run(*arguments)
    assert result.exit_code == code
    assert says in result.stderr
    assert "Traceback" not in result.output

"""The simulation: the same stream for a seed, in order of delivery, as dirty as told, and believable."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import replace
from datetime import UTC, datetime
from itertools import islice, pairwise
from typing import Any

import pytest

from schemas.codec import decode, encode_event
from schemas.envelope import Envelope, Malformed
from streams.sources.sim_model import DAY, HOUR, MINUTE
from streams.sources.simulator import START_MS, Delivery, Dirt, Owner, SalesDesk, Simulation, main, owners_of

CLEAN = Dirt.none()


def take(simulation: Simulation, count: int) -> list[Delivery]:
    return list(islice(simulation.events(), count))


def key_of(event: dict[str, Any]) -> str | None:
    subject = event.get("subject") or {}
    return next(iter(subject.values()), None)


@pytest.fixture(scope="module")
def clean() -> list[Delivery]:
    return take(Simulation(5, dirt=CLEAN, leads_per_day=20), 60_000)


@pytest.fixture(scope="module")
def year() -> list[Delivery]:
    simulation = Simulation(13, dirt=CLEAN, leads_per_day=8, until_ms=START_MS + 365 * DAY)
    return list(simulation.events())


@pytest.fixture(scope="module")
def dirty() -> list[Delivery]:
    return take(Simulation(6), 30_000)


def test_the_same_seed_gives_the_same_stream() -> None:
    assert take(Simulation(3), 4_000) == take(Simulation(3), 4_000)
    assert take(Simulation(3), 100) != take(Simulation(4), 100)


def test_two_seeds_share_no_identity() -> None:
    def identities(seed: int) -> set[tuple[str, str]]:
        events = (d.event for d in take(Simulation(seed), 3_000) if d.raw is None)
        return {(e["source_system"], e["source_event_id"]) for e in events}

    assert not identities(1) & identities(11)


def test_deliveries_come_in_order_and_after_the_event_happened(dirty: list[Delivery]) -> None:
    assert all(a.at_ms <= b.at_ms for a, b in pairwise(dirty))
    skewed = {"webinars"}
    for delivery in dirty:
        event = delivery.event
        if delivery.raw is None and event["source_system"] not in skewed:
            assert delivery.at_ms >= event["occurred_at"]


def test_every_event_is_well_formed_and_of_a_known_type(dirty: list[Delivery]) -> None:
    for delivery in dirty[:8_000]:
        if delivery.raw is not None:
            continue
        for value in (encode_event(delivery.event), json.dumps(delivery.event).encode()):
            envelope = decode(value, [], key=delivery.key.encode())
            assert isinstance(envelope, Envelope)
            assert envelope.known, delivery.event
            assert not envelope.unknown_fields, delivery.event
            assert envelope.occurred_at == delivery.event["occurred_at"]


def test_malformed_records_are_refused_by_the_codec() -> None:
    stream = take(Simulation(2, dirt=Dirt(malformed=0.05)), 12_000)
    raws = [d.raw for d in stream if d.raw is not None]
    codes = set()
    for raw in raws:
        with pytest.raises(Malformed) as refused:
            decode(raw, [])
        codes.add(refused.value.code)
    assert len(raws) > 300
    assert len(codes) >= 4


def test_every_type_lies_on_its_topic_and_under_its_key(clean: list[Delivery]) -> None:
    topics: dict[str, set[str]] = defaultdict(set)
    for delivery in clean:
        event = delivery.event
        assert event["source_system"]
        assert event["source_event_id"]
        topics[event["type"]].add(delivery.topic_key)
        subject = key_of(event)
        assert subject == delivery.key or (subject is None and delivery.topic_key in ("market", "reference"))
        assert "@" not in delivery.key
        assert "@" not in event["source_event_id"]
    two_families = {"reopened"}
    assert all(len(names) == 1 for kind, names in topics.items() if kind not in two_families)
    assert set().union(*topics.values()) == {"engagement", "lead", "deal", "market", "reference"}


def test_identities_and_crm_sequence_are_unique_without_dirt(clean: list[Delivery]) -> None:
    identities = [(d.event["source_system"], d.event["source_event_id"]) for d in clean]
    assert len(set(identities)) == len(identities)
    numbers = [d.event["source_seq"] for d in clean if d.event["source_system"] == "crm"]
    assert len(set(numbers)) == len(numbers) > 1_000


@pytest.mark.parametrize("share", [0.0, 0.02, 0.1])
def test_duplicates_come_as_often_as_configured(share: float) -> None:
    stream = take(Simulation(8, dirt=replace(CLEAN, duplicates=share)), 20_000)
    seen = Counter((d.event["source_system"], d.event["source_event_id"]) for d in stream)
    again = sum(1 for n in seen.values() if n > 1) / len(seen)
    assert again == pytest.approx(share, rel=0.2)
    assert max(seen.values()) <= 4


@pytest.mark.parametrize("share", [0.0, 0.02, 0.1])
def test_late_events_come_as_often_as_configured(share: float) -> None:
    stream = take(Simulation(8, dirt=replace(CLEAN, late=share)), 15_000)
    lags = [d.at_ms - d.event["occurred_at"] for d in stream]
    late = sum(1 for lag in lags if lag >= 2 * MINUTE) / len(lags)
    assert late == pytest.approx(share, rel=0.25)
    if share:
        assert max(lags) > DAY


def test_malformed_records_and_wrong_keys_come_as_often_as_configured() -> None:
    stream = take(Simulation(8, dirt=replace(CLEAN, malformed=0.03, wrong_keys=0.05)), 20_000)
    events = [d for d in stream if d.raw is None]
    assert (len(stream) - len(events)) / len(events) == pytest.approx(0.03, rel=0.2)
    wrong = sum(1 for d in events if "subject" in d.event and key_of(d.event) != d.key)
    assert wrong / len(events) == pytest.approx(0.05, rel=0.2)


def test_stage_events_overtake_one_another() -> None:
    def overtaken(dirt: Dirt) -> int:
        newest: dict[str, int] = {}
        count = 0
        for d in take(Simulation(8, dirt=dirt), 30_000):
            if d.topic_key == "lead" and d.event["source_system"] == "crm":
                count += d.event["source_seq"] < newest.get(d.key, 0)
                newest[d.key] = max(newest.get(d.key, 0), d.event["source_seq"])
        return count

    assert overtaken(replace(CLEAN, reordered=0.2)) > 3 * overtaken(CLEAN) + 20


def test_the_webinar_platform_has_a_fast_clock() -> None:
    def ahead(skew_ms: int) -> int:
        stream = take(Simulation(8, dirt=replace(CLEAN, skew_ms=skew_ms)), 20_000)
        return sum(1 for d in stream if d.event["occurred_at"] > d.at_ms)

    assert ahead(0) == 0
    assert ahead(10 * MINUTE) > 20


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"leads_per_day": 0}, "leads_per_day"),
        ({"bots": 1.5}, "bots"),
        ({"dirt": Dirt(late=-0.1)}, "dirt.late"),
        ({"dirt": Dirt(late=0.9, duplicates=0.9)}, "more than 1"),
    ],
)
def test_impossible_arguments_are_named(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(ValueError, match=message):
        Simulation(1, **arguments)


def test_memory_is_bounded_by_the_open_leads() -> None:
    simulation = Simulation(9, leads_per_day=20)
    for n, _ in enumerate(islice(simulation.events(), 90_000)):
        if n % 500 == 0:
            assert simulation.open_leads < 20 * 100
            assert simulation.pending < 3 * (simulation.open_leads + 200)


def test_a_bounded_simulation_ends() -> None:
    simulation = Simulation(10, leads=30, dirt=CLEAN)
    created = {d.key for d in simulation.events() if d.event["type"] == "created"}
    assert len(created) == 30
    assert simulation.pending == simulation.open_leads == 0


def test_it_stops_at_the_given_instant() -> None:
    until = START_MS + 3 * DAY
    last = list(Simulation(10, until_ms=until).events())[-1]
    assert until - 6 * HOUR < last.at_ms <= until


def hours(events: Iterable[Delivery]) -> Iterator[datetime]:
    for d in events:
        yield datetime.fromtimestamp(d.event["occurred_at"] / 1000, UTC)


def test_people_are_there_in_office_hours_and_sales_only_then(clean: list[Delivery]) -> None:
    visits = [d for d in clean if d.event["type"] == "form_submitted"]
    when = Counter((t.weekday() < 5, t.hour) for t in hours(visits))
    office = sum(when[True, hour] for hour in range(8, 16))
    night = sum(when[True, hour] for hour in range(6))
    weekend = sum(n for (working, _), n in when.items() if not working)
    assert office > 2 * night
    assert office > 2 * weekend

    german = {
        d.key
        for d in clean
        if d.event["type"] == "attributes_changed" and d.event["payload"]["fields"].get("country") == "DE"
    }
    calls = [d for d in clean if d.event["type"] in ("accepted", "rejected") and d.key in german]
    assert len(calls) > 20
    assert all(t.weekday() < 5 and 8 <= t.hour < 16 for t in hours(calls))


def test_campaigns_make_peaks() -> None:
    stream = take(Simulation(12, dirt=CLEAN, bots=0), 60_000)
    days = Counter(t.date() for t in hours(d for d in stream if d.event["type"] == "created"))
    working = sorted(n for day, n in days.items() if day.weekday() < 5)
    assert working[-1] > 1.6 * working[len(working) // 2]


def test_the_funnel_narrows_as_one_would_expect(year: list[Delivery]) -> None:
    stream = year
    until = stream[-1].at_ms - 60 * DAY
    leads = {d.key: d.at_ms for d in stream if d.event["type"] == "created"}
    of_age = {key for key, at in leads.items() if at < until}
    assert len(of_age) > 300

    def reached(kind: str) -> float:
        return len({d.key for d in stream if d.event["type"] == kind} & of_age) / len(of_age)

    opened = {
        lead["lead_id"] for d in stream if d.event["type"] == "opened" for lead in d.event["payload"]["leads"]
    }
    assert 0.1 < reached("accepted") < 0.5
    assert reached("accepted") > reached("qualified_by_sales") > 0.04
    assert 0.03 < len(opened & of_age) / len(of_age) < 0.25
    ended = Counter(d.event["type"] for d in stream if d.event["type"] in ("won", "lost"))
    assert 0.15 < ended["won"] / (ended["won"] + ended["lost"]) < 0.65


def test_the_history_is_as_rich_as_the_vocabulary(year: list[Delivery]) -> None:
    kinds = {d.event["type"] for d in year}
    assert kinds >= {
        "page_viewed", "form_submitted", "content_downloaded", "email_sent", "email_delivered", "email_bounced",
        "email_opened", "email_clicked", "email_unsubscribed", "event_registered", "event_attended", "ad_clicked",
        "social_engaged", "survey_answered", "product_used", "engagement_reclassified", "created", "identified",
        "attributes_changed", "consent_changed", "account_matched", "assigned", "touched", "discovery_recorded",
        "objection_raised", "material_shared", "accepted", "rejected", "qualified_by_sales", "recycled",
        "disqualified", "stage_reported", "merged", "opened", "stage_changed", "amount_changed", "won", "lost",
        "close_date_changed", "contract_signed", "delivery_accepted", "onboarding_started", "onboarding_completed",
        "feedback_given", "invoice_paid", "spend_recorded", "budget_set", "target_set", "audience_measured",
        "fx_rate_set", "owner_changed", "source_priority_set",
    }  # fmt: skip
    payloads = [d.event["payload"] for d in year]
    assert {p["agent"] for p in payloads if "agent" in p} == {"human", "proxy", "bot", "unknown"}
    assert {p["source"] for p in payloads if "source" in p} >= {
        "organic_search", "paid_search", "social", "email", "referral", "partner", "direct", "",
    }  # fmt: skip
    assert {p["currency"] for p in payloads if "currency" in p} == {"EUR", "USD", "JPY"}
    assert any(p.get("reason_code") == "other" and p.get("notes") for p in payloads)
    assert all(p.get("reason_code") != "other" or p.get("notes") for p in payloads)


def test_an_anonymous_past_precedes_identification(clean: list[Delivery]) -> None:
    seen: dict[str, int] = {}
    pasts = []
    for d in clean:
        if "anonymous_id" in d.event.get("subject", {}):
            seen[d.key] = seen.get(d.key, 0) + 1
        elif d.event["type"] == "identified":
            pasts.append(seen.get(d.event["payload"]["anonymous_id"], 0))
    assert len(pasts) > 300
    assert sum(1 for n in pasts if n) / len(pasts) > 0.95


def test_without_offline_sales_nobody_answers() -> None:
    stream = take(Simulation(14, offline_sales=False, dirt=CLEAN), 30_000)
    kinds = {d.event["type"] for d in stream}
    assert not kinds & {"touched", "accepted", "rejected", "qualified_by_sales", "opened", "won"}
    assert "form_submitted" in kinds


# the desk


def handoff(n: int, **changes: Any) -> dict[str, Any]:
    return {
        "handoff_id": f"handoff-{n}", "kind": "made", "op": "new", "lead_id": f"lead-{n}", "owner": "owner-1",
        "team": "sales", "silent": False,
        "context": {"qualified_by": "hand_raise", "fit_milli": 80_000,
                    "attributes": {"company": f"company-{n}", "country": "JP", "company_size": "120"}},
    } | changes  # fmt: skip


def test_the_desk_answers_the_handoff_that_was_made() -> None:
    desk, now = SalesDesk(1), START_MS + 10 * HOUR
    answers: Counter[str] = Counter()
    for n in range(200):
        out = desk.on_handoff(handoff(n), now)
        assert [d.at_ms for d in out] == sorted(d.at_ms for d in out)
        for d in out:
            assert d.key == f"lead-{n}" == d.event["subject"]["lead_id"]
            assert d.at_ms >= d.event["occurred_at"] >= now
            assert decode(encode_event(d.event), []).known
            if d.event["type"] in ("touched", "accepted", "rejected"):
                assert d.event["payload"]["handoff_id"] == f"handoff-{n}"
        kinds = Counter(d.event["type"] for d in out)
        assert kinds["accepted"] + kinds["rejected"] <= 1
        answers.update(kinds)
    assert answers["accepted"] > 60
    assert answers["rejected"] > 10
    assert answers["accepted"] + answers["rejected"] < 200


def test_the_desk_answers_once_and_the_same_in_any_order() -> None:
    now = START_MS + 10 * HOUR
    one, other = SalesDesk(1), SalesDesk(1)
    forth = {n: one.on_handoff(handoff(n), now) for n in range(20)}
    back = {n: other.on_handoff(handoff(n), now) for n in reversed(range(20))}
    assert forth == back
    assert one.on_handoff(handoff(3, op="revised"), now) == []


@pytest.mark.parametrize("changes", [{"kind": "historical"}, {"kind": "context_updated"}, {"silent": True}])
def test_the_desk_leaves_alone_what_calls_nobody(changes: dict[str, Any]) -> None:
    assert SalesDesk(1).on_handoff(handoff(1, **changes), START_MS) == []


def test_slow_owners_are_slower_and_some_never_answer() -> None:
    team = [
        Owner("fast", "sales", 20, 0.0),
        Owner("slow", "sales", 2000, 0.0),
        Owner("never", "sales", 60, 1.0),
    ]
    desk, now = SalesDesk(2, team), START_MS + 9 * HOUR

    def waits(owner: str) -> list[int]:
        out = []
        for n in range(40):
            made = handoff(n, owner=owner, handoff_id=f"{owner}-{n}")
            human = [d for d in desk.on_handoff(made, now) if d.event["actor"]["type"] == "human"]
            out += [human[0].event["occurred_at"] - now] if human else []
        return sorted(out)

    fast, slow = waits("fast"), waits("slow")
    assert fast[len(fast) // 2] < 24 * HOUR < 48 * HOUR < slow[len(slow) // 2]
    assert waits("never") == []


def test_accepted_leads_go_on_to_deals_and_customers() -> None:
    desk, now = SalesDesk(3, owners_of(2), hurry=1000), START_MS
    for n in range(120):
        desk.on_handoff(handoff(n), now)
    assert desk.going > 20
    out = []
    while (due := desk.next_due) is not None:
        steps = desk.progress(due)
        assert steps == sorted(steps, key=lambda d: d.at_ms)
        out += steps
    assert desk.going == 0
    kinds = Counter(d.event["type"] for d in out)
    assert kinds["qualified_by_sales"] > kinds["opened"] > kinds["won"] > 0
    assert kinds["contract_signed"] == kinds["won"]
    assert kinds["lost"] > 0
    assert {d.event["payload"]["currency"] for d in out if "currency" in d.event["payload"]} == {"JPY"}
    for d in out:
        assert decode(encode_event(d.event), []).known


def test_a_withdrawn_handoff_is_put_aside() -> None:
    desk = SalesDesk(3, hurry=1000)
    for n in range(40):
        desk.on_handoff(handoff(n), START_MS)
    for n in range(40):
        desk.on_handoff(handoff(n, kind="withdrawn"), START_MS)
    assert desk.going == 0
    assert desk.progress(START_MS + 1000 * DAY) == []


def test_the_simulation_takes_the_answers_of_a_desk_in_their_place() -> None:
    simulation, desk = Simulation(4, offline_sales=False, dirt=CLEAN), SalesDesk(4)
    stream = simulation.events()
    first = next(stream)
    answers = [d for n in range(5) for d in desk.on_handoff(handoff(n), first.at_ms)]
    simulation.add(answers)
    times, met = [first.at_ms], 0
    for d in stream:
        times.append(d.at_ms)
        met += d in answers
        if met == len(answers):
            break
    assert met == len(answers) > 0
    assert times == sorted(times)


def test_the_command_prints_events_as_ndjson() -> None:
    lines: list[str] = []
    assert main(["--events", "50", "--seed", "2"], lines.append) == 0
    events = [json.loads(line) for line in lines]
    assert len(events) == 50
    assert all(decode(line.encode(), []).known for line in lines)

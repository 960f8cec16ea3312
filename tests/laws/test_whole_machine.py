"""A machine that draws any history of everybody, legal and illegal, through the topology on four partitions.

Leads, their visitors, deals and accounts; merges and their way back, erasures, three definitions, owners; records on the
wrong partition, too early, late, twice, or no events at all; crashes, outages and the silence while catching up. After
each step every row is the reference fold of its facts, holds the facts that were published and no others, and subscribers
hold what is decided.
"""

from __future__ import annotations

from typing import Any

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from processors import ledger, links, versions
from processors.days import DAY
from processors.definition.model import HOUR
from processors.fold import reference
from processors.model import Row, encode, load
from processors.subject import effective
from tests.strategies import FITS, LAGS, T0, Sent, at, deals, histories, law_text, moments, sent
from tests.subscriber import Subscriber
from tests.world import LAW, OWNERS, Funnel, decided

LEADS, VISITORS, DAYS = ("lead-1", "lead-2"), ("visitor-1", "visitor-2"), 20
TOPICS = ("stage_changes", "handoffs", "sla", "nurture", "handovers")
_VISITS: list[tuple[str, dict[str, Any]]] = [
    ("page_viewed", {"url": "https://example.org/pricing"}),
    ("content_downloaded", {"asset_id": "v"}),
    ("form_submitted", {"form_id": "f", "intent": "hand_raise"}),
    ("email_clicked", {"send_id": "s1", "agent": "human"}),
    ("attributes_changed", {"fields": FITS}),
    ("consent_changed", {"purpose": "profiling", "granted": False}),
    ("consent_changed", {"purpose": "sales_contact", "granted": False}),
    ("accepted", {}),
]  # fmt: skip


@st.composite
def people(draw: st.DrawFn) -> list[Sent]:
    """Who is who, and who wants to be forgotten."""
    out: list[Sent] = []

    def add(type_: str, payload: dict[str, Any], subject: dict[str, str], after: int = 0) -> int:
        t = max(draw(moments(DAYS)), after)
        known = t + draw(LAGS)
        out.append(sent(type_, t, 900 + len(out), payload, subject=subject, recorded_at=known))
        return t

    for _ in range(draw(st.integers(0, 3))):
        type_, payload = draw(st.sampled_from(_VISITS))
        add(type_, payload, {"anonymous_id": draw(st.sampled_from(VISITORS))})
    for _ in range(draw(st.integers(0, 2))):
        visitor, lead = draw(st.sampled_from(VISITORS)), draw(st.sampled_from(LEADS))
        add("identified", {"anonymous_id": visitor, "lead_id": lead}, {"lead_id": lead})
    for _ in range(draw(st.integers(0, 2))):
        loser, winner = draw(st.permutations(LEADS))
        t = add("merged", {"loser": loser, "winner": winner}, {"lead_id": winner})
        if draw(st.booleans()):
            of = out[-1].wire["source_event_id"]
            add("unmerged", {"merge_event_id": of}, {"lead_id": winner}, t)
    if draw(st.integers(0, 3)) == 0:
        lead = draw(st.sampled_from(LEADS))
        add(
            "erased",
            {"request_id": "r"},
            draw(st.sampled_from([{"lead_id": lead}] * 3 + [{"anonymous_id": VISITORS[0]}])),
        )
    return out


@st.composite
def accounts(draw: st.DrawFn) -> list[Sent]:
    """What customers do."""
    money = {"amount": 77, "currency": "EUR"}
    facts: list[tuple[str, dict[str, Any]]] = [
        ("delivery_accepted", {}), ("invoice_paid", money), ("invoice_refunded", money),
        ("expanded", {"kind": "upsell", "amount": 5, "currency": "USD"}), ("churned", {}),
        ("onboarding_started", {}), ("onboarding_completed", {}), ("contracted", {"amount": 3}),
        ("contract_signed", {"contract_id": "c-1", "starts": "2026-03-05", "ends": "2026-03-31", "notice_days": 9} | money),
        ("renewed", {"contract_id": "c-1", "amount": 9}), ("feedback_given", {"kind": "nps", "score": 9}),
    ]  # fmt: skip
    chosen = draw(st.lists(st.tuples(st.sampled_from(facts), moments(DAYS)), max_size=3))
    return [
        sent(type_, t, 980 + n, payload, topic="deal", subject={"account_id": "acc-1"})
        for n, ((type_, payload), t) in enumerate(chosen)
    ]


_EVERYTHING = st.tuples(
    histories(LEADS, most=8, days=DAYS, lagged=True),
    deals(LEADS, most=3, days=DAYS, lagged=True),
    people(),
    accounts(),
).map(lambda found: sorted((x for part in found for x in part), key=lambda x: (x.recorded_at, x.offset)))

#: What is no event, or none that can be taken, and why.
_RUBBISH: list[tuple[str, bytes | None]] = [
    ("null_value", None),
    ("bad_json", b"{"),
    ("bad_subject", sent("page_viewed", at(1), 1, {"url": "/"}, subject={"lead_id": "a@example.org"}).value),
    ("too_early", sent("page_viewed", 1000, 1, {"url": "/"}).value),
    ("too_far", sent("page_viewed", at(4000), 1, {"url": "/"}).value),
    ("missing_field", sent("rejected", at(1), 1, {}).value),
]  # fmt: skip


def key_of(x: Sent) -> str:
    kind, id_ = next(iter(x.wire["subject"].items()))
    return {"lead_id": "l:", "anonymous_id": "a:", "deal_id": "d:", "account_id": "c:"}[kind] + id_


class Whole(RuleBasedStateMachine):
    def __init__(self) -> None:
        super().__init__()
        self.f = Funnel(LAW, T0, owners=OWNERS)
        for version, when, changes in ((2, at(9, 12), {"up": 24, "touch": "1h"}), (3, at(15), {"up": 40})):
            toml = law_text(version=version, **changes)
            self.f.learn(
                "definition_published", T0 - DAY, name="laws", version=version, toml=toml, effective_at=when
            )
        assert len(self.f.topology.definitions) == 3
        self.version = 3
        self.waiting: list[Sent] = []
        self.sent: list[Sent] = []
        self.subscriber = Subscriber()
        self.heard = dict.fromkeys(TOPICS, 0)
        self.rubbish: list[str] = []
        self.judged = True

    @initialize(history=_EVERYTHING)
    def begin(self, history: list[Sent]) -> None:
        self.waiting = history

    @precondition(lambda self: self.waiting)
    @rule(
        n=st.integers(1, 8), ahead=st.integers(0, 3), early=st.booleans(), batch=st.sampled_from([1, 3, 4000])
    )
    def deliver(self, n: int, ahead: int, early: bool, batch: int) -> None:
        """Some records, now and then those that other topics bring earlier; or read before they are due."""
        some = self.waiting[ahead : ahead + n] or self.waiting[:n]
        self.waiting = [x for x in self.waiting if x not in some]
        now = max(self.f.now, *(x.recorded_at for x in some))
        if not early or any(x.t > self.f.now + DAY for x in some):
            self.f.until(now)
        self._publish(some, batch)

    @precondition(lambda self: self.waiting)
    @rule(off=st.integers(1, 3))
    def deliver_to_the_wrong_partition(self, off: int) -> None:
        x = self.waiting.pop(0)
        self.f.until(max(self.f.now, x.recorded_at))
        home = self.f.topology.partition_of(key_of(x)[2:])
        self._publish([x], partition=(home + off) % 4)

    def _publish(self, some: list[Sent], batch: int = 4000, partition: int | None = None) -> None:
        for x in some:
            self.f.publish(x, partition=partition)
        self.sent += some
        self.f.driver.run(batch)
        self.judged = False

    @precondition(lambda self: self.sent and self.f.driver.live)
    @rule(data=st.data())
    def deliver_again(self, data: st.DataObject) -> None:
        self.f.until(self.f.now)
        before = self._outputs()
        again = data.draw(st.sampled_from(self.sent))
        self.f.publish(again)
        self.f.driver.run()
        assert self._outputs() == before

    @rule(what=st.sampled_from(_RUBBISH))
    def rubbish_is_a_dead_letter(self, what: tuple[str, bytes | None]) -> None:
        code, value = what
        self.rubbish.append(code)
        before = self.f.topology.totals()
        self.f.driver.publish(self.f.settings.topics.lead, b"lead-1", value)
        self.f.driver.run()
        assert sorted(x["code"] for x in self.f.dead() if x["code"] != "conflicting_payload") == sorted(
            self.rubbish
        )
        assert self.f.topology.totals() == before

    @precondition(lambda self: self.version < 5)
    @rule(
        name=st.sampled_from(["laws", "others"]), up=st.sampled_from([22, 30, 45]), ahead=st.integers(0, 3),
        sweep=st.booleans(),
    )  # fmt: skip
    def another_definition(self, name: str, up: int, ahead: int, sweep: bool) -> None:
        """In force at once or in some days; a newer version of the same name overtakes older ones to come."""
        self.version += 1
        toml = law_text(version=self.version, up=up, touch="3h").replace('name = "laws"', f'name = "{name}"')
        toml += f"holidays = [2026-03-{self.version:02}, 2026-03-1{self.version}]\n"
        self.f.learn(
            "definition_published", self.f.now, name=name, version=self.version, toml=toml, sweep=sweep,
            effective_at=self.f.now + ahead * DAY,
        )  # fmt: skip
        assert not self.f.topology.reference.problems
        self.f.driver.run()
        self.judged = False

    @rule(hours=st.sampled_from([1, 5, 40, 400]))
    def time_passes(self, hours: int) -> None:
        self.f.until(self.f.now + hours * HOUR)
        self.judged = False

    @rule()
    def crash(self) -> None:
        before = self.f.topology.totals()
        self.f.restart()
        assert self.f.topology.totals() == before

    @rule()
    def catch_up(self) -> None:
        """Another worker takes over, reads its past in silence, and speaks; or an outage ends."""
        self.f.restart()
        if self.f.driver.live:
            self.f.driver.live = False
        else:
            self.f.driver.catch_up()
            self.judged = False

    def _outputs(self) -> int:
        return sum(len(list(self.f.driver.read(getattr(self.f.settings.topics, x)))) for x in TOPICS)

    @invariant()
    def nothing_fails(self) -> None:
        assert not self.f.topology.counts["fold_errors",]
        assert not any(self.f.topology.failing_by_partition().values())

    @invariant()
    def all_is_as_it_should_be(self) -> None:
        if self.judged or not self.f.driver.live:
            return
        self.judged = True
        rows = {k.decode(): load(v) for k, v in self.f.driver.all_rows()}
        for topic in TOPICS:  # it raises where a sequence has a gap
            self.subscriber = Subscriber() if topic == TOPICS[0] else self.subscriber
            self.subscriber.take_all(self.f.driver.read(getattr(self.f.settings.topics, topic)))
        published: dict[str, set[int]] = {}
        for x in self.sent:
            published.setdefault(key_of(x), set()).add(x.event.b >> 16)
        assert {k for k in rows if rows[k].ledger} <= published.keys()
        for key, row in rows.items():
            if key[0] in "la":
                self._is_sound(key, row, published.get(key, set()))
        assert self.f.total("alias_drift") == 0

    def _is_sound(self, key: str, row: Row, published: set[int]) -> None:
        own = [b >> 16 for _, b, _, _ in ledger.items(row.ledger, row.data)]
        assert len(own) == len(set(own))
        if row.erasures:
            assert published.issuperset(own)
            return
        assert published == set(own)
        scope = self.f.topology.scope(key.encode())
        assert not versions.catch_up(row, scope), "sets timers that a worker keeps in memory"
        links.claim(row, scope)
        assert encode(row.head) == encode(reference(effective(row), self.f.now, scope))
        if key[0] == "l" and not row.sent and not row.members:
            held = {
                id_
                for name in ("stage_change", "handoff", "sla", "nurture")
                for id_ in self.subscriber.holding(name, key[2:])
            }
            assert held == set(decided(key, row.head))


TestWhole = Whole.TestCase
TestWhole.settings = settings(stateful_step_count=12)

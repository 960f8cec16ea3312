"""Customers and attribution through the whole topology: deals, their accounts and their leads, by the inbox."""

from __future__ import annotations

from typing import Any

from processors import additive, attribution, columns, figures, market
from processors.additive import Contribution
from processors.days import DAY, day_number
from processors.model import GENERATED, load
from tests.strategies import T0
from tests.world import Funnel


class Business(Funnel):
    def account(self, type_: str, t: int, **payload: Any) -> None:
        from tests.strategies import sent

        self.n += 1
        what = sent(type_, t, self.n, payload, topic="deal", subject={"account_id": "acc-1"}, recorded_at=t)
        self.driver.advance(max(self.now, t))
        self.publish(what)
        self.driver.run()

    def handovers(self) -> list[dict[str, Any]]:
        return self.out("handovers", "acc-1")

    def fine(self) -> Contribution:
        out: Contribution = {}
        for key, data in self.driver.all_rows():
            name = key.decode()
            additive.add(out, figures.of_row(name, load(data), self.topology.scope(key)).items())
        return out

    def booked(self) -> int:
        total = 0
        for key, n in self.fine().items():
            if key[:2] == ("deal_amount_on", "won"):
                total += n
            elif key[0] == "booked_on":
                total += attribution.SIGN[key[1]] * n
        return total

    def checked(self) -> Contribution:
        """Totals are the sum of the rows, and Σ credit = booked revenue by every model."""
        totals = {k: n for k, n in self.topology.totals().items() if n}
        coarse: Contribution = {}
        for key, data in self.driver.all_rows():
            scope = self.topology.scope(key)
            additive.add(coarse, figures.of_row(key.decode(), load(data), scope, None, False).items())
        assert totals == {k: n for k, n in coarse.items() if n}
        for model in self.definition.attribution.models:
            credit = sum(n for k, n in self.fine().items() if k[:2] == ("attributed_on", model))
            assert (
                credit == sum(n for k, n in totals.items() if k[:2] == ("attributed", model)) == self.booked()
            )
        return totals


def test_from_the_first_touch_to_renewal_refund_and_win_back() -> None:
    f = Business(now=T0)
    for n, lead in enumerate(("lead-1", "lead-2")):
        f.say("page_viewed", T0 + n, {"url": "https://example.org/?utm_medium=social"}, lead=lead)
        f.say("created", T0 + 10, {"source": "website", "generated_by": "marketing"}, lead=lead)
        f.say("page_viewed", T0 + DAY + n, {"url": "https://example.org/?utm_medium=email"}, lead=lead)
    money = {"amount": 1001, "currency": "EUR"}
    leads = [{"lead_id": "lead-1"}, {"lead_id": "lead-2"}]
    f.say(
        "opened",
        T0 + 2 * DAY,
        {"account_id": "acc-1", "leads": leads, "pipeline": "p", "stage": "s"} | money,
        deal="d-1",
    )
    assert f.handovers() == []
    f.say("won", T0 + 3 * DAY, money, deal="d-1")
    (said,) = f.handovers()
    assert (said["kind"], said["deal_id"], said["amount_minor"]) == ("delivery_handover", "d-1", 1001)
    assert said["context"] == {"won_on": "2026-03-04", "pipeline": "p", "leads": "lead-1, lead-2"}
    totals = f.checked()
    assert totals["customer", "handed_over"] == 1
    assert (
        totals["attributed", "linear", "social", "EUR"] + totals["attributed", "linear", "email", "EUR"]
        == 1001
    )
    f.account("onboarding_started", T0 + 4 * DAY)
    f.account(
        "contract_signed",
        T0 + 5 * DAY,
        contract_id="c-1",
        starts="2026-04-01",
        ends="2027-03-31",
        amount=1001,
        currency="EUR",
        notice_days=30,
    )
    f.account("onboarding_completed", T0 + 6 * DAY)
    f.account("invoice_refunded", T0 + 7 * DAY, amount=500, currency="EUR")
    totals = f.checked()
    assert totals["attributed", "last", "email", "EUR"] == 501
    f.restart()
    f.checked()
    due = day_number(2027, 3, 1) * DAY
    f.until(due)
    assert f.handovers()[-1]["kind"] == "renewal_due"
    assert f.checked()["customer", "renewal_due"] == 1
    f.account("renewed", due + DAY, contract_id="c-1", amount=1100)
    f.account("expanded", due + 2 * DAY, kind="upsell", amount=70)
    assert f.checked()["attributed", "first", "unattributed", "EUR"] == 1170
    assert len(f.head().journeys) == 1
    f.account("churned", due + 3 * DAY, reason_code="price")
    for lead in ("lead-1", "lead-2"):
        journeys = f.head(lead).journeys
        assert [GENERATED[j.generated] for j in journeys] == ["marketing", "win_back"]
    assert f.checked()["churned", "price"] == 1
    assert [r["sequence"] for r in f.handovers()] == list(range(1, len(f.handovers()) + 1))


def test_case_34_won_reopened_lost_takes_everything_back() -> None:
    f = Business(now=T0)
    money = {"amount": 900, "currency": "EUR"}
    f.say(
        "opened",
        T0,
        {"account_id": "acc-1", "leads": [{"lead_id": "lead-1"}], "pipeline": "p", "stage": "s"} | money,
        deal="d-1",
    )
    f.say("won", T0 + DAY, money, deal="d-1")
    assert f.checked()["attributed", "last", "unattributed", "EUR"] == 900
    f.say("reopened", T0 + 2 * DAY, deal="d-1")
    f.say("lost", T0 + 3 * DAY, {"reason_code": "price"}, deal="d-1")
    totals = f.checked()
    assert not [k for k in totals if k[0] in ("attributed", "customer", "booked")]
    assert [r["op"] for r in f.handovers()] == ["new", "withdrawn"]


def test_case_26_a_deal_without_lead_or_account_is_booked_to_nobody() -> None:
    f = Business(now=T0)
    money = {"amount": 900, "currency": "EUR"}
    f.say("opened", T0, {"leads": [], "pipeline": "p", "stage": "s"} | money, deal="d-1")
    f.say("won", T0 + DAY, money | {"closed_at": T0 + 40 * DAY}, deal="d-1")
    assert f.checked()["attributed", "w", "unattributed", "EUR"] == 900
    assert f.fine()["new_customer_on", T0 // DAY + 40] == 1


def test_a_late_touch_moves_the_credit() -> None:
    f = Business(now=T0)
    money = {"amount": 900, "currency": "EUR"}
    f.say("opened", T0, {"leads": [{"lead_id": "lead-1"}], "pipeline": "p", "stage": "s"} | money, deal="d-1")
    f.say("won", T0 + DAY, money, deal="d-1")
    assert f.checked()["attributed", "last", "unattributed", "EUR"] == 900
    f.say(
        "page_viewed", T0 - DAY, {"url": "https://example.org/?utm_medium=social"}, recorded_at=T0 + 2 * DAY
    )
    assert f.checked()["attributed", "last", "social", "EUR"] == 900


def test_credit_stays_when_the_ledger_is_cut() -> None:
    f = Business(now=T0)
    money = {"amount": 900, "currency": "EUR"}
    f.say("page_viewed", T0, {"url": "https://example.org/?utm_medium=social"})
    f.say(
        "opened",
        T0,
        {"account_id": "acc-1", "leads": [{"lead_id": "lead-1"}], "pipeline": "p", "stage": "s"} | money,
        deal="d-1",
    )
    f.say("won", T0 + DAY, money, deal="d-1")
    f.account("invoice_refunded", T0 + 2 * DAY, amount=100, currency="EUR")
    for n in range(200):
        f.say("page_viewed", T0 + (3 + 3 * n) * DAY, {"url": "https://example.org/"})
    assert f.row().base
    assert f.checked()["attributed", "last", "social", "EUR"] == 800


def test_what_a_deal_did_within_one_instant_its_account_sees_in_the_deals_order() -> None:
    f = Business(now=T0)
    money = {"amount": 900, "currency": "EUR"}
    f.say(
        "opened", T0, {"account_id": "acc-1", "leads": [], "pipeline": "p", "stage": "s"} | money, deal="d-1"
    )
    for n in range(6):
        f.say("won", T0 + DAY, money, deal="d-1", source_seq=2 * n)
        f.say("reopened", T0 + DAY, deal="d-1", source_seq=2 * n + 1)
        assert "new_customer_on" not in {k[0] for k in f.fine()}
        assert f.checked().get(("customer", "handed_over"), 0) == 0


def test_market_events_are_learned_whole() -> None:
    f = Business(now=T0)
    spend = {
        "channel": "social",
        "period_start": "2026-03-01",
        "period_end": "2026-03-10",
        "amount": 100,
        "currency": "EUR",
        "kind": "media",
        "team": "marketing",
    }
    f.learn("spend_recorded", T0, **spend)
    found = market.contribution(f.topology.market, f.topology.reference, "EUR", T0 // DAY + 4)
    assert sum(found.values()) == 50
    assert all(len(k) - 1 == len(columns.COLUMNS[k[0]]) for k in found)

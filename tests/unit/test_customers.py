"""Accounts: from the first won deal to renewal, churn and win-back; what is said, told and counted."""

from __future__ import annotations

from fractions import Fraction
from typing import Any

import pytest
from msgspec.structs import replace

from processors import accounts, attribution, customers, ledger
from processors.accounts import Retention, of_customer, process, renewal_rate, retention
from processors.additive import EMPTY
from processors.compiled import compile_definition
from processors.customers import Customer
from processors.days import DAY, day_number
from processors.definition.model import HOUR
from processors.events import KIND, Event
from processors.ledger import Item
from processors.model import NEVER, Member, Row, dump, load
from processors.subject import Told
from tests.account_world import ME, SCOPE, Account, D, contract, fact, folded, item, share
from tests.strategies import T0, default_definition, sent

# The life of a customer ----------------------------------------------------------------------------------------------


def test_from_the_first_won_deal_to_renewal_and_churn() -> None:
    life: list[tuple[Event | Item, str]] = [
        (share(T0, 1, "share_opened"), "prospect"),
        (share(T0 + DAY, 2), "handed_over"),
        (fact("delivery_accepted", T0 + 2 * DAY, 3), "handed_over"),
        (fact("onboarding_started", T0 + 3 * DAY, 4), "onboarding"),
        (contract(T0 + 3 * DAY + 1, 5, "2026-04-01", "2027-03-31"), "onboarding"),
        (fact("onboarding_completed", T0 + 20 * DAY, 6), "active"),
        (fact("expanded", T0 + 30 * DAY, 7, {"kind": "upsell", "amount": 300}), "expanded"),
        (fact("contracted", T0 + 40 * DAY, 8, {"amount": 100}), "contracted"),
        (fact("renewed", T0 + 390 * DAY, 9, {"contract_id": "c-1", "amount": 1500}), "renewed"),
        (fact("churned", T0 + 400 * DAY, 10, {"reason_code": "price"}), "churned"),
        (share(T0 + 450 * DAY, 11, "share_opened", deal="deal-2"), "win_back"),
        (share(T0 + 460 * DAY, 12, deal="deal-2"), "handed_over"),
    ]
    for n in range(len(life)):
        c = folded(*(e for e, _ in life[: n + 1]), now=item(life[n][0])[0] >> 22)
        assert c.status == life[n][1]
    assert c.since == T0 + 460 * DAY
    assert c.joins == ((T0 + DAY, "new"), (T0 + 460 * DAY, "returned"))
    assert c.onboardings == ((T0 + 3 * DAY, T0 + 20 * DAY),)
    assert c.takeovers == ((T0 + DAY, T0 + 2 * DAY),)
    assert c.acquired == T0 + DAY


def test_a_contract_shows_that_an_imported_account_is_a_customer_but_no_new_one() -> None:
    c = folded(contract(T0, 1, "2026-01-01", "2026-12-31"), now=T0)
    assert (c.status, c.joins, c.acquired) == ("active", ((T0, "implied"),), 0)
    assert ("new_customer_on", T0 // DAY) not in of_customer(c, SCOPE)


def test_signed_before_it_was_won_is_still_handed_over() -> None:
    c = folded(contract(T0, 1, "2026-04-01", "2027-03-31"), share(T0 + HOUR, 2), now=T0 + DAY)
    assert (c.status, c.joins) == ("handed_over", ((T0, "new"),))
    handover = c.handovers["acc-1/delivery_handover/1"]
    assert handover.context["contract"] == "c-1"


def test_onboarding_that_began_before_the_win_was_told_has_taken_over() -> None:
    c = folded(fact("onboarding_started", T0, 1), share(T0 + HOUR, 2), now=T0 + DAY)
    assert c.status == "onboarding"
    assert c.handovers["acc-1/delivery_handover/1"].context["accepted_on"] == "2026-03-01"


def test_a_second_win_hands_nothing_over_again() -> None:
    c = folded(share(T0, 1), share(T0 + DAY, 2, deal="deal-2"))
    assert list(c.handovers) == ["acc-1/delivery_handover/1"]
    assert c.joins == ((T0, "new"),)


def test_case_34_won_reopened_lost_is_no_customer() -> None:
    a = Account()
    a.feed(T0, share(T0, 1))
    assert a.totals["new_customer_on", T0 // DAY] == 1
    a.feed(T0 + DAY, share(T0 + DAY, 2, "share_reopened"))
    assert a.standing() == {}
    assert [r["op"] for r in a.published] == ["new", "withdrawn"]
    a.feed(T0 + 2 * DAY, share(T0 + 2 * DAY, 3, "share_lost"))
    assert a.totals == {}
    a.feed(T0 + 3 * DAY, share(T0 + 3 * DAY, 4))
    assert [r["occurred_at"] for r in a.standing().values()] == [T0 + 3 * DAY]


def test_case_34_what_delivery_has_taken_is_not_taken_back() -> None:
    c = folded(share(T0, 1), fact("delivery_accepted", T0 + HOUR, 2), share(T0 + DAY, 3, "share_reopened"))
    assert list(c.handovers) == ["acc-1/delivery_handover/1"]
    assert (c.status, c.acquired) == ("handed_over", 0)
    signed = folded(share(T0, 1), contract(T0 + 1, 2, "2026-04-01", "2029-03-31"), share(T0 + DAY, 3, "share_lost"), now=T0 + DAY)  # fmt: skip
    assert (signed.status, signed.joins) == ("active", ((T0, "implied"),))
    assert signed.handovers == {}


def test_another_win_carries_the_handover_on() -> None:
    c = folded(share(T0, 1), share(T0 + 1, 2, amount=7, deal="deal-2"), share(T0 + DAY, 3, "share_gone"))
    handover = c.handovers["acc-1/delivery_handover/1"]
    assert (handover.deal, handover.amount) == ("deal-2", 7)


# Renewals ------------------------------------------------------------------------------------------------------------


def due_on(c: Customer) -> list[tuple[str, int]]:
    return [(x.outcome, x.due // DAY) for x in c.terms]


def test_a_renewal_is_due_by_timer_so_many_days_before_the_end() -> None:
    a = Account()
    due = day_number(2027, 3, 1) * DAY  # 31 March less 30 days
    row = a.feed(T0, share(T0, 1), contract(T0, 2, "2026-04-01", "2027-03-31"))
    assert row.head.due == due
    row = a.feed(due - 1)
    assert [r["kind"] for r in a.published] == ["delivery_handover"]
    row = a.feed(due)
    assert row.head.due == NEVER
    said = a.published[-1]
    assert {k: said[k] for k in ("op", "kind", "contract_id", "amount_minor", "currency", "due_at", "occurred_at")} == {
        "op": "new", "kind": "renewal_due", "contract_id": "c-1", "amount_minor": 1200, "currency": "EUR",
        "due_at": due, "occurred_at": due,
    }  # fmt: skip
    assert said["context"] == {"starts": "2026-04-01", "ends": "2027-03-31", "notice_days": "30"}
    assert a.totals["customer", "renewal_due"] == 1
    assert a.totals["renewal_on", "open", due // DAY] == 1
    a.feed(due + DAY, fact("renewed", due + DAY, 3, {"contract_id": "c-1", "amount": 1200}))
    assert a.published[-1]["op"] == "revised"
    assert a.published[-1]["context"]["outcome"] == "renewed"
    assert a.totals["renewal_on", "renewed", due // DAY] == 1
    assert ("customer", "renewal_due") not in a.totals


def test_a_renewal_at_the_very_instant_is_in_time() -> None:
    due = day_number(2027, 3, 1) * DAY
    events = [
        contract(T0, 2, "2026-04-01", "2027-03-31"),
        fact("renewed", due, 3, {"contract_id": "c-1", "amount": 1}),
    ]
    c = folded(*events, now=due)
    assert c.status == "renewed"
    assert not c.handovers
    assert due_on(c) == [("renewed", due // DAY), ("", day_number(2028, 3, 1))]


def test_renewed_too_late_takes_nothing_back_but_a_late_message_of_an_early_one_does() -> None:
    due = day_number(2027, 3, 1) * DAY
    a = Account()
    a.feed(due, contract(T0, 1, "2026-04-01", "2027-03-31"))
    assert len(a.standing()) == 1
    a.feed(due + DAY, fact("renewed", due - DAY, 2, {"contract_id": "c-1", "amount": 1200}))
    assert a.standing() == {}


@pytest.mark.parametrize(
    ("first", "last", "until"),
    [
        ("2026-04-01", "2027-03-31", "2028-03-31"),  # a year that has a leap day
        ("2026-01-31", "2026-02-27", "2026-03-27"),  # 28 days
        ("2026-01-15", "2026-04-14", "2026-07-14"),  # three months
        ("2026-12-01", "2026-12-31", "2027-01-31"),
    ],
)
def test_a_contract_is_prolonged_by_as_long_as_it_ran(first: str, last: str, until: str) -> None:
    renewed = fact("renewed", T0 + HOUR, 2, {"contract_id": "c-1", "amount": 1})
    c = folded(contract(T0, 1, first, last), renewed, now=T0 + HOUR)
    year, month, day = map(int, until.split("-"))
    assert c.terms[-1].ends == day_number(year, month, day)


def test_signed_anew_beyond_its_end_it_is_renewed() -> None:
    c = folded(
        contract(T0, 1, "2026-01-01", "2026-12-31"),
        contract(T0 + 1, 2, "2027-01-01", "2027-12-31", 1500),
        now=T0 + 2,
    )
    assert [x.outcome for x in c.terms] == ["renewed", ""]
    assert c.status == "renewed"
    assert [(x.kind, x.amount) for x in c.recurring] == [("new", 1200), ("renewed_up", 300)]
    amended = folded(
        contract(T0, 1, "2026-01-01", "2026-12-31"),
        contract(T0 + 1, 2, "2026-01-01", "2027-06-30"),
        now=T0 + 2,
    )
    assert [(x.outcome, x.ends) for x in amended.terms] == [("", day_number(2027, 6, 30))]


def test_a_contract_amended_after_its_renewal_fell_due() -> None:
    due = day_number(2026, 12, 1) * DAY
    longer = folded(
        contract(T0, 1, "2026-01-01", "2026-12-31"),
        contract(due + 1, 2, "2026-01-01", "2027-12-31"),
        now=due + 1,
    )
    assert [x.outcome for x in longer.terms] == ["renewed", ""]
    cheaper = folded(
        contract(T0, 1, "2026-01-01", "2026-12-31"),
        contract(due + 1, 2, "2026-01-01", "2026-12-31", 900),
        now=due + 1,
    )
    assert [(x.outcome, x.fired, x.amount) for x in cheaper.terms] == [("", True, 900)]
    assert cheaper.status == "renewal_due"


def test_another_contract_keeps_waiting_for_its_renewal() -> None:
    events = [
        contract(T0, 1, "2026-01-01", "2026-12-31"),
        contract(T0, 2, "2026-01-01", "2026-12-31", of="c-2"),
        fact("renewed", T0 + 300 * DAY, 3, {"contract_id": "c-1", "amount": 1}),
        fact("expanded", T0 + 301 * DAY, 4, {"kind": "cross_sell", "amount": 5}),
    ]
    assert folded(*events, now=T0 + 310 * DAY).status == "renewal_due"


def test_case_48_back_fill_calls_nobody_but_what_falls_due_later_does() -> None:
    now = T0 + 1000 * DAY
    a = Account()
    old = contract(T0, 1, "2026-01-01", "2026-12-31", backfill=True, recorded_at=now)
    new = contract(T0, 2, "2028-01-01", "2028-12-31", of="c-2", backfill=True, recorded_at=now)
    a.feed(now, old, new, share(T0, 3, backfill=True))
    assert a.published == []
    assert a.totals["new_customer_on", T0 // DAY] == 1
    a.feed(day_number(2028, 12, 1) * DAY)
    assert [r["contract_id"] for r in a.published] == ["c-2"]


def test_nothing_is_said_while_the_past_is_being_read() -> None:
    due = day_number(2027, 3, 1) * DAY
    a = Account()
    a.feed(due + DAY, share(T0, 1), live=False)
    row = a.feed(due + DAY, contract(T0, 2, "2026-04-01", "2027-03-31"), live=False)
    assert a.published == []
    assert row.waiting
    assert a.totals["customer", "renewal_due"] == 1
    row = a.feed(due + DAY, fact("renewed", T0 + DAY, 3, {"contract_id": "c-1", "amount": 9}))
    assert not row.waiting
    assert [(r["op"], r["kind"]) for r in a.published] == [("new", "delivery_handover")]


def test_what_was_said_before_catching_up_is_still_known_after() -> None:
    a = Account()
    a.feed(T0, share(T0, 1))
    a.feed(T0 + HOUR, share(T0 + 1, 2, "share_reopened"), live=False)
    a.feed(T0 + HOUR, share(T0 + 2, 3), live=False)
    a.feed(T0 + HOUR)
    assert [(r["op"], r["occurred_at"]) for r in a.published] == [("new", T0), ("revised", T0 + 2)]


# Delivery ------------------------------------------------------------------------------------------------------------


def test_delivery_gets_the_whole_context_once_and_until_it_accepts() -> None:
    a = Account()
    found = sent("discovery_recorded", T0 - DAY, 7, {"kind": "requirement", "text_ref": "doc-1"}).event
    lead = Member(1, False, (0, 0), *ledger.pack([item(found)]))
    row = load(a.stored)
    process(ME, row, [], [Told(ME, "l:lead-1", 1, lead)], T0, SCOPE)
    a.stored = dump(row)
    a.feed(T0, share(T0, 1))
    a.feed(T0 + 1, contract(T0 + 1, 2, "2026-04-01", "2027-03-31"))
    a.feed(T0 + 2, fact("delivery_accepted", T0 + DAY, 3))  # dated ahead: held until then
    assert [r["op"] for r in a.published] == ["new", "revised"]
    assert load(a.stored).held == T0 + DAY
    a.feed(T0 + DAY)
    a.feed(T0 + 2 * DAY, fact("expanded", T0 + 2 * DAY, 4, {"kind": "upsell", "amount": 1}))
    a.feed(T0 + 2 * DAY, share(T0 + 2 * DAY, 5, "share_amount", 5000))
    (said,) = a.standing().values()
    assert len(a.published) == 3
    assert (said["deal_id"], said["amount_minor"], said["currency"], said["due_at"]) == (
        "deal-1",
        1000,
        "EUR",
        None,
    )
    assert said["context"] == {
        "won_on": "2026-03-01", "pipeline": "p", "leads": "lead-1, lead-2", "contract": "c-1",
        "starts": "2026-04-01", "ends": "2027-03-31", "discovered: requirement": "doc-1", "accepted_on": "2026-03-02",
    }  # fmt: skip
    assert a.totals["takeover_on", T0 // DAY + 1, 1] == 1


def test_who_left_before_delivery_took_over() -> None:
    c = folded(share(T0, 1), fact("churned", T0 + DAY, 2))
    assert c.handovers["acc-1/delivery_handover/1"].context["churned_on"] == "2026-03-02"
    assert of_customer(c, SCOPE)["churned", EMPTY] == 1
    again = folded(share(T0, 1), fact("churned", T0 + DAY, 2), fact("churned", T0 + 2 * DAY, 3))
    assert len(again.churns) == 1


# Money ---------------------------------------------------------------------------------------------------------------


def test_case_45_amounts_stay_in_the_currency_they_came_in() -> None:
    c = folded(
        share(T0, 1, currency="KWD"),
        fact("expanded", T0 + 1, 2, {"kind": "upsell", "amount": 5}),  # of the deal
        contract(T0 + 2, 3, "2026-04-01", "2027-03-31", payload={"currency": "JPY"}),
        fact("expanded", T0 + 3, 4, {"kind": "cross_sell", "amount": 7}),  # of the contract
        fact("renewed", T0 + 4, 5, {"contract_id": "c-9", "amount": 11, "currency": "USD"}),
        fact("contracted", T0 + 5, 6, {"amount": 0}),
        fact("invoice_paid", T0 + 6, 7, {"amount": 90, "currency": "EUR"}),
        fact("invoice_refunded", T0 + 7, 8, {"amount": 30, "currency": "EUR"}),
        now=T0 + HOUR,
    )
    assert [(x.kind, x.amount, x.currency) for x in c.bookings] == [
        ("upsell", 5, "KWD"), ("cross_sell", 7, "JPY"), ("renewed", 11, "USD"), ("contracted", 0, "JPY"),
        ("refunded", 30, "EUR"),
    ]  # fmt: skip
    found = of_customer(c, SCOPE)
    day = T0 // DAY
    assert found["paid_on", "EUR", day] == 90
    assert found["booked_on", "refunded", "EUR", day] == 30
    assert found["bookings_on", "contracted", "JPY", day] == 1  # nothing, and counted
    assert ("booked_on", "contracted", "JPY", day) not in found
    assert accounts.collected(found["paid", "EUR"], found["booked", "refunded", "EUR"]) == 60
    base = folded(fact("contracted", T0, 1, {"amount": 3}))
    assert base.bookings[0].currency == "EUR"


def test_every_label_is_declared() -> None:
    columns = accounts.COLUMNS | attribution.COLUMNS
    del columns["credited_on"]  # an account has no touches
    c = folded(
        share(T0, 1), fact("delivery_accepted", T0, 2), fact("onboarding_started", T0, 3),
        fact("onboarding_completed", T0 + DAY, 4), fact("onboarding_started", T0 + 2 * DAY, 5),
        contract(T0 + 2 * DAY, 6, "2026-04-01", "2027-03-31"), fact("invoice_paid", T0, 7, {"amount": 1, "currency": "EUR"}),
        fact("feedback_given", T0, 8, {"kind": "nps", "score": 9}), fact("feedback_given", T0, 9, {"kind": "nps"}),
        fact("expanded", T0 + 3 * DAY, 10, {"kind": "upsell", "amount": 9}), fact("churned", T0 + 99 * DAY, 11),
    )  # fmt: skip
    found = of_customer(c, SCOPE)
    assert {k[0] for k in found} == columns.keys()
    assert all(len(k) - 1 == len(columns[k[0]]) for k in found)
    assert found["onboarding_on", T0 // DAY + 1, 1] == 1
    assert found["feedback_on", "nps", 9, T0 // DAY] == 1
    coarse = of_customer(c, SCOPE, fine=False)
    assert coarse.items() <= found.items()
    assert {k[0] for k in coarse} == {
        "customer", "churned", "booked", "booked_on", "paid", "paid_on", "attributed",
    }  # fmt: skip


def told_amounts(a: Account) -> dict[str, list[tuple[Any, ...]]]:
    kind = KIND["invoice_refunded"]
    return {lead: [tuple(e[3]) for e in run if e[1] >> 8 & 255 == kind] for lead, run in a.leads().items()}


def test_case_45_a_refund_is_split_over_the_deals_and_leads_it_was_won_by() -> None:
    a = Account()
    a.feed(T0, share(T0, 1, amount=300), share(T0, 2, amount=100, deal="deal-2", leads=(("lead-3", 1, 1),)))
    a.feed(T0, share(T0, 3, amount=999, deal="deal-3", currency="USD"))
    a.feed(T0 + 1, fact("invoice_refunded", T0 + 1, 4, {"amount": 50, "currency": "EUR"}))
    # 300 : 100 are 38 and 12 of 50, the tie of the halves going to the earlier deal
    assert told_amounts(a) == {
        "l:lead-1": [(19, "EUR", "deal-1")],
        "l:lead-2": [(19, "EUR", "deal-1")],
        "l:lead-3": [(12, "EUR", "deal-2")],
    }
    a.feed(T0 + 2, fact("invoice_refunded", T0 + 2, 5, {"amount": 350, "currency": "EUR"}))
    assert {k: sum(x[0] for x in v) for k, v in told_amounts(a).items()} == {
        "l:lead-1": 150, "l:lead-2": 150, "l:lead-3": 100,
    }  # fmt: skip


def test_a_refund_of_a_deal_without_lead_or_of_none_is_nobodys() -> None:
    paid = fact("invoice_refunded", T0 + 1, 2, {"amount": 30, "currency": "EUR"})
    for c in (folded(share(T0, 1, leads=()), paid), folded(paid)):
        assert [(x.kind, x.amount) for x in c.loose] == [("refunded", 30)]
        assert of_customer(c, SCOPE)["attributed", "last", "unattributed", "EUR"] == -30


def test_refund_of_another_currency_and_of_a_free_deal() -> None:
    c = folded(
        share(T0, 1, currency="USD"), share(T0 + 1, 2, amount=0, deal="deal-2", currency="EUR"),
        fact("invoice_refunded", T0 + 2, 3, {"amount": 5, "currency": "JPY"}),
        fact("invoice_refunded", T0 + 3, 4, {"amount": 5, "currency": "EUR"}),
    )  # fmt: skip
    assert [e[3] for e in c.told["lead-1"]] == [[3, "JPY", "deal-2"], [3, "EUR", "deal-2"]]


# Leads ---------------------------------------------------------------------------------------------------------------


def test_churn_begins_a_journey_of_win_back_for_the_leads_that_were_won() -> None:
    a = Account()
    lost = share(T0, 2, "share_lost", deal="deal-2", leads=(("lead-9", 1, 1),))
    a.feed(T0, share(T0, 1), lost)
    assert a.told == []
    churned = fact("churned", T0 + DAY, 3, {"reason_code": "price"})
    a.feed(T0 + DAY, churned)
    assert {to: [(e[1] >> 8 & 255, e[0] >> 22, e[3]) for e in run] for to, run in a.leads().items()} == {
        lead: [(KIND["created"], T0 + DAY, [None, "win_back"])] for lead in ("l:lead-1", "l:lead-2")
    }
    a.feed(T0 + DAY, churned)
    assert len(a.told) == 2
    assert a.totals["churned_on", "price", T0 // DAY + 1] == 1


# Delivery of records -------------------------------------------------------------------------------------------------


def test_case_01_and_02_the_same_identity_again() -> None:
    a = Account()
    first = fact("expanded", T0, 1, {"kind": "upsell", "amount": 3})
    other = fact("expanded", T0, 1, {"kind": "upsell", "amount": 4}, recorded_at=T0 + 5)
    a.feed(T0 + HOUR, other)
    a.feed(T0 + HOUR, first, first)
    assert a.totals["booked", "upsell", "EUR"] == 3
    assert [r.code for r in a.refused] == ["conflicting_payload"]


def test_an_older_message_of_a_deal_is_old_news() -> None:
    row = Row()
    newer, older = (Member(n, False, (0, 0), *ledger.pack([share(T0, n)])) for n in (2, 1))
    process(ME, row, [], [Told(ME, "d:deal-1", 2, newer), Told(ME, "d:deal-1", 1, older)], T0, SCOPE)
    assert row.members["d:deal-1"].version == 2
    process(ME, row, [], [Told(ME, "d:deal-1", 3, None)], T0, SCOPE)
    assert accounts.at("acc-1", row, T0, SCOPE) is None


# Formulas ------------------------------------------------------------------------------------------------------------


def test_retention_by_hand() -> None:
    joined, first, last = 100, 200, 300
    changes = {
        ("new", joined, 100, 100): 1000, ("expanded", joined, 150, 150): 100,  # 1,100 when the period began
        ("renewed_up", joined, 210, 210): 50, ("expanded", joined, 220, 220): 60,
        ("contracted", joined, 100, 230): 70, ("renewed_down", joined, 150, 240): 40, ("churned", joined, 100, 250): 400,
        ("new", 260, 260, 260): 5000, ("expanded", 260, 270, 270): 9,  # joined within the period: not of those
        ("expanded", joined, 271, 271): 33, ("contracted", joined, 271, 272): 30, ("churned", joined, 271, 273): 3,
        ("churned", joined, 100, 301): 700,
    }  # fmt: skip
    r = retention(changes, first, last)
    assert r == Retention(1100, 400, 110, 110)
    assert (r.gross, r.net) == (Fraction(590, 1100), Fraction(700, 1100))
    empty = retention({}, first, last)
    assert (empty.gross, empty.net) == (None, None)


def test_retention_of_the_fold() -> None:
    c = folded(
        contract(T0, 1, "2026-01-01", "2026-12-31"),
        fact("expanded", T0 + 10 * DAY, 2, {"kind": "upsell", "amount": 300}),
        fact(
            "renewed", T0 + 290 * DAY, 3, {"contract_id": "c-1", "amount": 1400}
        ),  # 100 less than it was worth
        fact("contracted", T0 + 300 * DAY, 4, {"amount": 5000}),  # never below nothing
        now=T0 + 301 * DAY,
    )
    day = T0 // DAY
    assert [(x.kind, x.amount) for x in c.recurring] == [
        ("new", 1200), ("expanded", 300), ("renewed_down", 100), ("contracted", 1400),
    ]  # fmt: skip
    rows = {(k[1], *k[3:]): n for k, n in of_customer(c, SCOPE).items() if k[0] == "recurring_on"}
    assert retention(rows, day + 5, day + 290).net == Fraction(1200 + 300 - 100, 1200)
    assert retention(rows, day + 5, day + 290).gross == 1, "still worth more than when the period began"
    assert retention(rows, day + 20, day + 290).gross == Fraction(1400, 1500)
    assert retention(rows, day + 5, day + 300) == Retention(1200, 0, 1200, 0)


def test_no_more_is_lost_than_there_was() -> None:
    """Gross retention was once -200 %: what had been bought within the period was lost of what was there before."""
    c = folded(
        contract(T0, 1, "2026-01-01", "2026-12-31"),
        fact("expanded", T0 + 10 * DAY, 2, {"kind": "upsell", "amount": 2400}),
        fact("contracted", T0 + 11 * DAY, 3, {"amount": 300}),
        fact("churned", T0 + 12 * DAY, 4),
        fact("expanded", T0 + 13 * DAY, 5, {"kind": "upsell", "amount": 70}),
        now=T0 + 14 * DAY,
    )
    day = T0 // DAY
    rows = {(k[1], *k[3:]): n for k, n in of_customer(c, SCOPE).items() if k[0] == "recurring_on"}
    assert retention(rows, day + 5, day + 11) == Retention(1200, 0, 0, 2100)
    assert retention(rows, day + 5, day + 13) == Retention(1200, 1200, 0, 0)
    assert retention(rows, day + 11, day + 13) == Retention(3600, 3300, 300, 0)
    assert retention(rows, day + 14, day + 15).start == 70


def test_renewal_rate_and_customers_at() -> None:
    assert renewal_rate({"renewed": 3, "churned": 1, "open": 1}) == Fraction(3, 5)
    assert renewal_rate({}) is None
    assert accounts.customers_at({1: 3, 5: 2}, {4: 1, 5: 1}, 5) == 2


def test_a_definition_in_force_at_the_time_says_the_day() -> None:
    east = compile_definition(
        replace(default_definition(), time_zone="Asia/Tokyo", effective_at=T0 + 10 * DAY)
    )
    run = [item(contract(T0, 1, "2026-04-01", "2027-03-31")), item(contract(T0 + 11 * DAY, 2, "2026-04-01", "2027-03-31", of="c-2"))]  # fmt: skip
    c = customers.fold("acc-1", run, T0 + 12 * DAY, (D, east))
    assert c is not None
    assert c.terms[0].due - c.terms[1].due == 9 * HOUR

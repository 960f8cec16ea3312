"""An account at work, for tests: its facts, what its deals tell it, its row, and what came of it."""

from __future__ import annotations

from typing import Any

from processors import customers, ledger
from processors.accounts import of_customer, process
from processors.additive import Contribution, move
from processors.compiled import compile_definition
from processors.customers import Customer, Part, account_share
from processors.days import DAY
from processors.events import Event
from processors.ledger import Item
from processors.model import Member, Row, dump, load
from processors.reference import Reference
from processors.say import HANDOVERS
from processors.scope import Scope
from processors.subject import Refused, Told
from schemas.codec import decode_output, encode
from tests.strategies import T0, default_definition, sent

ME = "c:acc-1"
D = compile_definition(default_definition())
SCOPE = Scope(ME, (D,), Reference(), lambda: (None, []))
LEADS = (("lead-1", 1, 2), ("lead-2", 1, 2))


def fact(type_: str, t: int, n: int, payload: dict[str, Any] | None = None, **more: Any) -> Event:
    return sent(type_, t, n, payload, topic="deal", subject={"account_id": "acc-1"}, **more).event


def contract(
    t: int, n: int, first: str, last: str, amount: int = 1200, of: str = "c-1", **more: Any
) -> Event:
    payload = {
        "contract_id": of, "starts": first, "ends": last, "amount": amount, "currency": "EUR", "notice_days": 30,
    }  # fmt: skip
    return fact("contract_signed", t, n, payload | more.pop("payload", {}), **more)


def share(
    t: int,
    n: int,
    name: str = "share_won",
    amount: int = 1000,
    *,
    deal: str = "deal-1",
    leads: tuple[tuple[str, int, int], ...] = LEADS,
    currency: str = "EUR",
    backfill: bool = False,
) -> Item:
    """What a deal tells its account."""
    e = sent("won", t, n, {"amount": amount, "currency": currency}, topic="deal", subject={"deal_id": deal}, backfill=backfill).event  # fmt: skip
    part = Part(deal, amount=amount, currency=currency, pipeline="p", leads=leads)
    return account_share("acc-1", deal, (e.a, e.b, e.c), name, part)


def item(e: Event | Item) -> Item:
    return (e.a, e.b, e.c, e.data) if isinstance(e, Event) else e


def folded(*found: Event | Item, now: int = T0 + 4000 * DAY) -> Customer:
    run = sorted((item(e) for e in found), key=lambda e: e[:2])
    customer = customers.fold("acc-1", run, now, (D,))
    assert customer is not None
    return customer


class Account:
    """One account's row, encoded between calls, and what came of it."""

    def __init__(self) -> None:
        self.stored = dump(Row())
        self.shares: dict[str, list[Item]] = {}
        self.totals: Contribution = {}
        self.published: list[dict[str, Any]] = []
        self.told: list[Told] = []
        self.refused: list[Refused] = []
        self.versions = 0

    def feed(self, now: int, *events: Event | Item, live: bool = True) -> Row:
        row = load(self.stored)
        own = [e for e in events if isinstance(e, Event)]
        messages = []
        for e in events:
            if not isinstance(e, Event):
                run = self.shares.setdefault(e[3][0], [])
                if e not in run:
                    run.append(e)
                self.versions += 1
                packed = ledger.pack(sorted(run, key=lambda x: x[:2]))
                member = Member(self.versions, False, (0, 0), *packed)
                messages.append(Told(ME, "d:" + e[3][0], self.versions, member))
        result, moved = process(ME, row, own, messages, now, SCOPE, live)
        if moved is not None:
            move(self.totals, of_customer(moved.before, SCOPE), of_customer(moved.after, SCOPE))
        for o in result.outputs:
            assert (o.topic, o.key) == (HANDOVERS, "acc-1")
            name, record = decode_output(encode("handover", o.record))
            assert name == "handover"
            self.published.append(record)
        self.told += result.told
        self.refused += result.refused
        self.stored = dump(row)
        return load(self.stored)

    def standing(self) -> dict[str, dict[str, Any]]:
        """What a subscriber holds."""
        last: dict[str, dict[str, Any]] = {}
        for record in self.published:
            last[record["output_id"]] = record
        assert [r["sequence"] for r in self.published] == list(range(1, len(self.published) + 1))
        return {k: r for k, r in last.items() if r["op"] != "withdrawn"}

    def leads(self) -> dict[str, list[Item]]:
        last: dict[str, Member] = {}
        version: dict[str, int] = {}
        for x in self.told:
            assert x.member is not None
            assert x.version == version.get(x.to, 0) + 1
            version[x.to] = x.version
            last[x.to] = x.member
        return {to: ledger.items(m.ledger, m.data) for to, m in last.items()}

"""An account's row at work: take facts into the set, say what people hand over, tell leads, add to the figures.

As `subject` for leads: `process` is a function of row, facts, messages and an instant. The account is folded from
scratch each time, from few facts; what was said follows from the row as it was before.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any

import msgspec
from msgspec import Struct

from processors import attribution, ledger
from processors.additive import EMPTY, Key
from processors.compiled import Compiled
from processors.contracts import Booking, sign_of
from processors.customers import RENEWAL, STATUSES, Customer, Handover, fold
from processors.events import Event
from processors.model import NEVER, Member, Row, encode
from processors.say import HANDOVERS, Output
from processors.scope import Scope
from processors.subject import Result, Told, effective, met_again

#: Labels of what accounts add to the figures. Those that end in ``_on`` are for exact reports, but for the two that
#: rates put a price on: ``booked_on`` and ``paid_on``. Amounts are never negative, in minor units of ``currency``: the kind says which way they count (`attribution.SIGN`).
COLUMNS: dict[str, tuple[str, ...]] = {
    "customer": ("customer_status",),
    "churned": ("reason",),
    "booked": ("kind", "currency"),
    "paid": ("currency",),
    "new_customer_on": ("day",),
    "joined_on": ("kind", "day"),
    "churned_on": ("reason", "day"),
    "booked_on": ("kind", "currency", "day"),
    "bookings_on": ("kind", "currency", "day"),
    "paid_on": ("currency", "day"),
    "takeover_on": ("day", "days"),
    "onboarding_on": ("day", "days"),
    "onboarding_open": (),
    "renewal_on": ("renewal", "day"),
    "renewal_amount_on": ("renewal", "currency", "day"),
    "recurring_on": ("kind", "currency", "since", "came", "day"),
    "feedback_on": ("kind", "score", "day"),
}
#: What became of a contract whose renewal fell due.
RENEWAL_STATES = ("open", "renewed", "churned")

_decode_said = msgspec.msgpack.Decoder(dict[str, Handover]).decode


class Moved(Struct, frozen=True):
    """Figures of an account: before and after."""

    before: Customer | None
    after: Customer | None


def process(
    me: str,
    row: Row,
    events: Sequence[Event],
    messages: Sequence[Told],
    now: int,
    scope: Scope,
    live: bool = True,
) -> tuple[Result, Moved | None]:
    """Fold one batch into an account's row (``me`` is its key), which is changed in place.

    While not ``live`` nothing is said: the row remembers what was said last, and the difference is said later.
    ``row.head.due`` is the next timer, ``row.held`` the next fact that is dated in the future.
    """
    out = Result(outputs=[], told=[], refused=[], counts={})
    account = me[2:]
    before = fold(account, effective(row), row.head.fired, scope.definitions)
    for e in events:
        at = ledger.find(row.ledger, e.b)
        if at >= 0:
            met_again(row, at, e, out)
        else:
            row.ledger = ledger.insert(row.ledger, row.data, e.a, e.b, e.c, e.data)
            if e.t > now:
                out.count("held")
    for told in messages:
        old = row.members.get(told.sender)
        if old is None or old.version < told.version:
            row.members = {**row.members, told.sender: told.member or Member(told.version, False)}
    items = effective(row)
    head = row.head
    head.fired = max(head.fired, now)
    after = fold(account, items, head.fired, scope.definitions)
    head.due = after.due if after is not None else NEVER
    head.n, head.last = len(items), items[-1][0] >> 22 if items else 0
    row.held = min((e[0] >> 22 for e in items if e[0] >> 22 > head.fired), default=NEVER)
    _tell(me, row, before, after, out)
    _speak(account, row, before, after, out, scope, live)
    return out, Moved(before, after) if before != after else None


def at(account: str, row: Row, as_of_ms: int | None, scope: Scope) -> Customer | None:
    """The account as it stood, or will have stood by timers alone; None: as of its last transition."""
    when = row.head.fired if as_of_ms is None else as_of_ms
    return fold(account, effective(row), when, scope.definitions)


def _tell(me: str, row: Row, before: Customer | None, after: Customer | None, out: Result) -> None:
    """Its leads hold what concerns them as one member, replaced whole."""
    old = before.told if before is not None else {}
    new = after.told if after is not None else {}
    for lead in sorted(old.keys() | new.keys()):
        run = new.get(lead, ())
        if old.get(lead, ()) != run or lead not in row.sent:
            version = row.sent[lead] = row.sent.get(lead, 0) + 1
            packed = ledger.pack(sorted(run, key=lambda e: (e[0], e[1])))
            out.told.append(Told("l:" + lead, me, version, Member(version, False, (0, 0), *packed)))


# What is said ----------------------------------------------------------------------------------------------------


def _speak(
    account: str,
    row: Row,
    before: Customer | None,
    after: Customer | None,
    out: Result,
    scope: Scope,
    live: bool,
) -> None:
    old = before.handovers if before is not None else {}
    new = after.handovers if after is not None else {}
    if row.waiting:
        old = _decode_said(row.spoken)
    if not live:
        if old != new and not row.waiting:
            row.waiting, row.spoken = True, encode(old)
        return
    for name in (*new, *(name for name in old if name not in new)):
        if name not in new:
            out.outputs.append(_output(account, row, name, "withdrawn", old[name], scope))
        elif name not in old:
            out.outputs.append(_output(account, row, name, "new", new[name], scope))
        elif old[name] != new[name]:
            out.outputs.append(_output(account, row, name, "revised", new[name], scope))
    row.waiting, row.spoken = False, b""


def _output(account: str, row: Row, name: str, op: str, what: Handover, scope: Scope) -> Output:
    sequence = row.sequences[HANDOVERS] = row.sequences.get(HANDOVERS, 0) + 1
    in_force = [d for d in scope.definitions if d.source.effective_at <= what.at] or scope.definitions[:1]
    definition = in_force[-1].source
    record = {
        "output_id": name,
        "sequence": sequence,
        "revision": row.epoch << 40 | sequence,
        "op": op,
        "occurred_at": what.at,
        "as_of": row.head.fired,
        "definition": f"{definition.name}@{definition.version}",
        "account_id": account,
        "kind": what.kind,
        "deal_id": what.deal or None,
        "contract_id": what.contract or None,
        "amount_minor": what.amount,
        "currency": what.currency or None,
        "due_at": what.due if what.kind == RENEWAL else None,
        "context": what.context,
    }
    return Output(HANDOVERS, account, record)


# Figures ---------------------------------------------------------------------------------------------------------


def of_customer(customer: Customer | None, scope: Scope, fine: bool = True) -> dict[Key, int]:
    """What an account's row adds to the figures (`COLUMNS`). What its deals won is added by their own rows.

    Renewals, expansions and what else no lead has a part in is credited to nobody, so that Σ credit = booked revenue.
    """
    if customer is None:
        return {}
    d = scope.definitions[-1]
    out: dict[Key, int] = {}

    def put(*key: Any, n: int = 1) -> None:
        out[key] = out.get(key, 0) + n

    if customer.status in STATUSES:
        put("customer", customer.status)
    for _, reason in customer.churns:
        put("churned", reason or EMPTY)
    for x in customer.bookings:
        put("booked", x.kind, x.currency or EMPTY, n=x.amount)
        put("booked_on", *_money(x), d.days.day(x.t), n=x.amount)
    for x in customer.paid:
        put("paid", x.currency or EMPTY, n=x.amount)
        put("paid_on", x.currency or EMPTY, d.days.day(x.t), n=x.amount)
    if fine:
        _dated(customer, d, put)
    unearned = [x for x in customer.bookings if x.kind != "refunded"]
    for x in (*unearned, *customer.loose):
        earned = attribution.unattributed(x.kind, x.currency, x.t, x.amount, d)
        for key, n in attribution.contribution(earned, d, fine).items():
            put(*key, n=n)
    return {key: n for key, n in out.items() if n}


def _dated(customer: Customer, d: Compiled, put: Any) -> None:
    day = d.days.day
    if customer.acquired:
        put("new_customer_on", day(customer.acquired))
    for t, how in customer.joins:
        put("joined_on", how, day(t))
    for t, reason in customer.churns:
        put("churned_on", reason or EMPTY, day(t))
    for x in customer.bookings:
        put("bookings_on", *_money(x), day(x.t))
    for won, accepted in customer.takeovers:
        put("takeover_on", day(accepted), day(accepted) - day(won))
    for started, completed in customer.onboardings:
        if completed:
            put("onboarding_on", day(completed), day(completed) - day(started))
        else:
            put("onboarding_open")
    for term in customer.terms:
        if term.fired or term.outcome:  # settled before it was due: it counts on the day it would have been
            key = (term.outcome or "open", day(term.due))
            put("renewal_on", *key)
            put("renewal_amount_on", key[0], term.currency, key[1], n=term.amount)
    for x in customer.recurring:
        for came, n in x.of or ((x.t, x.amount),):
            put("recurring_on", *_money(x), day(x.since), day(came), day(x.t), n=n)
    for t, kind, score in customer.feedback:
        put("feedback_on", kind, EMPTY if score is None else score, day(t))


def _money(x: Booking) -> tuple[str, str]:
    return x.kind, x.currency or EMPTY


# Formulas --------------------------------------------------------------------------------------------------------


class Retention(Struct, frozen=True):
    """Of those who were customers when a period began: what their contracts were worth then, and how that changed
    within it, in one currency's minor units. What came within it and went again is neither less nor more. ``gross``
    and ``net`` are None where they were worth nothing."""

    start: int
    lost: int  # of it, churned
    less: int  # of it, contracted or renewed for less
    more: int  # expanded, or renewed for more, and still there

    @property
    def gross(self) -> Fraction | None:
        """Gross revenue retention = (start - churned - contracted)/start (DOMAIN 6)."""
        return Fraction(self.start - self.lost - self.less, self.start) if self.start else None

    @property
    def net(self) -> Fraction | None:
        """Net revenue retention = (start - churned - contracted + expanded)/start (DOMAIN 6)."""
        return Fraction(self.start - self.lost - self.less + self.more, self.start) if self.start else None


def retention(recurring: dict[tuple[str, int, int, int], int], first: int, last: int) -> Retention:
    """Retention over the days ``first`` to ``last``, both included.

    :param recurring: (kind, since, came, day) -> minor units of one currency, as ``recurring_on``.
    """
    start = lost = less = more = 0
    for (kind, since, came, day), n in recurring.items():
        if day < first:
            start += sign_of(kind) * n
        elif day <= last and since < first:
            if came >= first:
                more += sign_of(kind) * n
            elif kind == "churned":
                lost += n
            else:
                less += n
    return Retention(start, lost, less, more)


def renewal_rate(by_outcome: dict[str, int]) -> Fraction | None:
    """Renewal rate = renewed/due, of terms whose renewal fell due in the period; those still open count as due."""
    due = sum(by_outcome.get(state, 0) for state in RENEWAL_STATES)
    return Fraction(by_outcome.get("renewed", 0), due) if due else None


def collected(paid: int, refunded: int) -> int:
    """Collected = paid - refunded (DOMAIN 6); below 0 where more went back than came."""
    return paid - refunded


def customers_at(joined: dict[int, int], churned: dict[int, int], day: int) -> int:
    """How many customers there were when a day began: those who joined before it less those who churned before it.

    :param joined: day -> how many; churned likewise.
    """
    return sum(n for x, n in joined.items() if x < day) - sum(n for x, n in churned.items() if x < day)

"""Customers: what becomes of an account after its first won deal. One fold of its own events and what its deals tell.

handed_over, onboarding, active, renewal_due, renewed | expanded | contracted | churned, win_back. A renewal falls due
by a timer that comes after all events of its instant. The state is a function of the facts and of an instant;
`accounts` takes facts in and says what changed.

Choices where the domain is silent: any event of a customer's life shows that the account is one, though only a won
deal makes a new customer; onboarding and a renewal that is due are not hidden by an expansion; who churned is won back
from the next opportunity on, and its leads begin a journey of win-back at once.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from fractions import Fraction
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from processors.compiled import Compiled
from processors.contracts import Booking, Contracts, Term
from processors.days import iso
from processors.events import BACKFILL, KIND, NAME, PAYLOAD, identity, view
from processors.ledger import Item
from processors.model import DELETED, LOST_DEAL, NEVER, RUNNING, WON
from processors.money import split

PROSPECT, HANDED_OVER, ONBOARDING, ACTIVE, RENEWAL_DUE, RENEWED, EXPANDED, CONTRACTED, CHURNED, WIN_BACK = (
    "prospect", "handed_over", "onboarding", "active", "renewal_due", "renewed", "expanded", "contracted", "churned",
    "win_back",
)  # fmt: skip
STATUSES = (HANDED_OVER, ONBOARDING, ACTIVE, RENEWAL_DUE, RENEWED, EXPANDED, CONTRACTED, CHURNED, WIN_BACK)
#: Statuses of somebody who is no customer (any more).
_OUTSIDE = frozenset((PROSPECT, CHURNED, WIN_BACK))
#: Statuses that an expansion or a contraction replaces; in the others there is something more pressing to see.
_QUIET = frozenset((ACTIVE, RENEWED, EXPANDED, CONTRACTED))
NEW, RETURNED, IMPLIED = "new", "returned", "implied"
DELIVERY, RENEWAL = "delivery_handover", "renewal_due"


class Part(Struct, frozen=True):
    """A deal of the account. ``closed`` is the booking instant; leads as (lead, weight numerator, denominator)."""

    deal: str
    status: int = RUNNING
    amount: int = 0
    currency: str = ""
    closed: int = 0
    pipeline: str = ""
    leads: tuple[tuple[str, int, int], ...] = ()


class Handover(Struct, frozen=True, array_like=True):
    """What is said to people: a customer for delivery, or a contract whose renewal is due."""

    at: int
    kind: str
    deal: str
    contract: str
    amount: int
    currency: str
    due: int
    context: dict[str, str]


class Customer(Struct, frozen=True):
    """An account as of an instant. Pairs begin with epoch ms."""

    status: str = PROSPECT
    since: int = 0
    #: When the first of its wins that stand was booked; 0: none stands.
    acquired: int = 0
    deals: tuple[Part, ...] = ()
    terms: tuple[Term, ...] = ()
    joins: tuple[tuple[int, str], ...] = ()
    churns: tuple[tuple[int, str], ...] = ()
    #: Renewed, upsell, cross_sell, contracted, refunded: what its deals have not booked.
    bookings: tuple[Booking, ...] = ()
    paid: tuple[Booking, ...] = ()
    #: What the contracts are worth, as it changed: new, expanded, contracted, renewed_up, renewed_down, churned.
    recurring: tuple[Booking, ...] = ()
    #: Refunds of what no lead has a part in.
    loose: tuple[Booking, ...] = ()
    takeovers: tuple[tuple[int, int], ...] = ()  # won, accepted by delivery
    onboardings: tuple[tuple[int, int], ...] = ()  # started, completed (0: not yet)
    feedback: tuple[tuple[int, str, int | None], ...] = ()
    handovers: dict[str, Handover] = {}
    told: dict[str, tuple[Item, ...]] = {}  # what its leads learn: refunds, and that they may be won back
    due: int = NEVER  # the next timer


class _Delivery(Struct):
    """A handover to delivery; ``said`` is its content once somebody took it, or it came to nothing."""

    at: int
    deal: str
    silent: bool
    before: str  # the status that it replaced
    joined: str  # how the account was a customer before, "" if it was none
    said: Handover | None = None


def account_share(
    account: str, deal: str, e: tuple[int, int, int], name: str, part: Part, reason: str = ""
) -> Item:
    """A fact of a deal as its account holds it: the whole amount, and who has a part in it.

    :param e: ``a``, ``b``, ``c`` of the deal's own fact.
    :param name: ``share_opened``, ``share_won`` and so on.
    """
    a, b, c = e
    own = identity(account, deal, str(b >> 16)) << 16 | KIND[name] << 8 | b & 0x7F | PAYLOAD
    leads = [list(x) for x in part.leads]
    return a, own, c, [deal, part.amount, part.currency, reason, part.closed, part.pipeline, leads]


def fold(account: str, items: Iterable[Item], now: int, definitions: Sequence[Compiled]) -> Customer | None:
    """The account as of ``now``; None before its first event.

    :param items: own facts and what deals and leads told, in order.
    """
    walk = _Walk(account, definitions)
    n = 0
    for e in items:
        if e[0] >> 22 > now:
            break
        walk.elapse((e[0] >> 22) - 1)
        walk.take(e)
        n += 1
    walk.elapse(now)
    return walk.customer() if n else None


class _Walk:
    """The fold of one account."""

    def __init__(self, account: str, definitions: Sequence[Compiled]) -> None:
        self.account = account
        self.definitions = definitions
        self.status, self.since = PROSPECT, 0
        self.deals: dict[str, Part] = {}
        self.contracts = Contracts(self.d)
        self.joins: list[tuple[int, str]] = []
        self.churns: list[tuple[int, str]] = []
        self.bookings: list[Booking] = []
        self.paid: list[Booking] = []
        self.loose: list[Booking] = []
        self.deliveries: list[_Delivery] = []
        self.delivery: _Delivery | None = None  # of this relationship
        self.takeovers: list[tuple[int, int]] = []
        self.onboardings: list[tuple[int, int]] = []
        self.feedback: list[tuple[int, str, int | None]] = []
        self.found: dict[str, dict[str, None]] = {}  # discovered by sales: kind -> references
        self.told: dict[str, list[Item]] = {}
        self.refunded: dict[tuple[Any, ...], int] = {}

    def d(self, t: int) -> Compiled:
        """The definition in force."""
        return next(
            (d for d in reversed(self.definitions) if d.source.effective_at <= t), self.definitions[0]
        )

    # -- timers -----------------------------------------------------------------------------------------------------

    def elapse(self, now: int) -> None:
        while (due := self.contracts.due()) <= now:
            self.contracts.fire(due)
            self._enter(due, RENEWAL_DUE)

    # -- facts ------------------------------------------------------------------------------------------------------

    def take(self, e: Item) -> None:
        kind = e[1] >> 8 & 255
        name = NAME.get(kind, "")
        if name.startswith("share_"):
            return self._deal(name, e)
        handler = _HANDLERS.get(name)
        return None if handler is None else handler(self, e[0] >> 22, view(kind, e[3]), e)

    def _enter(self, t: int, status: str) -> None:
        if self.status in _OUTSIDE:
            self.joins.append((t, RETURNED if self.churns else IMPLIED))
        self.contracts.since = self.joins[-1][0]
        if status != self.status:
            self.status, self.since = status, t

    def _deal(self, name: str, e: Item) -> None:
        t = e[0] >> 22
        deal, amount, currency, _, closed, pipeline, leads = e[3]
        old = self.deals.get(deal, Part(deal))
        part = replace(
            old,
            amount=amount,
            currency=currency,
            pipeline=pipeline,
            leads=tuple((x[0], x[1], x[2]) for x in leads),
        )
        if name == "share_won":
            part = replace(part, status=WON, closed=old.closed if old.status == WON else closed or t)
        elif name in _STATUS_OF:
            part = replace(part, status=_STATUS_OF[name], closed=0)
        self.deals[deal] = part
        if name == "share_won":
            if self.delivery is None:
                self._hand_over(t, deal, e)
        elif name in _STATUS_OF and old.status == WON:
            self._take_back(deal)
        elif name == "share_opened" and self.status == CHURNED:
            self.status, self.since = WIN_BACK, t

    def _hand_over(self, t: int, deal: str, e: Item) -> None:
        inside = self.status not in _OUTSIDE
        made = _Delivery(t, deal, bool(e[1] & BACKFILL), self.status, self.joins[-1][1] if inside else "")
        self.delivery = made
        self.deliveries.append(made)
        if not inside:
            self.joins.append((t, RETURNED if self.churns else NEW))
        elif not any(how == NEW for _, how in self.joins):
            self.joins[-1] = (self.joins[-1][0], NEW)
        self.contracts.since = self.joins[-1][0]
        if self.status in _OUTSIDE or self.status == ACTIVE:
            self.status, self.since = HANDED_OVER, t
        else:
            self._accepted(t)  # delivery has begun before sales said so

    def _take_back(self, deal: str) -> None:
        """A win that does not stand hands nothing over, unless delivery has begun (case 34)."""
        made = self.delivery
        if made is None or made.said is not None:
            return
        won = [x.deal for x in self.deals.values() if x.status == WON]
        if won:
            made.deal = won[0] if made.deal == deal else made.deal
            return
        self.deliveries.pop()
        self.delivery = None
        signed = any(not x.outcome for x in self.contracts.all())
        if made.joined or signed or self.status != HANDED_OVER:  # a customer all the same
            self.joins[-1] = (self.joins[-1][0], made.joined or IMPLIED)
            self.status = ACTIVE if self.status == HANDED_OVER else self.status
        else:
            self.joins.pop()
            self.status = made.before

    def _accepted(self, t: int) -> None:
        made = self.delivery
        if made is not None and made.said is None:
            made.said = self._content(made, {"accepted_on": iso(self.d(t).days.day(t))})
            self.takeovers.append((made.at, t))

    def _delivered(self, t: int, _p: dict[str, Any], _e: Item) -> None:
        self._accepted(t)
        if self.status in _OUTSIDE:
            self._enter(t, HANDED_OVER)

    def _onboarding(self, t: int, _p: dict[str, Any], _e: Item) -> None:
        self._accepted(t)
        if not self.onboardings or self.onboardings[-1][1]:
            self.onboardings.append((t, 0))
        if self.status in _OUTSIDE or self.status == HANDED_OVER:
            self._enter(t, ONBOARDING)

    def _onboarded(self, t: int, _p: dict[str, Any], _e: Item) -> None:
        self._accepted(t)
        if self.onboardings and not self.onboardings[-1][1]:
            self.onboardings[-1] = (self.onboardings[-1][0], t)
        if self.status in _OUTSIDE or self.status in (HANDED_OVER, ONBOARDING):
            self._enter(t, ACTIVE)

    def _contract(self, t: int, p: dict[str, Any], e: Item) -> None:
        if self.status in _OUTSIDE:
            self._enter(t, ACTIVE)
        if self.contracts.sign(t, p, e):
            self._still_due(t)

    def _renewed(self, t: int, p: dict[str, Any], e: Item) -> None:
        contract, amount = str(p["contract_id"]), p["amount"]
        run = self.contracts.terms.get(contract)
        currency = p.get("currency") or (run[-1].currency if run else self._currency(t))
        if self.status in _OUTSIDE:
            self._enter(t, RENEWED)
        self.contracts.renew(t, contract, amount, currency, e)
        self._still_due(t)
        self._book("renewed", t, amount, currency)

    def _still_due(self, t: int) -> None:
        """Renewed, unless another contract waits for it."""
        if not self.contracts.waiting():
            self._enter(t, RENEWED)

    def _expanded(self, t: int, p: dict[str, Any], _e: Item) -> None:
        currency = p.get("currency") or self._currency(t)
        if self.status in _OUTSIDE or self.status in _QUIET:
            self._enter(t, EXPANDED)
        self._book(str(p["kind"]), t, p["amount"], currency)
        self.contracts.expand(t, p["amount"], currency)

    def _contracted(self, t: int, p: dict[str, Any], _e: Item) -> None:
        currency = p.get("currency") or self._currency(t)
        if self.status in _OUTSIDE or self.status in _QUIET:
            self._enter(t, CONTRACTED)
        self._book(CONTRACTED, t, p["amount"], currency)
        self.contracts.shrink(t, p["amount"], currency)

    def _churned(self, t: int, p: dict[str, Any], e: Item) -> None:
        if self.status in (CHURNED, WIN_BACK):
            return
        self._enter(t, CHURNED)
        self.churns.append((t, str(p.get("reason_code") or "")))
        self.contracts.end(t)
        made = self.delivery
        if made is not None and made.said is None:
            made.said = self._content(made, {"churned_on": iso(self.d(t).days.day(t))})
        self.delivery = None
        for lead in sorted({x[0] for part in self.deals.values() if part.status == WON for x in part.leads}):
            self._tell(lead, "created", "", e, [None, WIN_BACK])

    def _invoice_paid(self, t: int, p: dict[str, Any], _e: Item) -> None:
        self.paid.append(Booking("paid", t, p["amount"], p["currency"]))

    def _invoice_refunded(self, t: int, p: dict[str, Any], e: Item) -> None:
        """A refund takes back what was won, in proportion: of deals in its currency, else of the one won last.

        What was refunded in all is split, so that refunds in parts take back what one would have.
        """
        currency = str(p["currency"])
        self._book("refunded", t, p["amount"], currency)
        won = [x for x in self.deals.values() if x.status == WON]
        of = [x for x in won if x.currency == currency] or sorted(won, key=lambda x: x.closed)[-1:]
        if not of:
            self.loose.append(Booking("refunded", t, p["amount"], currency))
            return
        amounts = [x.amount for x in of]
        parts = self._back(
            (currency, *(x.deal for x in of)), p["amount"], amounts if any(amounts) else [1] * len(of)
        )
        for part, amount in zip(of, parts, strict=True):
            if not part.leads:
                self.loose.append(Booking("refunded", t, amount, currency))
                continue
            shares = self._back((currency, part.deal), amount, [Fraction(n, d) for _, n, d in part.leads])
            for (lead, _, _), share in zip(part.leads, shares, strict=True):
                if share:
                    self._tell(lead, "invoice_refunded", part.deal, e, [share, currency, part.deal])

    def _tell(self, lead: str, name: str, deal: str, e: Item, data: list[Any]) -> None:
        """A fact for a lead, at the instant of the account's own."""
        a, b, c, _ = e
        own = identity(lead, deal, str(b >> 16)) << 16 | KIND[name] << 8 | b & 0x7F | PAYLOAD
        self.told.setdefault(lead, []).append((a, own, c, data))

    def _back(self, of: tuple[str, ...], amount: int, weights: Sequence[int | Fraction]) -> list[int]:
        key = (*of, *weights)
        before = self.refunded.get(key, 0)
        after = self.refunded[key] = before + amount
        return [x - y for x, y in zip(split(after, weights), split(before, weights), strict=True)]

    def _feedback(self, t: int, p: dict[str, Any], _e: Item) -> None:
        self.feedback.append((t, str(p["kind"]), p.get("score")))

    def _discovered(self, _t: int, p: dict[str, Any], _e: Item) -> None:
        self.found.setdefault(str(p.get("kind")), {})[str(p.get("text_ref"))] = None

    # -- money ------------------------------------------------------------------------------------------------------

    def _currency(self, t: int) -> str:
        """Left out: that of the contract signed last, else of the deal, else the base currency."""
        term = self.contracts.latest()
        if term is not None:
            return term.currency
        won = [x.currency for x in self.deals.values() if x.status == WON and x.currency]
        return won[-1] if won else self.d(t).source.base_currency

    def _book(self, kind: str, t: int, amount: int, currency: str) -> None:
        self.bookings.append(Booking(kind, t, amount, currency))

    # -- what follows -----------------------------------------------------------------------------------------------

    def _content(self, made: _Delivery, more: dict[str, str]) -> Handover:
        part = self.deals[made.deal]
        context = {"won_on": iso(self.d(made.at).days.day(part.closed or made.at))}
        if part.pipeline:
            context["pipeline"] = part.pipeline
        if part.leads:
            context["leads"] = ", ".join(lead for lead, _, _ in part.leads)
        term = self.contracts.latest()
        if term is not None:
            context |= {"contract": term.contract, "starts": iso(term.starts), "ends": iso(term.ends)}
        context |= {f"discovered: {kind}": ", ".join(refs) for kind, refs in sorted(self.found.items())}
        return Handover(made.at, DELIVERY, made.deal, "", part.amount, part.currency, 0, context | more)

    def _renewal(self, x: Term) -> Handover:
        context = {"starts": iso(x.starts), "ends": iso(x.ends), "notice_days": str(x.notice_days)}
        if x.outcome:
            context |= {"outcome": x.outcome, "outcome_on": iso(self.d(x.settled).days.day(x.settled))}
        return Handover(x.fires, RENEWAL, "", x.contract, x.amount, x.currency, x.due, context)

    def customer(self) -> Customer:
        terms = self.contracts.all()
        handovers = {
            f"{self.account}/{DELIVERY}/{n}": made.said or self._content(made, {})
            for n, made in enumerate(self.deliveries, 1)
            if not made.silent
        }
        handovers |= {
            f"{self.account}/{RENEWAL}/{x.contract}/{x.n}": self._renewal(x)
            for x in terms
            if x.fired and not x.silent
        }
        return Customer(
            status=self.status,
            since=self.since,
            acquired=min((x.closed for x in self.deals.values() if x.status == WON), default=0),
            deals=tuple(self.deals.values()),
            terms=terms,
            joins=tuple(self.joins),
            churns=tuple(self.churns),
            bookings=tuple(self.bookings),
            paid=tuple(self.paid),
            recurring=tuple(self.contracts.changes),
            loose=tuple(x for x in self.loose if x.amount),
            takeovers=tuple(self.takeovers),
            onboardings=tuple(self.onboardings),
            feedback=tuple(self.feedback),
            handovers=handovers,
            told={lead: tuple(run) for lead, run in self.told.items()},
            due=self.contracts.due(),
        )


_STATUS_OF = {"share_lost": LOST_DEAL, "share_reopened": RUNNING, "share_gone": DELETED}
_HANDLERS: dict[str, Callable[[_Walk, int, dict[str, Any], Item], None]] = {
    "delivery_accepted": _Walk._delivered,
    "onboarding_started": _Walk._onboarding,
    "onboarding_completed": _Walk._onboarded,
    "contract_signed": _Walk._contract,
    "invoice_paid": _Walk._invoice_paid,
    "invoice_refunded": _Walk._invoice_refunded,
    "renewed": _Walk._renewed,
    "expanded": _Walk._expanded,
    "contracted": _Walk._contracted,
    "churned": _Walk._churned,
    "feedback_given": _Walk._feedback,
    "discovery_recorded": _Walk._discovered,
}

"""Deals: one fold over a deal's few events, from scratch each time, and what its leads are told.

The deal owns the money: it splits an amount over its leads to the minor unit (largest remainder), and each lead
gets its share of every fact at the fact's own time, as a member that is replaced whole.
"""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from msgspec import Struct

from processors import ledger
from processors.customers import Part, account_share
from processors.days import day_of_text
from processors.events import KIND, NAME, PAYLOAD, Event, identity, view
from processors.ledger import Item
from processors.model import DELETED, LOST_DEAL, NEVER, ON_HOLD, RUNNING, WON, Member, Row
from processors.money import split
from processors.subject import Result, Told, met_again

_UNKNOWN = KIND["unknown"]
_PARTS = 10**9
_STATUS = {"open": RUNNING, "on_hold": ON_HOLD, "won": WON, "lost": LOST_DEAL}
_SHARE_OF = {
    "opened": "share_opened", "amount_changed": "share_amount", "won": "share_won", "lost": "share_lost",
    "deal_reopened": "share_reopened", "deleted": "share_gone",
}  # fmt: skip


class Stand(NamedTuple):
    """How a deal stood from ``t`` (epoch ms) on, as it was known then.

    :param ppm: probability per million, -1 where nobody gave one.
    :param closes: the day (since 1970-01-01) on which it is expected to close, 0 where nobody gave one.
    :param closed: the booking instant, epoch ms; 0: it has not closed.
    """

    t: int
    status: int
    amount: int
    currency: str
    ppm: int = -1
    closes: int = 0
    closed: int = 0


class Deal(Struct, frozen=True):
    """A deal as of an instant; ``amount`` in minor units of ``currency``, ``closed`` is the booking instant."""

    status: int = RUNNING
    stage: str = ""
    amount: int = 0
    currency: str = ""
    opened: int = 0
    closed: int = 0
    reason: str = ""
    account: str = ""
    pipeline: str = ""
    probability_ppm: int = 0
    reopened: int = 0
    leads: tuple[tuple[str, int, int], ...] = ()  # (lead, weight numerator, weight denominator)
    course: tuple[Stand, ...] = ()


def _weight(value: Any) -> Fraction | None:
    """A weight in whole billionths: exact ones of any size would have parts that no row can hold."""
    if type(value) in (int, float, str):
        try:
            w = Fraction(round(Fraction(str(value)) * _PARTS), _PARTS)
        except (ValueError, ZeroDivisionError):
            return None
        return w if w >= 0 else None
    return None


def _normal(leads: dict[str, Fraction | None]) -> tuple[tuple[str, int, int], ...]:
    """Weights that sum to 1: equal where none is given; a missing one among given ones takes their mean. Who is given 0
    has no part, unless that leaves nobody."""
    given = [w for w in leads.values() if w]
    mean = sum(given, Fraction(0)) / len(given) if given else Fraction(1)
    whole = {k: w if w is not None else mean for k, w in leads.items()}
    if not any(whole.values()):
        whole = dict.fromkeys(leads, mean)
    total = sum(whole.values(), Fraction(0))
    shares = ((k, w / total) for k, w in sorted(whole.items()))
    return tuple((k, w.numerator, w.denominator) for k, w in shares)


class _Walk:
    """The fold of one deal."""

    def __init__(self) -> None:
        self.leads: dict[str, Fraction | None] = {}
        self.values: dict[str, Any] = {"status": RUNNING}
        #: a, b, c, name, amount, currency, reason, closed at
        self.steps: list[tuple[int, int, int, str, int, str, str, int]] = []
        self.former: dict[str, tuple[int, int, int]] = {}
        self.course: list[Stand] = []
        self.closes = 0
        self.closing = 0  # the step that closed the deal last
        self.dated = False  # whoever told of that win said when it was signed

    def take(self, e: Item) -> None:
        if (
            e[1] >> 8 & 255 != _UNKNOWN
        ):  # kept, and says nothing: neither when the deal began nor how it stands
            self._take(e)
            self._stand(e[0] >> 22)

    def _stand(self, t: int) -> None:
        v = self.values
        now = Stand(
            t, v["status"], v.get("amount", 0), v.get("currency", ""), v.get("probability_ppm", -1), self.closes,
            v.get("closed", 0),
        )  # fmt: skip
        if self.course and self.course[-1].t == t:  # of one instant the last word counts
            self.course.pop()
        if not self.course or self.course[-1][1:] != now[1:]:
            self.course.append(now)

    def _take(self, e: Item) -> None:
        a, b, c, data = e
        kind, t = b >> 8 & 255, a >> 22
        name, p, v = NAME.get(kind, ""), view(kind, data), self.values
        v.setdefault("opened", t)
        if name in ("lead_linked", "lead_unlinked"):
            return self._link(name, p, (a, b, c))
        if name == "opened":
            self._opened(p)
        elif name == "amount_changed":
            self._amount(p)
        elif name == "close_date_changed":
            self.closes = day_of_text(str(p.get("date")))
        elif name == "stage_changed":
            name = self._stage(p, t)
        else:
            name = self._closed(name, p, t)
        if name in _SHARE_OF:
            step = (
                a,
                b,
                c,
                name,
                v.get("amount", 0),
                v.get("currency", ""),
                v.get("reason", ""),
                v.get("closed", 0),
            )
            self.steps.append(step)
        return None

    def _opened(self, p: dict[str, Any]) -> None:
        v = self.values
        for item in p.get("leads") or ():
            self.leads.setdefault(item["lead_id"], _weight(item.get("weight")))
            self.former.pop(item["lead_id"], None)  # unlinked before, and told anew
        if "amount" not in v:  # what is dated before the opening knows better: clocks differ
            v.update(amount=p.get("amount") or 0, currency=p.get("currency") or "")
        v.setdefault("stage", p.get("stage") or "")
        for field, told in (("account", "account_id"), ("pipeline", "pipeline")):
            v[field] = p.get(told) or v.get(field, "")  # of two systems one may not know
        self._probability(p)

    def _link(self, name: str, p: dict[str, Any], key: tuple[int, int, int]) -> None:
        lead = str(p["lead_id"])
        if name == "lead_linked":
            self.leads[lead] = _weight(p.get("weight"))
            self.former.pop(lead, None)
        elif lead in self.leads:
            del self.leads[lead]
            self.former[lead] = key

    def _amount(self, p: dict[str, Any]) -> None:
        v = self.values
        v.update(amount=p.get("amount") or 0, currency=p.get("currency") or v.get("currency", ""))

    def _closed(self, name: str, p: dict[str, Any], t: int) -> str:
        """:returns: the fact that it stands for; "" for none."""
        v = self.values
        if name == "won":
            self._won(p, t)
        elif name == "lost":
            reason = p.get("reason_code") or ""
            if v["status"] == DELETED:
                return ""
            if v["status"] != LOST_DEAL:
                v.update(status=LOST_DEAL, closed=t, reason=reason)
                self.closing = len(self.steps)
            elif not v.get("reason"):  # a change of stage had said so first, and did not know why
                v["reason"] = reason
                self._known_later()
        elif name == "deal_reopened":
            v.update(status=RUNNING, closed=0, reason="", reopened=v.get("reopened", 0) + 1)
        elif name == "deleted":
            v.update(status=DELETED, closed=t)
        return name

    def _won(self, p: dict[str, Any], t: int) -> None:
        v, signed = self.values, p.get("closed_at")
        if p.get("amount") is not None:
            self._amount(p)
        if v["status"] != WON:
            v.update(status=WON, closed=signed or t, reason="")
            self.dated, self.closing = bool(signed), len(self.steps)
        elif signed and not self.dated:  # a change of stage, or another system, did not know when
            v["closed"], self.dated = signed, True
            self._known_later()

    def _known_later(self) -> None:
        """What is known of the closing now was so since the fact that closed the deal."""
        v = self.values
        for n in range(self.closing, len(self.steps)):
            self.steps[n] = (*self.steps[n][:6], v.get("reason", ""), v["closed"])

    def _stage(self, p: dict[str, Any], t: int) -> str:
        """A change of stage that carries a status is that status; which fact it stands for is returned."""
        v, status = self.values, _STATUS.get(str(p.get("status")), RUNNING)
        v["stage"] = p.get("stage") or v.get("stage", "")
        if status in (
            RUNNING,
            ON_HOLD,
        ):  # the 0 or 1 of a closing says nothing, should the deal be open again
            self._probability(p)
        old = v["status"]
        if status == old or (old == DELETED and status == LOST_DEAL):
            return ""
        v.update(status=status, closed=t if status in (WON, LOST_DEAL) else 0, reason="")
        self.dated, self.closing = False, len(self.steps)
        if status == WON:
            return "won"
        if status == LOST_DEAL:
            return "lost"
        if old in (WON, LOST_DEAL, DELETED):
            v["reopened"] = v.get("reopened", 0) + 1
            return "deal_reopened"
        return ""

    def _probability(self, p: dict[str, Any]) -> None:
        found = p.get("probability")
        if isinstance(found, int | float):
            self.values["probability_ppm"] = max(0, min(1_000_000, round(found * 1_000_000)))

    def deal(self) -> Deal:
        return Deal(**self.values, leads=_normal(self.leads) if self.leads else (), course=tuple(self.course))


def fold(items: Sequence[Item], now: int) -> Deal | None:
    """The deal as of ``now``; None before its first event."""
    walk = _walk(items, now)
    return walk.deal() if walk.values.get("opened") else None


def _walk(items: Sequence[Item], now: int) -> _Walk:
    walk = _Walk()
    for e in items:
        if e[0] >> 22 <= now:
            walk.take(e)
    return walk


def _members(me: str, walk: _Walk) -> dict[str, tuple[bytes, list[Any]]]:
    """What each lead, present and former, holds of this deal: its share of every fact, in order."""
    out: dict[str, tuple[bytes, list[Any]]] = {}
    shares = _normal(walk.leads) if walk.leads else ()
    weights = [Fraction(n, d) for _, n, d in shares]
    deal = me[2:]
    runs: dict[str, list[Item]] = {lead: [] for lead in (*(x[0] for x in shares), *walk.former)}
    several = len(runs) > 1  # who turn out to be one person have a part each
    instant, nth = 0, 0
    for key, b, c, name, amount, currency, reason, closed in walk.steps:
        # Facts of one instant keep the deal's order in the leads' rows, where their identities are others.
        instant, nth = key >> 18, nth + 1 if key >> 18 == instant else 0
        a = instant << 18 | nth
        parts = split(amount, weights) if weights else []
        kind = KIND[_SHARE_OF[name]]
        for (lead, _, _), part in zip(shares, parts, strict=True):
            own = identity(lead, str(b >> 16)) << 16 | kind << 8 | b & 0x7F | PAYLOAD
            data = [deal, part, currency, reason, closed, "", None, lead if several else ""]
            while len(data) > 3 and not data[-1]:
                data.pop()
            runs[lead].append((a, own, c, data))
    for lead, (a, b, c) in walk.former.items():
        own = identity(lead, str(b >> 16)) << 16 | KIND["share_gone"] << 8 | b & 0x7F | PAYLOAD
        gone: list[Any] = [deal, 0, ""]
        runs[lead].append((a, own, c, [*gone, "", 0, "", None, lead] if several else gone))
    for lead, run in runs.items():
        out["l:" + lead] = ledger.pack(sorted(run, key=lambda e: (e[0], e[1])))
    account = walk.values.get("account")
    if account:
        out["c:" + account] = ledger.pack(_account_run(account, deal, walk, shares))
    return out


def _account_run(account: str, deal: str, walk: _Walk, leads: tuple[tuple[str, int, int], ...]) -> list[Item]:
    """The whole deal, for its account."""
    pipeline = walk.values.get("pipeline", "")
    run: list[Item] = []
    instant, nth = 0, 0
    for key, b, c, name, amount, currency, reason, closed in walk.steps:
        instant, nth = key >> 18, nth + 1 if key >> 18 == instant else 0  # as for leads
        part = Part(deal, amount=amount, currency=currency, closed=closed, pipeline=pipeline, leads=leads)
        run.append(account_share(account, deal, (instant << 18 | nth, b, c), _SHARE_OF[name], part, reason))
    return sorted(run, key=lambda e: (e[0], e[1]))


class Moved(Struct, frozen=True):
    """Figures of a deal: before and after."""

    before: Deal | None
    after: Deal | None


def process(me: str, row: Row, events: Sequence[Event], now: int) -> tuple[Result, Moved | None]:
    """Take events into the deal's set and tell its leads what changed for them."""
    out = Result(outputs=[], told=[], refused=[], counts={})
    old_items = ledger.items(row.ledger, row.data)
    for e in events:
        at = ledger.find(row.ledger, e.b)
        if at >= 0:
            met_again(row, at, e, out)
            continue
        row.ledger = ledger.insert(row.ledger, row.data, e.a, e.b, e.c, e.data)
    items = ledger.items(row.ledger, row.data)
    seen_to = row.head.fired  # the instant that was told last
    row.head.fired = now = max(seen_to, now)
    row.held = min((x[0] >> 22 for x in items if x[0] >> 22 > now), default=NEVER)
    row.head.n, row.head.last = len(items), items[-1][0] >> 22 if items else 0
    before, after = _walk(old_items, seen_to), _walk(items, now)
    told, now_told = _members(me, before), _members(me, after)
    for lead in told.keys() | now_told.keys():
        new = now_told.get(lead, (b"", []))
        if told.get(lead) == new and lead in row.sent:
            continue
        version = row.sent[lead] = row.sent.get(lead, 0) + 1
        out.told.append(Told(lead, me, version, Member(version, False, (0, 0), new[0], new[1])))
    old_deal = before.deal() if before.values.get("opened") else None
    new_deal = after.deal() if after.values.get("opened") else None
    return out, Moved(old_deal, new_deal) if old_deal != new_deal else None

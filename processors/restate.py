"""Numbers that were final and changed: where a row can have changed one, and why it has.

What a row adds to final numbers (`closing`) before and after a batch is compared: old and new are the row's own part, so
that the number itself changes by the sum of new - old, whatever the partitions and workers. What time alone does is no
restatement: a timer is dated at its due instant, whenever it is fired. But a handoff counts in the month in which its
clocks started: what ends them later, an answer or a due instant, restates that month.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import zip_longest
from typing import NamedTuple

from msgspec.structs import replace

from processors import ledger, tally
from processors.attribution import Credit
from processors.closing import Closing
from processors.days import DAY
from processors.deals import Deal
from processors.events import BACKFILL, NAME, Event
from processors.lead_figures import seller
from processors.ledger import Item
from processors.model import CODE, LOST_DEAL, WON, Handoff, Journey, Member, Row, Share
from processors.subject import Result, Seen, Told, effective

#: What a cause begins with.
CAUSES = (
    "late", "backlog", "backfill", "conflict", "identified", "merged", "unmerged", "erased", "definition", "changed",
    "spend", "rate", "followed", "due",
)  # fmt: skip
LATE, BACKLOG, BACKFILLED, CHANGED, FOLLOWED, DUE, DEFINITION, ERASED = (
    "late", "backlog", "backfill", "changed", "followed", "due", "definition", "erased",
)  # fmt: skip

#: Facts that say who is who: where one of them is in a batch, it is the cause.
_LINKS = (ERASED, "unmerged", "merged", "identified")


# A cheap look first -------------------------------------------------------------------------------------------------

#: How far back a change may reach: to nothing that is final; to matured cohorts; to closed months.
NOWHERE, COHORTS, MONTHS = range(3)


def of_facts(
    last: int,
    agents: Mapping[int, int],
    residue: Mapping[str, int],
    row: Row,
    events: Sequence[Event],
    result: Result,
    closing: Closing,
) -> int:
    """Did facts of a closed month come, go or change, or what is known of them? Nothing of this is true of what comes in
    order, so most batches pay for some comparisons.

    :param last: of the row before, its newest event (epoch ms), what was re-classified, and what erased facts had added.
    """
    first = closing.first_open_ms
    since, counts = result.since, result.counts
    if since is not None and (since[0] >> 22 < first or row.head.agents != agents):
        return MONTHS
    if counts and ("too_late" in counts or "reclassified" in counts):
        return MONTHS
    if row.residue is not residue:
        return MONTHS
    if last < first and any(e.a >> 22 < first for e in events):
        return MONTHS
    if result.engaged is not None and row.minted and any(m.start < first for m in row.minted):
        return MONTHS if tally.first_touch(*result.engaged) else NOWHERE  # it gives their answers a campaign
    return NOWHERE


def of_lead(before: Seen, after: Seen, closing: Closing) -> int:
    """How far back do journeys, handoffs, shares and credits of a lead differ?"""
    if before.past != after.past:
        return MONTHS
    if before.journeys and (
        before.source != after.source or (before.created != after.created and before.shares)
    ):
        return MONTHS
    first = closing.first_open_ms
    if before.credit is not after.credit and _earned(before.credit, after.credit) < first:
        return MONTHS
    if before.shares is not after.shares and _closed(before.shares, after.shares) < first:
        return MONTHS
    at = 1 << 62
    old, new = before.journeys, after.journeys
    for x, y in zip_longest(old, new):
        if x is y:
            continue
        at = min(at, _apart(x, y, closing.d.won))
        if _called(x, y, first) or _sold(before, after, x, y, first):
            return MONTHS
    return MONTHS if at < first else COHORTS if at < closing.today_ms else NOWHERE


def of_deal(before: Deal | None, after: Deal | None, closing: Closing) -> int:
    """Did one of them close in a closed month?"""
    found = (d.closed for d in (before, after) if d is not None and d.status in (WON, LOST_DEAL))
    return MONTHS if min(found, default=1 << 62) < closing.first_open_ms else NOWHERE


def _apart(x: Journey | None, y: Journey | None, won: int) -> int:
    """The earliest instant (epoch ms) at which the stages of two journeys differ. What comes after a win (``won`` is its
    stage) may take it back, so there it is the win that differs."""
    if x is None or y is None or x.generated != y.generated or x.n != y.n:
        return min(j.entries[0] >> 9 for j in (x, y) if j is not None)
    n, most = 0, min(len(x.entries), len(y.entries))
    while n < most and x.entries[n] == y.entries[n]:
        n += 1
    if n < max(len(x.entries), len(y.entries)):
        n = next((i for i in range(n) if x.entries[i] & CODE == won), n)
    return min((j.entries[n] >> 9 for j in (x, y) if n < len(j.entries)), default=1 << 62)


def _called(x: Journey | None, y: Journey | None, first: int) -> bool:
    """Do handoffs of closed months differ, in more than the engagement since?"""
    none: tuple[Handoff, ...] = ()
    for g, h in zip_longest(x.handoffs if x is not None else none, y.handoffs if y is not None else none):
        if g is h or min(z.start for z in (g, h) if z is not None) >= first:
            continue
        if g is None or h is None or replace(g, news=h.news) != h:
            return True
    return False


def _sold(before: Seen, after: Seen, x: Journey | None, y: Journey | None, first: int) -> bool:
    """Has a deal that closed in a closed month another seller, since the journey's handoffs changed?"""
    if x is None or y is None or x.handoffs == y.handoffs:
        return False
    own = [z for z in after.shares.values() if z.journey == y.n and _is_closed(z) and z.closed < first]
    return any(seller(before.journeys, z) != seller(after.journeys, z) for z in own)


def _is_closed(x: Share) -> bool:
    return x.outcome in (WON, LOST_DEAL)


def _closed(before: Mapping[str, Share], after: Mapping[str, Share]) -> int:
    """The earliest closing of a deal of which the lead has another part."""
    parts = (
        x
        for deal in before.keys() | after.keys()
        if before.get(deal) != after.get(deal)
        for x in (before.get(deal), after.get(deal))
    )
    return min((x.closed for x in parts if x is not None and _is_closed(x)), default=1 << 62)


def _earned(before: Iterable[Credit], after: Iterable[Credit]) -> int:
    """The earliest booking that was credited otherwise."""
    return min((x.t for x in set(before) ^ set(after)), default=1 << 62)


# Why ----------------------------------------------------------------------------------------------------------------


class Cause(NamedTuple):
    """``word`` as in `CAUSES`; the fact it came by, where there is one."""

    word: str
    fact: Item | None = None
    when: int = 0

    @property
    def at(self) -> int:
        """When that happened, 0 if nothing did."""
        return self.fact[0] >> 22 if self.fact is not None else self.when

    @property
    def recorded_at(self) -> int:
        return ledger.recorded_at(self.fact[0], self.fact[2]) if self.fact is not None else 0

    def text(self) -> str:
        """``late:won:12d``: the kind of cause; of a late fact its type and how long after it happened it was recorded, of
        one that followed when the number was final, or was read late, its type."""
        if self.fact is None or self.word not in (LATE, BACKLOG, FOLLOWED):
            return self.word
        name = NAME.get(self.fact[1] >> 8 & 255, "unknown").removeprefix("share_")
        if self.word != LATE:
            return f"{self.word}:{name}"
        return f"{self.word}:{name}:{(self.recorded_at - self.at) // DAY}d"


def cause(
    events: Sequence[Event],
    told: Sequence[Told],
    true: Sequence[Item],
    facts: bytes,
    members: Mapping[str, Member],
    row: Row,
    closing: Closing,
) -> Cause:
    """Which of what came is behind a change of what was final: the oldest new fact, or what said who is who.

    :param true: what was held until it happened, and has happened now.
    :param facts: the ledger before, ``members`` likewise.
    """
    named = {NAME.get(e.kind, ""): _item(e) for e in events}
    for name in _LINKS:
        if name in named:
            return Cause(name, named[name])
    fresh = [*true, *(_item(e) for e in events if ledger.find(facts, e.b) < 0)]
    for x in told:
        old = members.get(x.sender)
        word = _link(x, old)
        if word:
            return Cause(word)
        have = {b >> 16 for _, b, _ in ledger.RECORD.iter_unpack(old.ledger)} if old is not None else set()
        if x.member is not None:
            fresh += [e for e in ledger.items(x.member.ledger, x.member.data) if e[1] >> 16 not in have]
    if fresh:
        return _of(min(fresh, key=lambda e: e[:2]))
    if events:
        return Cause("conflict", _item(min(events, key=lambda e: (e.a, e.b))))
    if told:
        return Cause(CHANGED if told[0].sender[:1] in ("d", "c") else "merged")
    older = [e for e in effective(row) if e[0] >> 22 < closing.today_ms]
    return _of(max(older, key=lambda e: ledger.recorded_at(e[0], e[2]))) if older else Cause(CHANGED)


def _of(e: Item) -> Cause:
    name = NAME.get(e[1] >> 8 & 255, "")
    if name in _LINKS:
        return Cause(name, e)
    return Cause(BACKFILLED if e[1] & BACKFILL else LATE, e)


def _item(e: Event) -> Item:
    return e.a, e.b, e.c, e.data


def _link(told: Told, old: Member | None) -> str:
    """Did another person's row come, or go?"""
    if told.sender[:1] not in ("l", "a"):
        return ""
    had, has = (m is not None and bool(m.ledger or m.members) for m in (old, told.member))
    if has and not had:
        return "merged" if told.sender[:1] == "l" else "identified"
    if had and not has:
        return "erased" if told.erase else "unmerged"
    return ""

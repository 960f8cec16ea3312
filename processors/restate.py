"""Numbers that were final and changed: which part of them a row has, and why it is another one now.

A month is closed so many days after its end (`Definition.closed_after_days`), a cohort is matured once its horizon has
passed for the last day of its month. What a row adds to such a number before and after a batch is compared: old and new
are the row's own part, so that the number itself changes by the sum of new - old, whatever the partitions and workers.
What time alone does is no restatement: a timer is dated at its due instant, whenever it is fired.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, NamedTuple

from processors import ledger
from processors.additive import Contribution
from processors.columns import COLUMNS, EVER, pairs, stage_names
from processors.compiled import Compiled
from processors.days import DAY, first_of_month, month_of_day
from processors.deals import Deal
from processors.events import BACKFILL, NAME, Event
from processors.ledger import Item
from processors.model import CODE, LOST_DEAL, WON, Journey, Member, Row
from processors.subject import Seen, Told, effective

#: Figures whose final numbers are restated; codes of sequence numbers, so append only.
FIGURES = (
    "leads", "entered", "left", "mqls", "sqls", "leads_won", "cohort_entered", "cohort_converted", "closed_deals",
    "won_amount", "lost_amount", "booked", "collected", "new_customers", "churned", "spend", "rate",
)  # fmt: skip
#: Of them, those in minor units of the currency among their labels.
MONEY = frozenset(("won_amount", "lost_amount", "booked", "collected", "spend"))
#: What a cause begins with.
CAUSES = (
    "late", "backlog", "backfill", "conflict", "identified", "merged", "unmerged", "erased", "definition", "changed",
    "spend", "rate",
)  # fmt: skip
LATE, BACKLOG, BACKFILLED, CHANGED = "late", "backlog", "backfill", "changed"

#: Facts that say who is who: where one of them is in a batch, it is the cause.
_LINKS = ("erased", "unmerged", "merged", "identified")


class Number(NamedTuple):
    """One number of a figure: its labels by name, and the month that it is of (``2026-10``), of a rate the day."""

    figure: str
    labels: tuple[tuple[str, str], ...]
    period: str


class Change(NamedTuple):
    """A row's part of a final number, before and after."""

    number: Number
    old: int
    new: int


class _From(NamedTuple):
    """How a figure is made of a count of `columns.COLUMNS`: its labels, and what others must be."""

    figure: str
    of: str
    labels: tuple[str, ...]
    where: tuple[tuple[str, str], ...] = ()


_MADE = (
    _From("leads", "leads_on", ("series", "source")),
    _From("entered", "entered_on", ("stage", "series", "source")),
    _From("left", "left_on", ("stage", "series", "source")),
    _From("mqls", "entered_on", ("source",), (("stage", "mql"), ("series", "marketing"))),
    _From("sqls", "entered_on", ("series", "source"), (("stage", "sql"),)),
    _From("leads_won", "won_on", ("source",)),
    _From("closed_deals", "deal_on", ("status", "pipeline", "currency")),
    _From("won_amount", "deal_amount_on", ("pipeline", "currency"), (("status", "won"),)),
    _From("lost_amount", "deal_amount_on", ("pipeline", "currency"), (("status", "lost"),)),
    _From("booked", "booked_on", ("kind", "currency")),
    _From("collected", "paid_on", ("currency",)),
    _From("new_customers", "new_customer_on", ()),
    _From("churned", "churned_on", ("reason",)),
)


#: The counts that final numbers are made of.
COUNTS = frozenset(("cohort", "converted", *(made.of for made in _MADE)))


class _Picked(NamedTuple):
    """`_From`, with places in keys instead of names."""

    figure: str
    day: int
    labels: tuple[tuple[str, int], ...]
    tests: tuple[tuple[int, Any], ...]


class Closing:
    """What is final at an instant, by the newest definition."""

    def __init__(self, now_ms: int, definitions: Sequence[Compiled]) -> None:
        d = self.d = definitions[-1]
        today = d.days.day(now_ms)
        #: All of this holds from the first to the second of these instants.
        self.today_ms, self.until_ms = d.days.start(today), d.days.start(today + 1)
        self.open_month = month_of_day(today - d.source.closed_after_days)
        self.first_open = first_of_month(self.open_month)
        self.first_open_ms = d.days.start(self.first_open)
        #: Horizon -> the first month whose cohort has not matured.
        self.ripe = {h: month_of_day(today - h) for h in d.source.horizons_days}
        self.cohort = max(self.open_month, *self.ripe.values())
        self._names = stage_names(definitions)
        # Who entered a stage is there once for each conversion from it: one of them is counted.
        self._first_to = dict(reversed(pairs(d)))
        self._picked: dict[str, list[_Picked]] = {}
        for made in _MADE:
            columns = COLUMNS[made.of]
            picked = _Picked(
                made.figure,
                columns.index("day") + 1,
                tuple((label, columns.index(label) + 1) for label in made.labels),
                tuple(
                    (columns.index(label) + 1, getattr(d, value) if label == "stage" else value)
                    for label, value in made.where
                ),
            )
            self._picked.setdefault(made.of, []).append(picked)

    def holds(self, now_ms: int) -> bool:
        return self.today_ms <= now_ms < self.until_ms

    def covers(self, number: Number) -> bool:
        """Is the number final?"""
        figure, labels, period = number
        if figure == "cohort_converted":
            ripe = self.ripe.get(int(dict(labels)["horizon"]), 0)
        else:
            ripe = self.cohort if figure == "cohort_entered" else self.open_month
        return int(period[:4]) * 12 + int(period[5:7]) - 1 < ripe

    def final(self, contribution: Contribution) -> dict[Number, int]:
        """The part of a row's fine contribution that lies in closed months and matured cohorts."""
        out: dict[Number, int] = {}
        for key, n in contribution.items():
            for picked in self._picked.get(key[0], ()):
                if key[picked.day] < self.first_open and all(key[i] == value for i, value in picked.tests):
                    labels = tuple((label, self._word(label, key[i])) for label, i in picked.labels)
                    number = Number(picked.figure, labels, month_text(month_of_day(key[picked.day])))
                    out[number] = out.get(number, 0) + n
            if key[0] == "cohort" and key[3] < self.cohort and self._first_to.get(key[1]) == key[2]:
                labels = (("stage", self._names[key[1]]), ("source", key[4]))
                number = Number("cohort_entered", labels, month_text(key[3]))
                out[number] = out.get(number, 0) + n
            elif key[0] == "converted" and key[3] != EVER and key[4] < self.ripe.get(key[3], 0):
                labels = (
                    ("from", self._names[key[1]]), ("to", self._names[key[2]]), ("horizon", str(key[3])), ("source", key[5]),
                )  # fmt: skip
                number = Number("cohort_converted", labels, month_text(key[4]))
                out[number] = out.get(number, 0) + n
        return out

    def changes(self, before: Contribution, after: Contribution) -> list[Change]:
        """What was final and is different now."""
        old, new = self.final(before), self.final(after)
        return [
            Change(number, old.get(number, 0), new.get(number, 0))
            for number in sorted(old.keys() | new.keys())
            if old.get(number, 0) != new.get(number, 0)
        ]

    def _word(self, label: str, value: Any) -> str:
        return self._names.get(value, f"retired:{value}") if label == "stage" else str(value)


def month_text(month: int) -> str:
    """``2026-10``."""
    return f"{month // 12:04d}-{month % 12 + 1:02d}"


# A cheap look first -------------------------------------------------------------------------------------------------


def since(before: Seen, after: Seen, won: int) -> int:
    """The earliest instant (epoch ms) at which the stages of a lead differ, 0 if its labels do.

    Nothing dated today is in a number that is final today, so most changes need no closer look. What comes after a
    win (``won`` is its stage) may take it back, so there it is the win that differs.
    """
    if before.past != after.past or (before.source != after.source and before.journeys):
        return 0
    old, new = before.journeys, after.journeys
    out = 1 << 62
    for n in range(max(len(old), len(new))):
        x = old[n] if n < len(old) else None
        y = new[n] if n < len(new) else None
        if x is not y:
            out = min(out, _apart(x, y, won))
    return out


def _apart(x: Journey | None, y: Journey | None, won: int) -> int:
    if x is None or y is None or x.generated != y.generated or x.n != y.n:
        return min(j.entries[0] >> 9 for j in (x, y) if j is not None)
    n, most = 0, min(len(x.entries), len(y.entries))
    while n < most and x.entries[n] == y.entries[n]:
        n += 1
    if n < max(len(x.entries), len(y.entries)):
        n = next((i for i in range(n) if x.entries[i] & CODE == won), n)
    return min((j.entries[n] >> 9 for j in (x, y) if n < len(j.entries)), default=1 << 62)


def closed_since(before: Deal | None, after: Deal | None) -> int:
    """The earliest instant at which one of them closed."""
    found = (d.closed for d in (before, after) if d is not None and d.status in (WON, LOST_DEAL))
    return min(found, default=1 << 62)


# Why ----------------------------------------------------------------------------------------------------------------


class Cause(NamedTuple):
    """``word`` as in `CAUSES`; the fact it came by, where there is one."""

    word: str
    fact: Item | None = None

    @property
    def at(self) -> int:
        """When that happened, 0 if nothing did."""
        return self.fact[0] >> 22 if self.fact is not None else 0

    @property
    def recorded_at(self) -> int:
        return ledger.recorded_at(self.fact[0], self.fact[2]) if self.fact is not None else 0

    def text(self) -> str:
        """``late:won:12d``: the kind of cause, of a late fact its type and how long after it happened it was recorded."""
        if self.fact is None or self.word not in (LATE, BACKLOG):
            return self.word
        name = NAME.get(self.fact[1] >> 8 & 255, "unknown").removeprefix("share_")
        if self.word == BACKLOG:
            return f"{self.word}:{name}"
        return f"{self.word}:{name}:{(self.recorded_at - self.at) // DAY}d"


def cause(
    events: Sequence[Event],
    told: Sequence[Told],
    facts: bytes,
    members: Mapping[str, Member],
    row: Row,
    closing: Closing,
) -> Cause:
    """Which of what came is behind a change of what was final: the oldest new fact, or what said who is who.

    :param facts: the ledger before, ``members`` likewise.
    """
    named = {NAME.get(e.kind, ""): _item(e) for e in events}
    for name in _LINKS:
        if name in named:
            return Cause(name, named[name])
    fresh = [_item(e) for e in events if ledger.find(facts, e.b) < 0]
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

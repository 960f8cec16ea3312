"""Who to call first: probability of winning times expected amount.

*What a lead is judged by* (`Call`) is looked at when sales gets it, so that nothing of the outcome comes in: as the
fold stands at the handoff's trigger, or, for a deal of a lead that was not handed over before, just before the deal's
opening. Closed deals are counted by it, one for each of their leads (`contribution`). While a handoff waits for its
answer the lead is judged as it stands now; afterwards by what was noted at its trigger.

Erased persons' deals stay counted, and say nothing of who is there now.

The snapshot in force at the start of the handoff's clocks governs it to its end. The expected amount is the lead's
part of its open deals, else the median part won in its segment, else of all, else unknown. Deals without an amount
say nothing about amounts.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import Any, NamedTuple

from processors import scoring, winmodel
from processors.additive import EMPTY
from processors.compiled import Compiled
from processors.model import (
    CODE,
    DEAL_STATUS,
    EXITS,
    HAND_RAISED,
    LOST_DEAL,
    OPEN,
    RUNNING,
    WON,
    Call,
    Handoff,
    Journey,
    Share,
    State,
)
from processors.reference import WinModel
from processors.scope import Scope

#: Labels of what closed deals add to the win model; stages are codes, as everywhere in totals.
COLUMNS: dict[str, tuple[str, ...]] = {
    "win_model": ("status", "feature", "value"),
    "win_amount": ("segment", "currency", "day", "amount"),
}
_OUTCOMES = (WON, LOST_DEAL)


class Outlook(NamedTuple):
    """What is hoped for. Amounts in minor units of ``currency``; None: nothing known to tell it from."""

    probability_ppm: int | None
    expected_minor: int | None
    currency: str | None
    priority_minor: int | None


def judged(s: State, t: int, d: Compiled, raised: bool) -> Call:
    """A lead as sales gets it at ``t``."""
    return Call(
        source=s.source or "",
        segment=s.segment,
        grade=scoring.grade(s.fit, d),
        stage=s.journeys[-1].entries[-1] & CODE,
        raised=raised or scoring.raised(s, t, d),
    )


def values(call: Call, name: Callable[[int], str]) -> dict[str, str]:
    """By feature, in words."""
    return {
        "source": call.source or EMPTY,
        "segment": call.segment or EMPTY,
        "fit_grade": call.grade or EMPTY,
        "stage": name(call.stage),
        "hand_raise": "yes" if call.raised else "no",
    }


# Counting --------------------------------------------------------------------------------------------------------


def call_of(share: Share, journeys: tuple[Journey, ...]) -> Call | None:
    """What the lead of a deal was judged by: at its last handoff before the deal was opened, else at the opening."""
    if 0 < share.journey <= len(journeys):
        for h in reversed(journeys[share.journey - 1].handoffs):
            if h.trigger <= share.opened and h.call is not None:
                return h.call
    return share.call


def contribution(
    journeys: tuple[Journey, ...], shares: Mapping[str, Share], d: Compiled
) -> Iterator[tuple[Any, ...]]:
    """What a lead's closed deals add, each key once; stages stay codes."""
    for share in shares.values():
        if share.outcome not in _OUTCOMES:
            continue
        call = call_of(share, journeys)
        if call is None:
            continue
        status = DEAL_STATUS[share.outcome]
        for feature, value in values(call, str).items():
            yield "win_model", status, feature, int(value) if feature == "stage" else value
        if share.outcome == WON and share.amount > 0 and share.currency:
            day = d.days.day(share.closed)
            yield "win_amount", call.segment or EMPTY, share.currency, day, share.amount


def snapshot(
    totals: Mapping[tuple[Any, ...], int], names: Mapping[int, str], price: winmodel.Price, currency: str
) -> dict[str, Any]:
    """The counts of some totals as they are published, stages by name."""
    counts: dict[tuple[str, str, str], int] = {}
    amounts: dict[tuple[str, str, int, int], int] = {}
    for key, n in totals.items():
        if key[0] == "win_model":
            _, status, feature, value = key
            word = (status, feature, names.get(value, str(value)) if feature == "stage" else value)
            counts[word] = counts.get(word, 0) + n
        elif key[0] == "win_amount":
            amounts[key[1:]] = n
    return winmodel.snapshot(counts, amounts, price, currency)


# Judging ---------------------------------------------------------------------------------------------------------


def outlook(s: State, h: Handoff, at: int, scope: Scope) -> Outlook:
    """What is hoped for of a handoff's lead, at ``at`` (ms)."""
    d = scope.definitions[h.definition]
    profiled, _ = s.consent.get("profiling", (True, 0))  # who refuses it is not judged
    found = scope.reference.win_model_at(h.begun) if profiled else None
    noted = h.call if h.outcome != OPEN else None
    call = noted or judged(s, at, d, bool(h.flags & HAND_RAISED))
    currency = found.model.currency if found is not None else d.source.base_currency
    probability = _probability(found, call, d)
    amount, currency, priced = _amount(s, h, found, call, currency, scope)
    if amount is None:
        return Outlook(probability, None, None, None)
    if probability is None or not priced:
        return Outlook(probability, amount, currency, None)
    return Outlook(probability, amount, currency, winmodel.priority_minor(probability, amount))


def _probability(found: WinModel | None, call: Call, d: Compiled) -> int | None:
    if found is None:
        return None
    stages = found.model.features.get("stage", {})

    def name(code: int) -> str:
        """As the snapshot calls it: a stage may have been renamed since."""
        now = d.names.get(code) or EXITS.get(code, str(code))
        return now if now in stages else next((old for old in stages if d.codes.get(old) == code), now)

    return found.model.probability_ppm(values(call, name))


def _amount(
    s: State, h: Handoff, found: WinModel | None, call: Call, currency: str, scope: Scope
) -> tuple[int | None, str, bool]:
    """(amount, currency, whether that currency is the one in which priorities are compared)."""
    day = scope.definitions[h.definition].days.day(h.begun)
    total: int | None = None
    other: Share | None = None
    for share in s.shares.values():
        if share.outcome == RUNNING and share.amount > 0 and share.currency and share.journey > s.lives:
            priced = scope.reference.estimate(share.amount, share.currency, day, currency)
            if priced is not None:
                total = (total or 0) + priced
            elif other is None or (share.opened, share.amount) > (other.opened, other.amount):
                other = share
    if total is None and other is not None:
        return other.amount, other.currency, False
    if total is None and found is not None:
        total = found.model.expected_minor(call.segment or EMPTY)
    return total, currency, True

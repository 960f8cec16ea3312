"""Attribution: which touches earned what was booked. Each lead's row splits its own share, to the minor unit.

A touch is the first event of a visit, a form, an ad click, a human e-mail click or an attended event; what is only
sent or opened never is. A visit is a run of page views, downloads, forms and clicks with no gap of more than 30
minutes; a click opens it, so the page it leads to is no second touch. Amounts stay in the currency and on the day
they were booked with; `priced` puts them into the base currency when they are read, so a restated rate restates
them openly, and Σ credit = booked revenue in either currency.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from fractions import Fraction
from typing import Any, NamedTuple

from msgspec import Struct

from processors.additive import EMPTY
from processors.compiled import Compiled, fading
from processors.definition.model import DAY
from processors.events import KIND, NAME, PROXY
from processors.ledger import Item
from processors.model import CODE, REJECTED, WON, Journey, Share
from processors.money import minor_digits
from processors.reference import Reference
from processors.visits import AD, ATTENDED, CLICK, FORM, actions, belongs, field, named

UNATTRIBUTED = "unattributed"
#: Labels of what credits add to the figures. ``attributed_on`` is for exact reports, ``attributed`` for metrics.
COLUMNS: dict[str, tuple[str, ...]] = {
    "attributed": ("model", "channel", "currency"),
    "attributed_on": ("model", "channel", "campaign", "kind", "currency", "day"),
    "credited_on": ("model", "channel", "campaign", "day"),
}
#: What is booked, and whether it adds to revenue or takes from it.
SIGN = {"won": 1, "renewed": 1, "upsell": 1, "cross_sell": 1, "contracted": -1, "refunded": -1}

_SALES = "sales"
_DIRECT = "direct"
_ALONE = frozenset((FORM, AD, CLICK))  # touches wherever in a visit they are
_TOUCHED, _REFUNDED = KIND["touched"], KIND["invoice_refunded"]


#: A model, the touches that share by it, and their weights; no touches: nobody earned it.
_Part = tuple[str, Sequence["Touch"], Sequence[int]]


class Touch(Struct, frozen=True, array_like=True, gc=False):
    """Something a person did, or sales did with them; ``t`` epoch ms. ``campaign`` "" where none is known."""

    t: int
    channel: str
    campaign: str


class Credit(NamedTuple):
    """What a channel and campaign earned, by one model: minor units of ``currency``, negative for what was taken
    back, booked at ``t``. ``kind`` as in `SIGN`, ``deal`` "" where it is about none."""

    model: str
    kind: str
    deal: str
    channel: str
    campaign: str
    currency: str
    t: int
    amount: int
    touches: int = 0  # how many of them share in what was won


# Touches ---------------------------------------------------------------------------------------------------------


def touches(items: Iterable[Item], d: Compiled) -> list[Touch]:
    """The touches among the facts of a lead, in order; which channel a visit came by: `visits.actions`."""
    items = list(items)
    out: list[Touch] = []
    for x in actions(items, d):
        t = x.item[0] >> 22
        if x.kind == ATTENDED and x.agent < PROXY:
            out.append(Touch(t, named({"type": NAME[ATTENDED]}, d) or d.source.default_channel, ""))
        elif belongs(x.kind, x.agent) and (x.begins or x.kind in _ALONE):
            out.append(Touch(t, x.stay.channel, x.stay.campaign))
    if d.source.attribution.sales_touches:
        channel = named({"type": "touched"}, d) or _SALES
        out += [
            Touch(e[0] >> 22, channel, "")
            for e in items
            if e[1] >> 8 & 255 == _TOUCHED and not _by_system(e[3])
        ]
        out.sort(key=lambda x: x.t)
    return out


def _by_system(data: Any) -> bool:
    actor = field(data, 3)
    return type(actor) is list and actor[0] == "system"


def channel_of(source: str, d: Compiled) -> str:
    """The channel of leads that came from a source, as it names that of a first visit that says nothing of itself."""
    return (source != EMPTY and named({"source": source}, d)) or d.source.default_channel


# Models ----------------------------------------------------------------------------------------------------------


def weights(model: str, found: Sequence[Touch], created: int, opened: int, d: Compiled) -> list[int]:
    """How the touches in the window share, by a model (DOMAIN 6). At least one touch.

    :param created: when the lead became known, epoch ms; 0: never.
    :param opened: when the opportunity was opened.
    """
    n = len(found)
    out = [0] * n
    if model == "first":
        out[0] = 1
    elif model == "last":
        out[-1] = 1
    elif model == "linear":
        out = [1] * n
    elif model == "position":
        out = [20] * n
        out[0] = out[-1] = 40 * max(n - 2, 1)  # of one or two there is no rest: alone, or half each
    elif model == "w":
        return _w(found, created, opened)
    elif model == "time_decay":
        table = fading(d.source.attribution.time_decay_half_life_days)
        newest = d.days.day(
            found[-1].t
        )  # ages against each other are all that counts, so something is always left
        ages = [newest - d.days.day(x.t) for x in found]
        out = [table[age] if age < len(table) else 0 for age in ages]
    elif model == "last_non_direct":
        direct = (_DIRECT, d.source.default_channel)
        out[next((i for i in reversed(range(n)) if found[i].channel not in direct), n - 1)] = 1
    else:
        raise ValueError(f"there is no attribution model {model!r}")
    return out


def _w(found: Sequence[Touch], created: int, opened: int) -> list[int]:
    """30 each to the first touch, the one that made the lead and the one that made the opportunity (the last ones at
    or before those instants), 10 to the rest. Coinciding add up; what has no touch in the window, or no rest, is left
    out and the others grow in proportion."""
    out = [0] * len(found)
    anchors = {0}
    out[0] = 30
    for instant in (created, opened):
        before = [i for i, x in enumerate(found) if instant and x.t <= instant]
        if before:
            out[before[-1]] += 30
            anchors.add(before[-1])
    rest = len(found) - len(anchors)
    return [x * rest if i in anchors else 10 for i, x in enumerate(out)] if rest else out


def window(found: Sequence[Touch], closed: int, d: Compiled) -> list[Touch]:
    """Touches within the look-back before closing, both ends included; the handoff is no end."""
    since = closed - d.source.attribution.look_back_days * DAY
    return [x for x in found if since <= x.t <= closed]


# Credits ---------------------------------------------------------------------------------------------------------


def of_lead(
    items: Iterable[Item],
    journeys: Sequence[Journey],
    shares: Mapping[str, Share],
    d: Compiled,
    kept: Sequence[Touch] = (),
) -> tuple[Credit, ...]:
    """What the touches of a lead earned: its share of each deal won, less its share of refunds.

    :param items: the effective facts of the lead, in order.
    :param kept: touches from before the first item, where the ledger has been cut.
    """
    won = {deal: share for deal, share in shares.items() if share.outcome == WON}
    items = list(items)
    refunds = [e for e in items if e[1] >> 8 & 255 == _REFUNDED]
    if not won and not refunds:
        return ()
    found = [*kept, *touches(items, d)]
    created = _known(journeys, d)
    none: list[_Part] = [(model, (), []) for model in d.source.attribution.models]
    parts: dict[str, list[_Part]] = {}
    out: list[Credit] = []
    for deal, share in won.items():
        inside = window(found, share.closed, d)
        if inside:
            parts[deal] = [(m, inside, weights(m, inside, created, share.opened, d)) for m, _, _ in none]
        for part in parts.get(deal, none):
            out += _credits(part, ("won", deal, share.currency, share.closed), 0, share.amount)
    back: dict[tuple[str, str], int] = {}
    for a, _, _, data in refunds:
        currency, deal = str(field(data, 1) or ""), str(field(data, 2) or "")
        before = back.get((deal, currency), 0)
        after = back[deal, currency] = before - field(data, 0)
        for part in parts.get(deal, none):
            out += _credits(part, ("refunded", deal, currency, a >> 22), before, after)
    return tuple(out)


def _known(journeys: Sequence[Journey], d: Compiled) -> int:
    """When the lead was created, as the stages tell: the first entry to known."""
    for j in journeys:
        for x in j.entries:
            if d.known <= x & CODE < REJECTED:
                return x >> 9
    return 0


def _credits(part: _Part, what: tuple[str, str, str, int], before: int, after: int) -> list[Credit]:
    """What a change from one amount in all to another gives to each channel and campaign.

    The amounts in all are split, and not the change, so that refunds in parts take back what one would have.

    :param what: kind, deal, currency and instant.
    """
    model, seen, w = part
    kind, deal, currency, t = what
    earned: dict[tuple[str, str], int] = {}
    touched: dict[tuple[str, str], int] = {}
    if seen:
        if kind == "won":
            for touch, share in zip(seen, w, strict=True):
                if share:
                    who = (touch.channel, touch.campaign)
                    touched[who] = touched.get(who, 0) + 1
        for touch, old, new in zip(seen, shares_of(before, w), shares_of(after, w), strict=True):
            earned[touch.channel, touch.campaign] = earned.get((touch.channel, touch.campaign), 0) + new - old
    else:
        earned[UNATTRIBUTED, ""] = after - before
    return [
        Credit(model, kind, deal, *who, currency, t, n, touched.get(who, 0))
        for who, n in earned.items()
        if n or who in touched
    ]


def shares_of(amount: int, w: Sequence[int]) -> list[int]:
    """`money.split` for whole weights that are not all 0: it is called for every touch of every model."""
    if not amount:
        return [0] * len(w)
    total, sign, whole = sum(w), 1 if amount > 0 else -1, abs(amount)
    out = [whole * x // total for x in w]
    missing = whole - sum(out)
    if missing:
        for i in sorted(range(len(w)), key=lambda i: (-(whole * w[i] % total), i))[:missing]:
            out[i] += 1
    return out if sign > 0 else [-x for x in out]


def unattributed(
    kind: str, currency: str, t: int, amount: int, d: Compiled, deal: str = ""
) -> tuple[Credit, ...]:
    """What was booked and no lead has a part in: a deal without leads, a renewal. ``amount`` is not negative."""
    signed = SIGN[kind] * amount
    models = d.source.attribution.models if signed else ()
    return tuple(Credit(model, kind, deal, UNATTRIBUTED, "", currency, t, signed) for model in models)


def by_model(earned: Iterable[Credit]) -> dict[str, tuple[tuple[str, str, int], ...]]:
    """(channel, campaign, minor units) of each model; of credits in one currency."""
    sums: dict[str, dict[tuple[str, str], int]] = {}
    for x in earned:
        own = sums.setdefault(x.model, {})
        own[x.channel, x.campaign] = own.get((x.channel, x.campaign), 0) + x.amount
    return {model: tuple((*who, n) for who, n in own.items()) for model, own in sums.items()}


def contribution(earned: Iterable[Credit], d: Compiled, fine: bool = True) -> dict[tuple[Any, ...], int]:
    """What credits add to the figures, under `COLUMNS`."""
    out: dict[tuple[Any, ...], int] = {}
    for x in earned:
        key: tuple[Any, ...] = ("attributed", x.model, x.channel, x.currency or EMPTY)
        out[key] = out.get(key, 0) + x.amount
        if fine:
            day = d.days.day(x.t)
            key = ("attributed_on", x.model, x.channel, x.campaign or EMPTY, x.kind, x.currency or EMPTY, day)
            out[key] = out.get(key, 0) + x.amount
            key = ("credited_on", x.model, x.channel, x.campaign or EMPTY, day)
            out[key] = out.get(key, 0) + x.touches
    return {k: n for k, n in out.items() if n}


# Base currency ---------------------------------------------------------------------------------------------------


def priced(
    found: Mapping[tuple[Any, ...], int], reference: Reference, base: str
) -> tuple[dict[tuple[str, str, str, str, int], int], dict[tuple[str, str, str, str, str], int]]:
    """``attributed_on`` in minor units of the base currency, and what has no rate of its day (by currency, as it is).

    Keys are (model, channel, campaign, kind, day), and (model, channel, campaign, kind, currency). What one model
    credits of one kind, currency and day is converted as one sum and shared by largest remainder, as
    `market.priced` converts what was booked: so both sums are the same to the minor unit.
    """
    groups: dict[tuple[str, str, str, int], list[tuple[str, str, int]]] = {}
    for key, n in found.items():
        if key[0] == "attributed_on":
            _, model, channel, campaign, kind, currency, day = key
            groups.setdefault((model, kind, currency, day), []).append((channel, campaign, n))
    out: dict[tuple[str, str, str, str, int], int] = {}
    bare: dict[tuple[str, str, str, str, str], int] = {}
    for (model, kind, currency, day), members in groups.items():
        members.sort()
        rate = reference.rate(currency, base, day)
        if rate is None:
            for channel, campaign, n in members:
                without = (model, channel, campaign, kind, currency)
                bare[without] = bare.get(without, 0) + n
            continue
        factor = rate * Fraction(10) ** (minor_digits(base) - minor_digits(currency))
        exact = [n * factor for _, _, n in members]
        for (channel, campaign, _), n in zip(members, apportioned(exact), strict=True):
            if n:  # other currencies may have been booked on the same day
                own = (model, channel, campaign, kind, day)
                out[own] = out.get(own, 0) + n
    return out, bare


def apportioned(exact: Sequence[Fraction]) -> list[int]:
    """Integers that sum to the half-even sum of ``exact``: largest remainder, ties to the earlier; any sign."""
    floors = [x.__floor__() for x in exact]
    missing = round(sum(exact, Fraction(0))) - sum(floors)
    order = sorted(range(len(exact)), key=lambda i: (floors[i] - exact[i], i))
    for i in order[:missing]:
        floors[i] += 1
    return floors

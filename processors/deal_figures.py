"""What a deal adds to each figure: counts by status, money, and how it stood from day to day."""

from __future__ import annotations

from collections.abc import Callable
from itertools import zip_longest

from processors import attribution
from processors.additive import EMPTY, Contribution, Key, add
from processors.deals import Deal
from processors.model import DEAL_STATUS, LOST_DEAL, ON_HOLD, RUNNING, WON
from processors.scope import Scope


def of_deal(deal: Deal | None, scope: Scope, fine: bool = True) -> Contribution:
    """What a deal's row adds: counts by status, and money in minor units of the deal's own currency."""
    if deal is None:
        return {}
    status, currency = DEAL_STATUS[deal.status], deal.currency or EMPTY
    out: Contribution = {("deal", status): 1}
    closed = deal.status in (WON, LOST_DEAL)
    pipeline = deal.pipeline or EMPTY
    day = scope.definitions[-1].days.day
    if closed:
        out["deal_amount", status, currency] = deal.amount
        out["deal_amount_on", status, pipeline, currency, day(deal.closed)] = deal.amount
    elif deal.status in (RUNNING, ON_HOLD):
        out["deal_open_amount", status, currency] = deal.amount
        if deal.status == RUNNING:
            out["deal_weighted", currency] = deal.amount * deal.probability_ppm
    if not deal.leads:
        out["deal_without_lead", status] = 1
    if fine:
        if closed:
            at = day(deal.closed)
            out["deal_on", status, pipeline, currency, at] = 1
            if deal.status == WON:
                out["cycle_on", pipeline, at, at - day(deal.opened)] = 1
        else:
            out["deal_open", status, pipeline] = 1
        _course(deal, pipeline, day, out)
    if deal.status == WON:
        d = scope.definitions[-1]
        if not deal.leads:
            earned = attribution.unattributed("won", deal.currency, deal.closed, deal.amount, d)
            add(out, attribution.contribution(earned, d, fine).items())
        if fine and not deal.account:  # a customer that nobody gave an account
            out["new_customer_on", day(deal.closed)] = 1
            out["joined_on", "new", day(deal.closed)] = 1
    return {k: n for k, n in out.items() if n}


def _course(deal: Deal, pipeline: str, day: Callable[[int], int], out: Contribution) -> None:
    """How the deal stood and stands, as steps: the sum of the steps up to a day is how it stood when that day ended.

    So what was foreseen n days before a period's end can be told of any n and any period, and late facts restate it.
    Weighted are amounts of open deals × probability per million, variance is amount² × p × (1 - p) in its square.
    """
    for one, then in zip_longest(deal.course, deal.course[1:]):
        if one.status not in (RUNNING, ON_HOLD, WON):
            continue
        closes = day(one.closed) if one.status == WON else one.closes
        what = (pipeline, one.currency or EMPTY, closes)
        status = DEAL_STATUS[one.status]
        for at, sign in ((one.t, 1), *(((then.t, -1),) if then is not None else ())):
            when = day(at)
            steps: list[tuple[Key, int]] = [
                (("course_on", status, *what, when), sign),
                (("course_amount_on", status, *what, when), sign * one.amount),
            ]
            if one.status == RUNNING and one.ppm >= 0:
                variance = one.amount * one.amount * one.ppm * (1_000_000 - one.ppm)
                steps.append((("weighted_on", *what, when), sign * one.amount * one.ppm))
                steps.append((("variance_on", *what, when), sign * variance))
            elif one.status == RUNNING:
                steps.append((("unweighted_on", *what, when), sign * one.amount))
            add(out, steps)

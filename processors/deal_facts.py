"""What the deals of a lead do to it: their stages imply its own."""

from __future__ import annotations

from processors import handoff, lifecycle, priority, shares
from processors.answers import reach
from processors.events import KIND
from processors.fact import Fact, Handler
from processors.model import DELETED, ENDED, LOST, LOST_DEAL, RUNNING, WON, Call, Journey, Share, State


def _deal_opened(s: State, f: Fact) -> None:
    deal = str(f.at(0))
    j = s.journeys[-1]
    call = None
    if deal not in s.shares:
        call = _judged(s, f)
        if j.exited or j.at < f.d.opportunity:
            reach(s, f, f.d.opportunity)
    _share(s, f, "share_opened", call)


def _judged(s: State, f: Fact) -> Call | None:
    """The lead as it stands before a deal is opened; of one handed over before, its handoff knows (`priority`)."""
    j = s.journeys[-1]
    return None if not j.exited and j.handoffs else priority.judged(s, f.t, f.d, False)


def _share(s: State, f: Fact, name: str, call: Call | None = None) -> None:
    s.shares = shares.moved(s.shares, KIND[name], f.t, f.data, s.journeys[-1].n, call)


def _of_deal(s: State, f: Fact) -> Share:
    if str(f.at(0)) not in s.shares:
        _deal_opened(s, f)
    return s.shares[str(f.at(0))]


def _deal_won(s: State, f: Fact) -> None:
    call, known = None, s.shares.get(str(f.at(0)))
    if known is None:  # nobody told of its opening: that stage is implied too (case 25)
        call = _judged(s, f)
        if s.journeys[-1].exited or s.journeys[-1].at < f.d.won:
            reach(s, f, f.d.won)
    _share(s, f, "share_won", call)
    j = s.journeys[s.shares[str(f.at(0))].journey - 1]
    if j is not s.journeys[-1]:  # the lead is on another pass: that one did not win
        if known is not None and known.outcome != WON:
            lifecycle.mark(s, f.t, ENDED, f.d.won)
        return
    if j.exited:  # lost, or sent back, and won in the end
        lifecycle.re_enter(s, f.t, f.d.won, f.backfill)
    elif j.at < f.d.won:
        reach(s, f, f.d.won)


def _deal_lost(s: State, f: Fact) -> None:
    share = _of_deal(s, f)
    _share(s, f, "share_lost")
    _close_if_all_lost(s, f, s.journeys[share.journey - 1], str(f.at(3) or ""))


def _close_if_all_lost(s: State, f: Fact, j: Journey, reason: str) -> None:
    others = [x.outcome for x in s.shares.values() if x.journey == j.n]
    if j is s.journeys[-1] and not j.exited and all(x in (LOST_DEAL, DELETED) for x in others):
        rule = f.d.source.reasons.get(("lost", reason))
        if rule is not None and rule.action == "disqualify":
            s.barred |= 2
        handoff.answered(s, f.t, handoff.returns(rule, f.d.source.policy.lost_recycle_days, f.t))
        lifecycle.leave(s, f.t, LOST, reason)


def _deal_reopened(s: State, f: Fact) -> None:
    share = _of_deal(s, f)
    if share.outcome == RUNNING:
        return
    _share(s, f, "share_reopened")
    j = s.journeys[share.journey - 1]
    won = any(x.outcome == WON for x in s.shares.values() if x.journey == j.n)
    if j is s.journeys[-1] and not won and (j.at == LOST or j.at == f.d.won):
        lifecycle.re_enter(s, f.t, f.d.opportunity, f.backfill)


def _deal_gone(s: State, f: Fact) -> None:
    """Deleted, or no longer this lead's."""
    share = s.shares.get(str(f.at(0)))
    if share is not None:
        _share(s, f, "share_gone")
        _close_if_all_lost(s, f, s.journeys[share.journey - 1], "deleted")


def _amount(s: State, f: Fact) -> None:
    _of_deal(s, f)  # the deal is there, be it that nobody told of its opening
    _share(s, f, "share_amount")


HANDLERS: dict[str, Handler] = {
    "share_opened": _deal_opened,
    "share_amount": _amount,
    "share_won": _deal_won,
    "share_lost": _deal_lost,
    "share_reopened": _deal_reopened,
    "share_gone": _deal_gone,
}

"""The figures of lead quality: what became of leads by source, segment and campaign, what helped, and nurture."""

from __future__ import annotations

from collections.abc import Iterator
from fractions import Fraction

from processors.figure_kit import LEAD, MINOR_UNITS, Figure, Line, count, figure, made_of, part
from processors.totals import Labels, Sel, Totals

_FROM = ("campaign", *LEAD)


def _reached(*names: str) -> dict[str, Sel]:
    return {name: Sel("quality_on", {"reached": name}) for name in names}


def _decided(*names: str) -> dict[str, Sel]:
    return {name: Sel("decided_on", {"answer": name}) for name in names}


def _value(t: Totals, by: Labels) -> Iterator[Line]:
    """Per currency: a lead that was won in another one was still a lead."""
    at = by.index("currency")
    leads = t.sums(Sel("quality_on", {"reached": "lead"}), (*by[:at], *by[at + 1 :]))
    for key, amount in t.sums(Sel("quality_value_on"), by).items():
        n = leads.get((*key[:at], *key[at + 1 :]), 0)
        yield key, Fraction(amount, n) if n else None, {"amount": amount, "leads": n}, ""


def _by_reason(t: Totals, by: Labels) -> Iterator[Line]:
    """Of all answers under the other labels: an acceptance has no reason."""
    at = by.index("reason")
    answers = t.sums(Sel("decided_on"), (*by[:at], *by[at + 1 :]))
    for key, n in t.sums(Sel("decided_on", {"answer": "rejected"}), by).items():
        inputs = {"rejected": n, "answered": answers[(*key[:at], *key[at + 1 :])]}
        yield key, part("rejected", "answered")(inputs), inputs, ""


def _status(name: str) -> dict[str, Sel]:
    return {status: Sel(name, {"status": status}) for status in ("won", "lost")}


FIGURES: tuple[Figure, ...] = (
    figure(
        "quality_acceptance", "lead quality", "ratio",
        "leads that sales accepted/leads that it decided on, of the leads new in the period; the campaign is that of a "
        "lead's first touch",
        made_of(part("accepted", "decided"), _reached("accepted", "decided")), _FROM,
    ),
    figure(
        "quality_sql_rate", "lead quality", "ratio", "leads that came to sql or further/leads new in the period",
        made_of(part("sql", "lead"), _reached("sql", "lead")), _FROM,
    ),
    figure(
        "quality_won_rate", "lead quality", "ratio", "leads with a win that stands/leads new in the period",
        made_of(part("won", "lead"), _reached("won", "lead")), _FROM,
    ),
    figure(
        "value_per_lead", "lead quality", MINOR_UNITS,
        "leads' shares of the amounts won/leads, of the leads new in the period", _value, _FROM, ("currency",), adds=False,
        money=("amount",),
    ),
    figure(
        "answers_by_campaign", "lead quality", "handoffs",
        "answered handoffs by the campaign of the lead's first touch, of those whose clocks started in the period",
        count("decided_on"), ("rule", *LEAD), ("campaign", "answer"),
    ),
    figure(
        "acceptance_by_campaign", "lead quality", "ratio", "accepted/(accepted + rejected)",
        made_of(part("accepted", "accepted", "rejected"), _decided("accepted", "rejected")), ("rule", *LEAD), ("campaign",),
    ),
    figure(
        "rejections_by_campaign", "lead quality", "handoffs", "rejected handoffs by campaign and reason",
        count("decided_on", answer="rejected"), ("rule", *LEAD), ("campaign", "reason"),
    ),
    figure(
        "rejection_rate_by_campaign", "lead quality", "ratio", "rejected/(accepted + rejected)",
        made_of(part("rejected", "accepted", "rejected"), _decided("accepted", "rejected")), ("rule", *LEAD), ("campaign",),
    ),
    figure(
        "rejection_rate_by_reason", "lead quality", "ratio", "rejected for this reason/(accepted + rejected)",
        _by_reason, ("rule", *_FROM), ("reason",),
    ),
    figure(
        "material_shares", "material", "shares", "pieces of material that sales gave to leads",
        count("shared_on"), ("asset", *LEAD),
    ),
    figure(
        "material_journeys", "material", "journeys", "journeys in which sales shared material, on the day of the first",
        count("helped_on"), LEAD,
    ),
    figure(
        "asset_journeys", "material", "journeys", "journeys in which sales shared a piece of material",
        count("helped_by_on"), LEAD, ("asset",),
    ),
    figure(
        "material_win_rate", "material", "ratio",
        "won/(won + lost), of leads' links to deals closed in the period, in journeys with material shared before and "
        "without; an association, not an effect",
        made_of(part("won", "won", "lost"), _status("helped_deal_on")), LEAD, ("material",),
    ),
    figure(
        "asset_win_rate", "material", "ratio",
        "won/(won + lost), of leads' links to deals closed in the period after this piece was shared; an association, "
        "not an effect",
        made_of(part("won", "won", "lost"), _status("helped_deal_by_on")), LEAD, ("asset",),
    ),
    figure(
        "nurture_signals", "nurture", "signals",
        "pauses (a handoff), resumptions (the lead came back from sales, or consents again) and stops (no consent to "
        "marketing)",
        count("nurture_on"), LEAD, ("signal",),
    ),
)  # fmt: skip

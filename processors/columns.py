"""What is counted: the name of each count, its labels, and the values of those that are codes.

Stages are codes in keys, not names: totals outlive a renaming. Days are calendar days of the reporting time zone.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

from processors import accounts, attribution, engagement, lead_quality, market, priority
from processors.compiled import Compiled
from processors.model import EXITS, GENERATED

#: Horizon of "ever" in cohort conversions.
EVER = 0
#: How an entry of a stage came about: who generated the journey, or why it counts apart.
SERIES = (*GENERATED, "recycled", "implied", "imported")
#: What becomes of a handoff. ``imported_open``: from back-fill, and history does not hold its answer.
HANDOFF_STATES = ("open", "accepted", "rejected", "expired", "withdrawn", "imported_open")
CLOCKS = ("first_touch", "decision", "meeting")
#: A clock that ended with its handoff before its due instant is ``dropped``: it was neither met nor breached.
CLOCK_STATES = ("open", "met", "breached", "dropped")

_LEAD = ("source", "segment")
_CALL = ("source", "segment", "team", "owner", "rule")
#: Labels of each count, in the order of its keys. Those that end in ``_on`` say the day, for periods; of them the
#: worker's metrics have only those that put a price on something: ``deal_amount_on``, ``booked_on``, ``paid_on``.
COLUMNS: dict[str, tuple[str, ...]] = (
    {
        "persons": _LEAD,
        "leads": ("series", *_LEAD),
        "entered": ("stage", "series", *_LEAD),
        "left": ("stage", "series", *_LEAD),
        "balance": ("stage", "series", *_LEAD),
        "handoff": ("outcome", *_LEAD, "team"),
        "returned": ("reason", "source"),
        "rejected": ("reason", "source", "rule"),
        "admitted": ("rule", "source"),
        "sla": ("clock", "state", "team"),
        "speed": ("team", "bin"),
        "untouched": ("team",),
        "days_to_won": ("source", "days"),
        "stranded": (),
        "unexplained": (),
        "alias_drift": (),
        "crowded": (),
        "deal": ("status",),
        "deal_amount": ("status", "currency"),
        "deal_open_amount": ("status", "currency"),
        "deal_weighted": ("currency",),
        "deal_without_lead": ("status",),
        "leads_on": ("series", *_LEAD, "day"),
        "entered_on": ("stage", "series", *_LEAD, "day"),
        "left_on": ("stage", "series", *_LEAD, "day"),
        "stay_on": ("stage", *_LEAD, "day", "days"),
        "cohort": ("from", "to", "cohort", *_LEAD),
        "converted": ("from", "to", "horizon", "cohort", *_LEAD),
        "handoff_on": ("outcome", "reason", "returned", *_CALL, "day"),
        "sla_on": ("clock", "state", *_CALL, "day"),
        "speed_on": ("time", *_CALL, "day", "bin"),
        "untouched_on": (*_CALL, "day"),
        "complete_on": (*_CALL, "day"),
        "delay_on": ("delay", "time", *_CALL, "day", "bin"),
        "delay_open_on": ("delay", *_CALL, "day"),
        "won_on": (*_LEAD, "born", "day", "days"),
        "link_on": ("status", *_LEAD, "team", "owner", "currency", "day"),
        "link_amount_on": ("status", *_LEAD, "team", "owner", "currency", "day"),
        "deal_on": ("status", "pipeline", "currency", "day"),
        "deal_amount_on": ("status", "pipeline", "currency", "day"),
        "deal_open": ("status", "pipeline"),
        "cycle_on": ("pipeline", "day", "days"),
        "course_on": ("status", "pipeline", "currency", "closes", "day"),
        "course_amount_on": ("status", "pipeline", "currency", "closes", "day"),
        "weighted_on": ("pipeline", "currency", "closes", "day"),
        "variance_on": ("pipeline", "currency", "closes", "day"),
        "unweighted_on": ("pipeline", "currency", "closes", "day"),
    }
    | attribution.COLUMNS
    | engagement.COLUMNS
    | lead_quality.COLUMNS
    | accounts.COLUMNS
    | market.COLUMNS
    | priority.COLUMNS
)


def stage_names(definitions: Sequence[Compiled]) -> dict[int, str]:
    """Code to name, by the newest definition: renamed ones mapped, removed ones ``retired:<name>`` (case 37)."""
    newest = definitions[-1]
    names: dict[int, str] = {}
    for d in definitions:
        for code, name in d.names.items():
            renamed = newest.codes.get(name)
            names[code] = newest.names[renamed] if renamed is not None else f"retired:{name}"
    return names | newest.names | EXITS


def pairs(d: Compiled) -> tuple[tuple[int, int], ...]:
    """The conversions that are reported: each stage to the next, and the whole way."""
    path = (d.known, d.mql, d.sal, d.sql, d.opportunity, d.won)
    return (*pairwise(path), (d.known, d.won), (d.mql, d.won))

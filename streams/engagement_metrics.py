"""Engagement for Prometheus: what people did, who looked at e-mails, visits, answers and objections.

Labels have known values, or the largest are shown. A campaign, an asset or an e-mail is no label: reports have them.
"""

from __future__ import annotations

from collections.abc import Iterator

from prometheus_client.core import Metric

from processors.engagement import AGENTS, CLICKED, OPENED
from processors.events import FACT, NAME
from processors.surveys import ANSWERS
from processors.totals import Sel, Totals
from streams.metric_kit import Bounded, bound, gauge, sizes

_CATEGORIES = 24
_TYPES = tuple(name for code, name in NAME.items() if code < FACT)
_AGENTS = tuple(AGENTS.values())


def families(t: Totals) -> Iterator[Metric]:
    """Sums over the partitions of a worker; sum them over workers."""
    yield gauge(
        "leadstream_engagement_events",
        "What people did or were sent, by type and by who did it.",
        ("type", "agent"),
        dict.fromkeys(((type_, agent) for type_ in _TYPES for agent in _AGENTS), 0)
        | t.sums(Sel("engaged"), ("type", "agent")),
    )
    yield gauge(
        "leadstream_emails",
        "E-mails opened or clicked, each counted once per send and lead, by who did. Open rate = opened by "
        "human/engagement_events of type email_delivered.",
        ("state", "agent"),
        dict.fromkeys(((state, agent) for state in (OPENED, CLICKED) for agent in _AGENTS), 0)
        | t.sums(Sel("email"), ("email", "agent")),
    )
    yield gauge(
        "leadstream_visits", "Visits: what a person did with no gap of more than 30 minutes.", (),
        {(): 0} | t.sums(Sel("visits"), ()),
    )  # fmt: skip
    yield gauge(
        "leadstream_survey_answers",
        "Answers to surveys of kind nps. Net promoter score = 100 × (promoter - detractor)/all.",
        ("answer",),
        dict.fromkeys(((answer,) for answer in ANSWERS), 0) | t.sums(Sel("recommends"), ("answer",)),
    )
    category = Bounded(sizes(t, "objections", "category"), (), _CATEGORIES)
    yield gauge(
        "leadstream_objections", "Objections that leads raised.", ("category",),
        bound(t.sums(Sel("objections"), ("category",)), category),
    )  # fmt: skip

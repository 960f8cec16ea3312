"""Visits: runs of what a person did on the site with no gap of more than 30 minutes, and the channel they came by.

A click opens a visit, so the page it leads to is no second one; an ad or e-mail click within a visit names its channel
anew. What bots and proxies did is nobody's visit.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from processors.compiled import Compiled
from processors.events import AGENT_MASK, AGENT_SHIFT, FACT, HUMAN, KIND, NAME, PROXY
from processors.ledger import Item
from processors.model import State
from processors.scoring import as_classified

GAP_MS = 30 * 60_000
PAGE, FORM, AD, CLICK, DOWNLOAD, ATTENDED = (
    KIND[name]
    for name in (
        "page_viewed", "form_submitted", "ad_clicked", "email_clicked", "content_downloaded", "event_attended",
    )
)  # fmt: skip
VISIT = frozenset((PAGE, FORM, AD, CLICK, DOWNLOAD))
#: What names its channel wherever in a visit it is.
_NAMING = (AD, CLICK)
_SENDS = frozenset(KIND[name] for name in ("email_sent", "email_delivered"))
_CREATED, _RECLASSIFIED = KIND["created"], KIND["engagement_reclassified"]


class Stay(NamedTuple):
    """The visit that is under way: when something was done last (epoch ms), and what it came by."""

    last: int = -(1 << 40)
    channel: str = ""
    campaign: str = ""


class Action(NamedTuple):
    """One event of a person: its agent, and for what belongs to a visit whether it begins one, and what it came by."""

    item: Item
    kind: int
    agent: int
    begins: bool
    stay: Stay


def field(data: Any, n: int) -> Any:
    """Payload field number ``n`` of `events.FIELDS`."""
    if type(data) is list:
        return data[n] if n < len(data) else None
    return data if n == 0 else None


def agents_of(items: Iterable[Item], before: dict[int, int]) -> dict[int, int]:
    """Identity of a re-classified event -> its agent; ``before``: what was known already."""
    out = dict(before)
    for e in items:
        if e[1] >> 8 & 255 == _RECLASSIFIED and type(e[3]) is list:
            out |= reclassified(e[3])
    return out


def reclassified(data: list[int]) -> dict[int, int]:
    """What a re-classification says: of the event with the first identity, or the third, by source_event_id or event_id."""
    return dict.fromkeys((data[0], *data[2:]), data[1])


def belongs(kind: int, agent: int) -> bool:
    """Is this part of a visit? Of clicks only a person's are: a scanner follows every link."""
    return kind in VISIT and agent < PROXY and (kind != CLICK or agent == HUMAN)


def actions(
    items: Iterable[Item], d: Compiled, agents: dict[int, int] | None = None, also: Stay | None = None
) -> Iterator[Action]:
    """What was done, in order, as it is classified now.

    What a visit says of itself names its channel (utm, referrer of another site). Where it says nothing, the source
    that the lead was created with stands in, up to the creation: of later visits it tells nothing.

    :param agents: what was re-classified; left out: by the facts among the items.
    :param also: something done that is not among them, and the visit that it was part of.
    """
    items = list(items)
    source, created = next(
        ((field(e[3], 0), e[0] >> 22) for e in items if e[1] >> 8 & 255 == _CREATED), (None, 0)
    )
    who = State(agents=agents_of(items, {}) if agents is None else agents)
    campaigns = {field(e[3], 0): field(e[3], 1) for e in items if e[1] >> 8 & 255 in _SENDS}
    now, also = Stay(), also or Stay()
    for e in items:
        a, b, _, data = e
        kind, t = b >> 8 & 255, a >> 22
        if kind >= FACT:
            continue
        agent = (as_classified(who, b, data) & AGENT_MASK) >> AGENT_SHIFT
        begins = False
        if belongs(kind, agent):
            if now.last < also.last <= t:
                now = also
            begins = t - now.last > GAP_MS
            channel, campaign = now.channel, now.campaign
            if begins or kind in _NAMING:
                values = _told(kind, data)
                if len(values) == 1 and kind not in _NAMING and source and t <= created:
                    values["source"] = source
                channel = named(values, d) or d.source.default_channel
                campaign = values.get("utm_campaign") or str(
                    (kind == CLICK and campaigns.get(field(data, 0))) or ""
                )
            now = Stay(t, channel, campaign)
        yield Action(e, kind, agent, begins, now)


def _told(kind: int, data: Any) -> dict[str, str]:
    """What an event tells of its channel, under the names of channel rules; its type always."""
    out = {"type": NAME[kind]}
    if kind == PAGE:
        url, referrer, utm = field(data, 0), field(data, 1), field(data, 2)
        if referrer and referrer != str(url or "").partition("/")[0]:
            out["referrer_host"] = str(referrer)
    else:
        utm = field(data, 1) if kind == AD else None
    if type(utm) is dict:
        given = {str(k).removeprefix("utm_"): str(v) for k, v in utm.items() if v is not None}
        out |= {f"utm_{k}": given[k] for k in ("source", "medium", "campaign") if given.get(k)}
    return out


def named(values: dict[str, str], d: Compiled) -> str:
    """The channel that the first rule which holds names; "" for none."""
    return d.channel(values)

"""What people did, counted by day: e-mail, traffic, forms, content, social, events, product, surveys, and what sales
heard from them and gave them.

`count` is a function of the facts; where a row keeps only some of them one by one, what it knows of the rest (`Known`)
stands in, so that nothing counts twice. An e-mail is counted once per send and lead, on the day of its delivery, so
that what became of it can be divided by it: one that was opened or clicked was delivered, one that was delivered or
came back was sent. Who unsubscribed, or called it spam, did so because of the last e-mail they got or looked at; where
nobody told of one it is ``untracked``.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from typing import Any
from zlib import crc32

from msgspec import Struct

from processors.additive import EMPTY, Key
from processors.compiled import Compiled
from processors.events import BOT, FACT, HUMAN, KIND, NAME, PROXY, UNKNOWN_AGENT
from processors.ledger import Item
from processors.surveys import NPS, answer
from processors.visits import PAGE, Stay, actions, field

#: Stands for the agent where a person left a list and no e-mail is known.
UNTRACKED = "untracked"
_NO_MAIL = -1
AGENTS = {HUMAN: "human", UNKNOWN_AGENT: "unknown", PROXY: "proxy", BOT: "bot"}
#: What becomes of an e-mail; the last two are counted by agent.
SENT, DELIVERED, BOUNCED, UNSUBSCRIBED, REPORTED, OPENED, CLICKED = EMAIL_STATES = (
    "sent", "delivered", "bounced", "unsubscribed", "reported", "opened", "clicked",
)  # fmt: skip
_LEAD = ("source", "segment")
#: Labels of each count. Those that end in ``_on`` are for exact reports; the others are what workers keep.
COLUMNS: dict[str, tuple[str, ...]] = {
    "engaged": ("type", "agent"),
    "email": ("email", "agent"),
    "visits": (),
    "recommends": ("answer",),
    "objections": ("category",),
    "engaged_on": ("type", "agent", *_LEAD, "day"),
    "email_on": ("email", "agent", "campaign", *_LEAD, "day"),
    "visit_on": ("channel", *_LEAD, "day"),
    "page_on": ("channel", *_LEAD, "day"),
    "form_on": ("intent", "channel", *_LEAD, "day"),
    "download_on": ("asset", "channel", *_LEAD, "day"),
    "social_on": ("network", "reaction", *_LEAD, "day"),
    "event_on": ("kind", "answer", *_LEAD, "day"),
    "product_on": ("feature", "trial", *_LEAD, "day"),
    "survey_on": ("survey", "score", *_LEAD, "day"),
    "objection_on": ("category", *_LEAD, "day"),
    "discovery_on": ("kind", *_LEAD, "day"),
    "shared_on": ("asset", *_LEAD, "day"),
}
#: Bits of an e-mail: the first five of `EMAIL_STATES`, then opened and clicked by each agent.
_SENT, _DELIVERED, _BOUNCED, _UNSUBSCRIBED, _REPORTED = (1 << n for n in range(5))
_OPENED, _CLICKED = 5, 9
_SEEN = 0xFF << _OPENED
_MAILS = {
    KIND["email_sent"]: _SENT, KIND["email_delivered"]: _DELIVERED, KIND["email_bounced"]: _BOUNCED,
}  # fmt: skip
OPEN_KIND, CLICK_KIND = KIND["email_opened"], KIND["email_clicked"]
_AFTER = {KIND["email_unsubscribed"]: _UNSUBSCRIBED, KIND["spam_reported"]: _REPORTED}
SURVEY_KIND, OBJECTION_KIND = KIND["survey_answered"], KIND["objection_raised"]
_DISCOVERY, _SHARED = KIND["discovery_recorded"], KIND["material_shared"]


class Mail(Struct, array_like=True):
    """One e-mail to one lead: what became of it, the day it counts on, its campaign."""

    bits: int = 0
    day: int = 0
    campaign: str = ""
    dated: bool = False  # by its delivery


class Known(Struct, array_like=True):
    """What is known of facts that are no longer kept: e-mails by `mail_key`, and the visit that the newest was part of."""

    mails: dict[int, Mail] = {}
    stay: tuple[int, str, str] = Stay()


def mail_key(send: Any) -> int:
    return crc32(str(send).encode())


def count(
    items: Sequence[Item], d: Compiled, agents: dict[int, int], known: Known | None = None
) -> dict[Key, int]:
    """(name, labels but those of the lead, day) -> how many."""
    out, _ = counted(items, d, agents, known)
    return out


def counted(
    items: Sequence[Item], d: Compiled, agents: dict[int, int], known: Known | None = None
) -> tuple[dict[Key, int], dict[int, Mail]]:
    """As `count`, and what is known of e-mails after these facts."""
    known = known or Known()
    mails = {k: Mail(m.bits, m.day, m.campaign, m.dated) for k, m in known.mails.items()}
    recent = next(reversed(mails), _NO_MAIL)
    ones: list[Key] = []
    put = ones.append
    day_of = d.days.day
    for e in items:
        if e[1] >> 8 & 255 >= FACT:
            _told(e, day_of(e[0] >> 22), put)
    for x in actions(items, d, agents, Stay(*known.stay)):
        day, kind, data, stay = day_of(x.item[0] >> 22), x.kind, x.item[3], x.stay
        put(("engaged_on", NAME[kind], AGENTS[x.agent], day))
        if x.begins:
            put(("visit_on", stay.channel, day))
        if kind in _MAILS or kind in (OPEN_KIND, CLICK_KIND):
            recent = _mail(mails, x.item, x.agent, day, recent)
        elif kind in _AFTER:
            _after(mails, recent, _AFTER[kind], day)
        elif x.agent < PROXY:
            _done(kind, data, stay, day, put)
    for key, mail in mails.items():
        old = known.mails.get(key)
        told = key != _NO_MAIL
        bits = _implied(mail.bits, told) & ~_implied(old.bits if old is not None else 0, told)
        _became(mail, bits, EMPTY if told else UNTRACKED, put)
    out: dict[Key, int] = {}
    for one in ones:
        out[one] = out.get(one, 0) + 1
    return out, mails


def _told(e: Item, day: int, put: Any) -> None:
    """What sales heard and gave; these decide nothing."""
    kind = e[1] >> 8 & 255
    if kind == OBJECTION_KIND:
        put(("objection_on", str(field(e[3], 0) or EMPTY), day))
    elif kind == _DISCOVERY:
        put(("discovery_on", str(field(e[3], 0) or EMPTY), day))
    elif kind == _SHARED:
        put(("shared_on", str(field(e[3], 0) or EMPTY), day))


def _done(kind: int, data: Any, stay: Stay, day: int, put: Any) -> None:
    """What a person did, by what they did it with."""
    if kind == PAGE:
        put(("page_on", stay.channel, day))
        return
    first, second = str(field(data, 0) or EMPTY), field(data, 1)
    name = NAME[kind]
    if name == "form_submitted":
        put(("form_on", str(second or EMPTY), stay.channel, day))
    elif name == "content_downloaded":
        put(("download_on", first, stay.channel, day))
    elif name == "social_engaged":
        put(("social_on", first, str(second or EMPTY), day))
    elif name in ("event_registered", "event_attended"):
        put(("event_on", str(second or EMPTY), name.removeprefix("event_"), day))
    elif name == "product_used":
        put(("product_on", first, "yes" if second else "no", day))
    elif name == "survey_answered":
        put(("survey_on", str(field(data, 2) or EMPTY), second, day))


# E-mail ----------------------------------------------------------------------------------------------------------


def _mail(mails: dict[int, Mail], e: Item, agent: int, day: int, recent: int) -> int:
    """:returns: the e-mail that the person got or looked at last."""
    kind, data = e[1] >> 8 & 255, e[3]
    key = mail_key(field(data, 0))
    mail = mails.get(key)
    if mail is None:
        mail = mails[key] = Mail(day=day)
    bit = _MAILS.get(kind)
    if bit is None:
        bit = 1 << (_OPENED if kind == OPEN_KIND else _CLICKED) + agent
    else:
        mail.campaign = mail.campaign or str(field(data, 1) or "")
    if bit == _DELIVERED and not mail.dated:
        mail.day, mail.dated = day, True
    mail.bits |= bit
    if bit == _DELIVERED or (bit & _SEEN and agent == HUMAN):
        mails[key] = mails.pop(key)  # the last one is the recent one, for whoever knows no more than this
        return key
    return recent


def _after(mails: dict[int, Mail], recent: int, bit: int, day: int) -> None:
    mail = mails.get(recent)
    if mail is None:  # nobody told of an e-mail
        mail = mails[recent] = Mail(day=day)
    mail.bits |= bit


def _implied(bits: int, told: bool) -> int:
    if bits & (_SEEN | _UNSUBSCRIBED | _REPORTED) and told:
        bits |= _DELIVERED
    if bits & (_DELIVERED | _BOUNCED):
        bits |= _SENT
    return bits


def _became(mail: Mail, bits: int, nobody: str, put: Any) -> None:
    campaign = mail.campaign or EMPTY
    for n, state in enumerate(EMAIL_STATES[:5]):
        if bits >> n & 1:
            put(("email_on", state, nobody, campaign, mail.day))
    for agent, name in AGENTS.items():
        if bits >> _OPENED + agent & 1:
            put(("email_on", OPENED, name, campaign, mail.day))
        if bits >> _CLICKED + agent & 1:
            put(("email_on", CLICKED, name, campaign, mail.day))


def seen_bits(mail: Mail) -> int:
    """Who opened an e-mail, by agent, and from bit 4 who clicked in it."""
    return mail.bits >> _OPENED & 0xFF


# Contributions ---------------------------------------------------------------------------------------------------


def contribution(found: Iterable[tuple[Key, int]], lead: tuple[str, str]) -> dict[Key, int]:
    """What `count` found, under `COLUMNS`: by day and lead, and as workers keep it."""
    out: dict[Key, int] = {}
    for key, n in found:
        for full in ((*key[:-1], *lead, key[-1]), coarse(key)):
            if full is not None:
                out[full] = out.get(full, 0) + n
    return {key: n for key, n in out.items() if n}


def coarse(key: Key) -> Key | None:
    """The count that workers keep, which a dated one belongs to; None for none."""
    name = key[0]
    if name == "engaged_on":
        return "engaged", key[1], key[2]
    if name == "email_on" and key[1] in (OPENED, CLICKED):
        return "email", key[1], key[2]
    if name == "visit_on":
        return ("visits",)
    if name == "survey_on" and key[1] == NPS and type(key[2]) is int:
        return "recommends", answer(key[2])
    if name == "objection_on":
        return "objections", key[1]
    return None

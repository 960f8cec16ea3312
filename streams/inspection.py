"""What is known of one subject at an instant, for people and programs: read from its row, nothing is changed.

Views are dictionaries as ``--json`` prints them: instants are epoch ms (``_at``), scores milli-points, money minor
units. An instant after the row's last fold fires the timers up to it; one before folds the facts up to it again,
with what is known of them today.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any

from processors import customers, deals, explain, handoff, identity, ledger, links, scoring
from processors.compiled import Compiled
from processors.days import iso
from processors.definition.plain import words
from processors.events import NAME, view
from processors.fold import elapse, feed, new_state
from processors.model import (
    BACKFILLED,
    CODE,
    DEAL_STATUS,
    EXITS,
    GENERATED,
    HAND_RAISED,
    IMPLIED,
    NEVER,
    OPEN,
    OUTCOMES,
    REJECTED,
    RULES,
    SILENT,
    UNQUALIFIED,
    Handoff,
    Journey,
    Row,
    State,
)
from processors.say import flag_names
from processors.subject import base_of, effective, process
from streams.customer_view import customer_view
from streams.errors import WorkerError
from streams.topology import LeadTopology

View = dict[str, Any]
KINDS = {"lead": "l", "anonymous": "a", "deal": "d", "account": "c"}
_NAMES = {letter: name for name, letter in KINDS.items()}


def key_of(kind: str, subject_id: str) -> str:
    return f"{KINDS[kind]}:{subject_id}"


class Subject:
    """One row as of an instant. The row is taken over: it is folded on."""

    def __init__(self, topology: LeadTopology, key: str, row: Row, as_of: int) -> None:
        """:raises WorkerError: ``as_of`` lies before what the row still remembers one by one."""
        self.kind, self.id = _NAMES[key[:1]], key[2:]
        self.topology = topology
        self.as_of = as_of
        self.row = row
        self.scope = topology.scope(key.encode())
        self.items = [e for e in effective(self.row) if e[0] >> 22 <= as_of]
        self.base = base_of(self.row)
        self.state = self._state() if self.kind in ("lead", "anonymous") else new_state()

    def _state(self) -> State:
        row, scope, base = self.row, self.scope, self.base
        if self.as_of >= max(row.head.fired, row.head.a >> 22):
            process(row, (), self.as_of, scope, live=False)
            elapse(row.head, self.as_of, scope)
            return row.head
        if base is not None and max(base.a >> 22, base.fired) > self.as_of:
            raise WorkerError(
                f"{self.id}: its events up to {iso(base.a // (86_400_000 << 22))} are kept as a sum only; "
                f"ask for an instant after that"
            )
        scope.history = lambda: (base, self.items)
        links.claim(row, scope)
        s = base_of(row) or new_state()
        feed(s, [e for e in self.items if (e[0], e[1]) > (s.a, s.b)], scope)
        elapse(s, self.as_of, scope)
        return s

    @property
    def definition(self) -> Compiled:
        """The one in force for this subject."""
        return self.scope.definitions[self.state.definition]

    def stage(self, code: int) -> str:
        found = self.definition.names.get(code) or EXITS.get(code)
        if found is None:
            older = (d.names[code] for d in reversed(self.scope.definitions) if code in d.names)
            found = f"retired:{next(older, code)}"
        return found

    def place(self, position: ledger.Position | None) -> View:
        """Where a fact lies: topic, partition and offset (after a replay, the number of its line)."""
        if position is None:
            return {"topic": None, "partition": None, "offset": None}
        topic = self.topology.input_names[position.input]
        return {"topic": topic, "partition": position.partition, "offset": position.offset}

    # -- show -------------------------------------------------------------------------------------------------------

    def show(self) -> View:
        """Everything that is known now."""
        if self.kind == "deal":
            return self._heading() | self._deal() | {"events": self._events()}
        if self.kind == "account":
            customer = customers.fold(self.id, self.items, self.as_of, self.scope.definitions)
            return self._heading() | customer_view(customer) | {"events": self._events()}
        s, d = self.state, self.definition
        open_ = handoff.open_handoff(s)
        value, until = s.override
        return self._heading() | {
            **self._standing(),
            **self._people(),
            "engagement_milli": scoring.engagement(s, d.days.day(self.as_of), d),
            "override": {"value_milli": value, "until_at": until} if until > self.as_of else None,
            "fit_milli": s.fit,
            "grade": scoring.grade(s.fit, d),
            "segment": s.segment or None,
            "source": s.source,
            "created_at": s.created or None,
            "owner": s.owner or None,
            "account": s.account or None,
            "attributes": s.attributes,
            "consent": {purpose: granted for purpose, (granted, _) in s.consent.items()},
            "open_handoff": self._handoff(s.journeys[-1], open_) if open_ is not None else None,
            "journeys": [self._journey(j) for j in s.journeys],
            "deals": self._shares(),
            "next_timer": self._timer(open_),
            "event_count": len(self.items),
            "first_event_at": self.items[0][0] >> 22 if self.items else None,
            "last_event_at": self.items[-1][0] >> 22 if self.items else None,
            "approximate": self.row.approximate,
        }

    def _heading(self) -> View:
        source = self.definition.source
        return {
            "kind": self.kind,
            "id": self.id,
            "as_of": self.as_of,
            "definition": f"{source.name}@{source.version}",
            "time_zone": source.time_zone,
        }

    def _people(self) -> View:
        """Who this one turned out to be (of a browser: its last user), and who turned out to be this one."""
        found = [_NAMES[name[:1]] + " " + name[2:] for name, _ in identity.aliases(self.row.members)]
        return {"merged_into": self.row.target[2:] or None, "aliases": found, "crowded": self.row.crowded}

    def _standing(self) -> View:
        s = self.state
        if not s.journeys:
            return {"stage": None, "high_water": None, "since_at": None, "journey": None, "qualified": False}
        j = s.journeys[-1]
        stages = [x & CODE for each in s.journeys for x in each.entries if x & CODE < REJECTED]
        return {
            "stage": self.stage(j.at),
            "high_water": self.stage(max(stages)) if stages else None,
            "since_at": j.entries[-1] >> 9,
            "journey": j.n,
            "qualified": s.qualified,
        }

    def _journey(self, j: Journey) -> View:
        entries = []
        for n, x in enumerate(j.entries):
            following = j.entries[n + 1] >> 9 if n + 1 < len(j.entries) else None
            entries.append(
                {
                    "stage": self.stage(x & CODE),
                    "entered_at": x >> 9,
                    "left_at": following,
                    "implied": bool(x & IMPLIED),
                    "backfill": bool(x & BACKFILLED),
                    "exit": x & CODE >= REJECTED,
                }
            )
        marks = []
        for x in j.marks:
            rule, code = x >> 8 & 255, x & 255
            kind = "unqualified" if rule == UNQUALIFIED else "refused"
            named = self.stage(code) if code else None
            marks.append({"at": x >> 16, "kind": kind, "stage": named, "rule": RULES.get(rule, str(rule))})
        return {
            "journey": j.n,
            "generated_by": GENERATED[j.generated],
            "reason": j.reason or None,
            "entries": entries,
            "marks": marks,
            "handoffs": [self._handoff(j, h) for h in j.handoffs],
        }

    def _handoff(self, j: Journey, h: Handoff) -> View:
        return handoff_view(self.id, j, h)

    def _shares(self) -> list[View]:
        return [
            {
                "deal_id": name,
                "journey": share.journey,
                "status": DEAL_STATUS[share.outcome],
                "amount_minor": share.amount,
                "currency": share.currency or None,
                "opened_at": share.opened,
                "closed_at": share.closed or None,
            }
            for name, share in self.state.shares.items()
        ]

    def _timer(self, h: Handoff | None) -> View | None:
        """The next instant at which something happens by itself, and what."""
        s, d = self.state, self.definition
        if s.due == NEVER or self.row.held < s.due:
            return (
                {"at": self.row.held, "what": "an event that is dated ahead"}
                if self.row.held < NEVER
                else None
            )
        what = f"the journey ends as inactive, {d.source.policy.inactive_days} days after the last event"
        if s.due == s.cross:
            what = f"the score fades below {_points(d.source.thresholds.down)}"
        elif s.due == s.override[1]:
            what = "the manual score ends"
        elif h is not None:
            grace = handoff.policy_of(h, self.scope).grace
            clocks = {
                h.due_touch + grace: "first touch",
                h.due_decide + grace: "decision",
                h.due_meet + grace: "meeting",
            }
            what = f"{clocks[s.due]} is overdue" if s.due in clocks else "the handoff expires"
        return {"at": s.due, "what": what}

    def _deal(self) -> View:
        deal = deals.fold(self.items, self.as_of)
        if deal is None:
            return {"status": None, "leads": []}
        return {
            "status": DEAL_STATUS[deal.status],
            "stage": deal.stage or None,
            "amount_minor": deal.amount,
            "currency": deal.currency or None,
            "opened_at": deal.opened,
            "closed_at": deal.closed or None,
            "reason": deal.reason or None,
            "account": deal.account or None,
            "pipeline": deal.pipeline or None,
            "reopened": deal.reopened,
            "leads": [
                {"lead_id": lead, "weight": f"{n}/{of}" if of > 1 else str(n)} for lead, n, of in deal.leads
            ],
        }

    def _events(self) -> list[View]:
        out = []
        for a, b, c, data in self.items:
            kind = b >> 8 & 255
            at = {"at": a >> 22, "recorded_at": ledger.recorded_at(a, c), "type": NAME.get(kind, "unknown")}
            out.append(at | {"payload": view(kind, data)} | self.place(ledger.position(c)))
        return out

    # -- explain ----------------------------------------------------------------------------------------------------

    def why(self) -> View:
        """Why this stage and this score, fact by fact."""
        if self.kind not in ("lead", "anonymous"):
            return self.show()
        s, d = self.state, self.definition
        score = scoring.engagement(s, d.days.day(self.as_of), d)
        rows = explain.score_rows(s, self.base, self.items, self.as_of, d, self.scope.definitions)
        calls = [(j, h) for j in s.journeys for h in j.handoffs]
        return self._heading() | {
            **self._standing(),
            "engagement_milli": score,
            "score_rows": [
                {
                    "rule": r.rule,
                    "why": r.why,
                    "day": iso(r.day),
                    "points_milli": r.points,
                    **self.place(r.position),
                }
                for r in rows
            ],
            "score_rows_sum_milli": sum(r.points for r in rows),
            "fit_milli": s.fit,
            "grade": scoring.grade(s.fit, d),
            "fit_rows": [
                {"rule": rule.name, "points_milli": rule.points, "because": words(rule.when)}
                for rule in d.source.fit
                if rule.when.test(s.attributes)
            ],
            "admitted": [
                {
                    "journey": j.n,
                    "attempt": h.attempt,
                    "handoff_id": h.id,
                    "at": h.trigger,
                    "rule": h.rule or None,
                    "hand_raised": bool(h.flags & HAND_RAISED),
                }
                for j, h in calls
            ],
            "ground": ground(s, self.as_of, d),
            "missing": missing(s, self.as_of, d),
            "story": self._story(),
        }

    def _story(self) -> list[View]:
        links.claim(self.row, self.scope)
        return [
            {
                "at": line.at,
                "recorded_at": line.recorded_at,
                "type": line.type,
                "payload": line.payload,
                "backfill": line.backfill,
                "engagement_milli": line.level,
                "fit_milli": line.fit,
                "stage": self.stage(line.stage) if line.stage >= 0 else None,
                "handoffs": line.handoffs,
                **self.place(line.position),
            }
            for line in explain.story(self.items, self.as_of, self.scope, base_of(self.row))
        ]


def handoff_view(lead: str, j: Journey, h: Handoff) -> View:
    """A handoff with its clocks. ``outcome`` is open until it is answered."""
    answered = h.ended if h.outcome in (1, 2) else 0
    return {
        "handoff_id": h.id,
        "lead_id": lead,
        "journey": j.n,
        "attempt": h.attempt,
        "trigger_at": h.trigger,
        "started_at": h.begun,
        "owner": h.owner or None,
        "team": h.team,
        "routing_reason": h.routed,
        "admitting_rule": h.rule or None,
        "first_touch": _clock(h.due_touch, h.touched, h.late_touch),
        "decision": _clock(h.due_decide, answered, h.late_decide),
        "meeting": _clock(h.due_meet, h.met, h.late_meet),
        "expires_at": h.expires or None,
        "paused_at": h.paused or None,
        "outcome": OUTCOMES[h.outcome] or "open",
        "outcome_at": h.ended or None,
        "reason_code": h.reason or None,
        "notes": h.notes or None,
        "returned_at": h.returned or None,
        "silent": bool(h.flags & SILENT),
        "flags": flag_names(h),
    }


def _clock(due: int, done: int, late: int) -> View | None:
    return {"due_at": due, "done_at": done or None, "breached_at": late or None} if due else None


def next_deadline(h: View) -> tuple[str, int] | None:
    """(clock, due instant) of the next thing that an open handoff waits for; None while it is paused."""
    if h["paused_at"] is not None:
        return None
    waiting = [
        (h[c]["due_at"], c) for c in ("first_touch", "decision", "meeting") if h[c] and not h[c]["done_at"]
    ]
    return (min(waiting)[1], min(waiting)[0]) if waiting else None


def handoffs(
    topology: LeadTopology, rows: Iterable[tuple[str, Row]], as_of: int, only_open: bool
) -> Iterator[View]:
    """The handoffs of all leads as of an instant, in no order."""
    for subject in subjects(topology, rows, as_of, only_open):
        for j in subject.state.journeys:
            for h in j.handoffs:
                if not only_open or h.outcome == OPEN:
                    yield handoff_view(subject.id, j, h) | {"segment": subject.state.segment or None}


def subjects(
    topology: LeadTopology, rows: Iterable[tuple[str, Row]], as_of: int, only_open: bool
) -> Iterator[Subject]:
    """The leads that have a handoff as of an instant, or may have an open one."""
    for key, row in rows:
        if key[:1] != "l" or not row.head.journeys:
            continue
        if only_open:
            some = handoff.open_handoff(row.head) is not None
        else:
            some = any(j.handoffs for j in row.head.journeys)
        if not some and row.held > as_of and _settled(row, as_of):
            continue  # time alone makes none
        yield Subject(topology, key, row, as_of)


def _settled(row: Row, as_of: int) -> bool:
    """Nothing that the row holds lies after the instant."""
    return as_of >= max(row.head.fired, row.head.a >> 22)


def _points(milli: int) -> str:
    return f"{milli / 1000:.3f}".rstrip("0").rstrip(".")


def ground(s: State, t: int, d: Compiled) -> list[str]:
    """Why a lead is qualified, in words; empty where it is not."""
    if not s.qualified:
        return []
    th = d.source.thresholds
    said = []
    level = scoring.level(s, t, d)
    if scoring.raised(s, t, d) and s.fit >= th.fit_min_hand_raise:
        said.append(
            f"it raised its hand, and has {_points(s.fit)} points of fit (at least {_points(th.fit_min_hand_raise)})"
        )
    if s.fit >= th.fit_min and level >= th.up:
        said.append(
            f"it has {_points(s.fit)} points of fit (at least {_points(th.fit_min)}) and {_points(level)} of engagement "
            f"(at least {_points(th.up)})"
        )
    return said or [
        f"it was when it was judged, and its engagement of {_points(level)} is not below {_points(th.down)}"
    ]


def missing(s: State, t: int, d: Compiled) -> list[str]:
    """What keeps a lead from being qualified, in words; empty where it is, or where sales already works on it."""
    j = s.journeys[-1] if s.journeys else None
    if s.qualified or (j is not None and not j.exited and j.at > d.mql):
        return []
    th = d.source.thresholds
    said: list[str] = []
    if s.journeys and not any(d.known <= x & CODE < REJECTED for j in s.journeys for x in j.entries):
        said.append("it is an anonymous visitor: only known people are handed over")
    if s.barred & 1:
        names = ", ".join(r.name for r in d.source.disqualifiers if r.when.test(s.attributes))
        said.append(f"it is ruled out as long as this holds: {names}")
    if s.barred & 2:
        said.append("it was disqualified (by sales, or by a spam report); only `reopened` brings it back")
    for gate in th.gates:
        value = s.attributes.get(gate)
        if not scoring.positive(value):
            said.append(
                f"{gate} must be known and positive; it is {'not known' if value is None else repr(value)}"
            )
    level, raised = scoring.level(s, t, d), scoring.raised(s, t, d)
    by_score = s.fit >= th.fit_min and level >= th.up
    by_hand = raised and s.fit >= th.fit_min_hand_raise
    if not (by_score or by_hand):
        said.append(_ways(s, level, raised, d))
    if s.answered and not raised and not (t > s.until and s.low and level >= th.up):
        said.append(_rearming(s, t, level, d))
    elif not said:
        said.append("the score suffices; it qualifies at its next event that counts")
    granted, _ = s.consent.get("sales_contact", (True, 0))
    if not granted:
        said.append("it does not want to be contacted by sales: there is no handoff even when it qualifies")
    return said


def _rearming(s: State, t: int, level: int, d: Compiled) -> str:
    """What it takes after an answer (DOMAIN 3)."""
    th = d.source.thresholds
    if s.until >= handoff.ARCHIVED:
        return "sales has closed it: only a newer raised hand brings it back"
    if s.until > t:
        return f"sales has sent it back until {iso(d.days.day(s.until))}: before that only a newer raised hand counts"
    if s.low or level < th.up:
        return f"sales has answered before: it counts again when engagement rises to {_points(th.up)}"
    return (
        f"sales has answered: it takes a newer raised hand, or engagement that falls below {_points(th.up)} and then "
        f"reaches it again"
    )


def _ways(s: State, level: int, raised: bool, d: Compiled) -> str:
    th = d.source.thresholds

    def lacking(what: str, have: int, need: int) -> str:
        if have >= need:
            return f"{what} suffices ({_points(have)} of {_points(need)})"
        return f"{_points(need - have)} more points of {what} ({_points(have)} of {_points(need)})"

    first = f"{lacking('fit', s.fit, th.fit_min)} and {lacking('engagement', level, th.up)}"
    hand = "a raised hand counts" if raised else f"a raised hand in the last {th.hand_raise_days} days"
    return f"it takes either {first}; or {hand} and {lacking('fit', s.fit, th.fit_min_hand_raise)}"

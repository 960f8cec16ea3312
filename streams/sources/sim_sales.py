"""What sales people do with a lead: answer it or not, find out more, open a deal, win or lose it.

The strands only need a `Scene`, so they serve the simulation, where sales works on what it senses,
and the desk, which answers the handoffs that leadstream has made.
"""

from __future__ import annotations

from collections.abc import Generator
from math import log
from typing import Any

from streams.sources import sim_catalogue as catalogue
from streams.sources.sim_calendar import day_text
from streams.sources.sim_model import DAY, MINUTE, SECOND, Case, Scene, Strand

#: Business minutes of one working day.
WORKDAY = 8 * 60

_REJECTED = catalogue.table((("timing", 30), ("not_a_fit", 26), ("no_budget", 18), ("other", 14),
                             ("unreachable", 8), ("duplicate", 4)))  # fmt: skip
_NOTES = ("wants documentation only", "is writing a thesis", "already talks to a partner", "wrong department")
_LOST = catalogue.table((("price", 5), ("competitor", 4), ("no_decision", 6), ("timing", 4)))
_OBJECTIONS = catalogue.table(
    (("price", 6), ("timing", 4), ("security", 3), ("integration", 3), ("authority", 2))
)
_FIRST_TOUCH = (("phone", "call"), ("phone", "call"), ("e-mail", "e-mail"))
#: When somebody who opens a deal expects it to close.
_EXPECTED_DAYS = 25
_PIPELINE = (("discovery", 0.2, 6), ("proposal", 0.45, 8), ("negotiation", 0.7, 7))


def _crm(scene: Scene, case: Case, at: int, type_: str, payload: dict[str, Any], by: str = "human") -> None:
    """What the owner enters about the lead; an answer names the handoff where there is one."""
    if case.handoff_id and type_ in _ANSWERS:
        payload["handoff_id"] = case.handoff_id
    actor = {"type": "human", "id": case.owner.id} if by == "human" else {"type": "system", "id": "crm"}
    scene.emit("lead", case.lead_id, at, type_, {"lead_id": case.lead_id}, payload, case.source, actor)


_ANSWERS = frozenset(("touched", "accepted", "rejected", "recycled"))


def work(scene: Scene, case: Case, at: int) -> Strand:
    """The whole of it: the answer, and after an acceptance what follows."""
    at = yield from answer(scene, case, at)
    if case.state == "accepted":
        yield from pursue(scene, case, at)


def answer(scene: Scene, case: Case, at: int) -> Generator[int, None, int]:
    """From the handoff to the answer of its owner, who may be slow, late, or never answer.

    Returns the instant at which it ended.
    """
    rng, owner = scene.rng, case.owner
    if rng.random() < 0.15:  # a machine's thank-you mail, which is no first touch by a human
        _crm(scene, case, at + MINUTE, "touched", {"channel": "e-mail", "kind": "e-mail"}, by="system")
    if rng.random() < owner.ignores:
        case.state = "ignored"
        return at
    if case.handoff_id and rng.random() < 0.06:
        pause = {"handoff_id": case.handoff_id, "reason": "asked_to_wait"}
        _crm(scene, case, at + 10 * MINUTE, "sla_paused", pause)
        at = scene.after(at + 10 * MINUTE, rng.uniform(0.5, 3) * WORKDAY, case.offset_ms)
        yield at
        _crm(scene, case, at, "sla_resumed", {"handoff_id": case.handoff_id, "reason": "is_back"})
    at = scene.after(at, rng.lognormvariate(log(owner.median_min), 0.8), case.offset_ms)
    yield at
    channel, kind = rng.choice(_FIRST_TOUCH)
    _crm(scene, case, at, "touched", {"channel": channel, "kind": kind})
    while rng.random() < 0.35:
        at = scene.after(at, rng.uniform(30, 300), case.offset_ms)
        yield at
        _crm(scene, case, at, "touched", {"channel": "phone", "kind": "call"})
    if rng.random() < 0.25:
        _crm(
            scene, case, at + 5 * MINUTE, "material_shared", {"asset_id": rng.choice(catalogue.SALES_ASSETS)}
        )
    at = scene.after(at, rng.expovariate(1 / 90) + 4, case.offset_ms)
    yield at
    if rng.random() < owner.ignores / 2:
        case.state = "ignored"  # called, and then forgotten
        return at
    if case.duplicate_of:
        _crm(scene, case, at, "rejected", {"reason_code": "duplicate"})
        case.state = "rejected"
    elif rng.random() < 0.2 + 0.75 * case.quality:
        _crm(scene, case, at, "accepted", {})
        case.state = "accepted"
    else:
        _reject(scene, case, at)
    return at


def _reject(scene: Scene, case: Case, at: int) -> None:
    code = scene.rng.choice(_REJECTED)
    reason = {"reason_code": code}
    if code == "other":
        reason["notes"] = scene.rng.choice(_NOTES)
    _crm(scene, case, at, "rejected", reason)
    case.state = "rejected"


def pursue(scene: Scene, case: Case, at: int) -> Strand:
    """An accepted lead: conversations until it is qualified, sent back, or a deal that ends."""
    rng = scene.rng
    if rng.random() < 0.06:
        at = scene.after(at, rng.uniform(60, 5 * WORKDAY), case.offset_ms)
        yield at
        _reject(scene, case, at)  # after all: the lead is returned
        return
    for kind in ("meeting", "discovery")[: 1 if rng.random() < 0.3 else 2]:
        at = scene.after(at, rng.uniform(0.5, 4) * WORKDAY, case.offset_ms)
        yield at
        _crm(scene, case, at, "touched", {"channel": "video", "kind": kind})
        _learn(scene, case, at + 30 * MINUTE)
    if rng.random() < 0.03:  # somebody sets the CRM's own field back
        _crm(scene, case, at + 40 * MINUTE, "stage_reported", {"stage": "known"})
    at = scene.after(at, rng.uniform(0.2, 3) * WORKDAY, case.offset_ms)
    yield at
    draw = rng.random()
    if draw < 0.25 + 0.5 * case.quality:
        reasons = sorted(rng.sample(("authority", "budget", "need", "timing"), rng.randint(1, 3)))
        _crm(scene, case, at, "qualified_by_sales", {"reasons": reasons})
        case.state = "sql"
        yield from _sell(scene, case, at)
    elif draw < 0.93:
        until = {"until": at + rng.choice((30, 60, 90)) * DAY} if rng.random() < 0.6 else {}
        _crm(scene, case, at, "recycled", until)
        case.state = "recycled"
    else:
        _crm(
            scene,
            case,
            at,
            "disqualified",
            {"reason_code": rng.choice(("not_a_fit", "competitor", "spam"))},
        )
        case.state = "disqualified"


def _learn(scene: Scene, case: Case, at: int) -> None:
    """What a conversation brings: requirements, objections, and whether there is a budget."""
    rng = scene.rng
    for n in range(rng.randint(0, 2)):
        found = {
            "kind": rng.choice(("requirement", "requirement", "constraint", "risk")),
            "text_ref": f"note-{case.lead_id}-{at // MINUTE}-{n}",
        }
        _crm(scene, case, at + n * MINUTE, "discovery_recorded", found)
    if rng.random() < 0.35:
        _crm(scene, case, at + 3 * MINUTE, "objection_raised", {"category": rng.choice(_OBJECTIONS)})
    if rng.random() < 0.2:
        _crm(
            scene, case, at + 9 * MINUTE, "material_shared", {"asset_id": rng.choice(catalogue.SALES_ASSETS)}
        )
    good = rng.random() < 0.3 + 0.6 * case.quality
    answers = {
        "budget": "approved" if good else "none",
        "authority": "decider" if good else "influencer",
        "need": "confirmed" if good else "unknown",
        "timing": "this_quarter" if good else "next_year",
    }
    learnt = {name: answers[name] for name in rng.sample(sorted(answers), rng.randint(0, 3))}
    if learnt:
        _crm(scene, case, at + 10 * MINUTE, "attributes_changed", {"fields": learnt})


def _sell(scene: Scene, case: Case, at: int) -> Strand:
    """The deal, if it comes to one, and the customer, if it is won."""
    rng = scene.rng
    at = scene.after(at, rng.uniform(0.1, 4) * WORKDAY, case.offset_ms)
    yield at
    if rng.random() > 0.8:
        _crm(scene, case, at, "recycled", {"until": at + 90 * DAY})
        case.state = "recycled"
        return
    case.state = "deal"
    deal = _Deal(scene, case)
    deal.open(at)
    if rng.random() < 0.08:
        _crm(scene, case, at + MINUTE, "stage_reported", {"stage": "opportunity"})
    pace = rng.lognormvariate(0, 0.6)
    for stage, chance, days in _PIPELINE:
        at = scene.after(at, pace * rng.uniform(0.3, 1.2) * days * WORKDAY, case.offset_ms)
        yield at
        deal.emit(at, "stage_changed", {"stage": stage, "status": "open", "probability": chance})
        deal.wander(at, stage)
        if rng.random() < 0.05:
            deal.emit(at + MINUTE, "stage_changed", {"stage": stage, "status": "on_hold"})
            at = scene.after(at, rng.uniform(5, 30) * WORKDAY, case.offset_ms)
            yield at
            deal.emit(at, "stage_changed", {"stage": stage, "status": "open"})
        if rng.random() < 0.16:
            break
    else:
        if rng.random() < 0.3 + 0.45 * case.quality:
            yield from _won(scene, case, deal, at)
            return
    at = scene.after(at, rng.uniform(1, 6) * WORKDAY, case.offset_ms)
    yield at
    case.state = "lost"
    if rng.random() < 0.03:
        deal.emit(at, "deleted", {})  # entered by mistake, it turns out
        return
    reason = rng.choice(_LOST)
    lost = {"reason_code": reason}
    if reason == "competitor":
        lost["competitor"] = rng.choice(("competitor-1", "competitor-2"))
    deal.emit(at, "lost", lost)


def _won(scene: Scene, case: Case, deal: _Deal, at: int) -> Strand:
    rng = scene.rng
    at = scene.after(at, rng.uniform(1, 6) * WORKDAY, case.offset_ms)
    yield at
    deal.emit(at, "won", deal.price())
    case.state = "won"
    if rng.random() < 0.02:
        at = scene.after(at, rng.uniform(1, 8) * WORKDAY, case.offset_ms)
        yield at
        deal.emit(at, "reopened", {})
        at = scene.after(at, rng.uniform(1, 8) * WORKDAY, case.offset_ms)
        yield at
        if rng.random() < 0.5:
            deal.emit(at, "lost", {"reason_code": "no_decision"})
            case.state = "lost"
            return
        deal.emit(at, "won", deal.price())
    yield from _customer(scene, case, deal.amount, at)


class _Deal:
    """One deal in the CRM. Amounts grow with the company and are re-negotiated now and then."""

    def __init__(self, scene: Scene, case: Case) -> None:
        self.scene, self.case = scene, case
        self.id = case.deal_id or f"deal-{case.lead_id.removeprefix('lead-')}"
        case.deal_id = self.id
        euro = 900 * max(case.size, 3) ** 0.55 * scene.rng.lognormvariate(0, 0.5)
        self.amount = catalogue.money(round(euro, -2) or 100, case.currency)

    def emit(self, at: int, type_: str, payload: dict[str, Any]) -> None:
        actor = {"type": "human", "id": self.case.owner.id}
        self.scene.emit("deal", self.id, at, type_, {"deal_id": self.id}, payload, self.case.source, actor)

    def price(self) -> dict[str, Any]:
        return {"amount": self.amount, "currency": self.case.currency}

    def open(self, at: int) -> None:
        case = self.case
        leads: list[dict[str, Any]] = [{"lead_id": case.lead_id}]
        if case.partner and self.scene.rng.random() < 0.6:
            leads = [{"lead_id": case.lead_id, "weight": 0.7}, {"lead_id": case.partner, "weight": 0.3}]
        opened: dict[str, Any] = {"leads": leads, "pipeline": "new-business", "stage": "qualification"}
        opened["probability"] = 0.1
        if case.account_id:
            opened["account_id"] = case.account_id
        self.emit(at, "opened", opened | self.price())
        self.emit(at + SECOND, "close_date_changed", {"date": day_text(at + _EXPECTED_DAYS * DAY)})
        if case.partner and len(leads) == 1:
            self.emit(at + DAY, "lead_linked", {"lead_id": case.partner})
            if self.scene.rng.random() < 0.2:
                self.emit(at + 2 * DAY, "lead_unlinked", {"lead_id": case.partner})

    def wander(self, at: int, stage: str) -> None:
        """Things that change while a deal is open."""
        rng, case = self.scene.rng, self.case
        if stage == "proposal":
            _crm(self.scene, case, at + MINUTE, "touched", {"channel": "e-mail", "kind": "proposal"})
            if rng.random() < 0.45:
                self.amount = self.amount * rng.randint(75, 115) // 100
                self.emit(at + 2 * MINUTE, "amount_changed", self.price())
        if rng.random() < 0.25:
            close = {"date": day_text(at + rng.randint(10, 60) * DAY)}
            self.emit(at + 3 * MINUTE, "close_date_changed", close)
        if rng.random() < 0.3:
            _crm(self.scene, case, at + 4 * MINUTE, "objection_raised", {"category": rng.choice(_OBJECTIONS)})


def _customer(scene: Scene, case: Case, amount: int, at: int) -> Strand:
    """The year after the signature: delivery, onboarding, invoices, and what becomes of the contract."""
    rng, account, currency = scene.rng, case.account_id, case.currency
    if not account:
        return
    subject = {"account_id": account}

    def emit(at: int, type_: str, payload: dict[str, Any]) -> None:
        scene.emit(
            "deal", account, at, type_, subject, payload, "billing" if case.source == "crm" else case.source
        )

    contract = f"contract-{case.deal_id.removeprefix('deal-')}"
    signed, ends = at, at + 365 * DAY
    terms = {"starts": day_text(at), "ends": day_text(ends), "notice_days": 60}
    emit(at + MINUTE, "contract_signed",
         {"contract_id": contract, "amount": amount, "currency": currency} | terms)  # fmt: skip
    quarter = amount // 4
    at += int(rng.uniform(3, 15) * DAY)
    yield at
    emit(at, "delivery_accepted", {})
    at += DAY
    yield at
    emit(at, "onboarding_started", {})
    at += int(rng.uniform(7, 50) * DAY)
    yield at
    emit(at, "onboarding_completed", {})
    emit(at + DAY, "feedback_given", {"kind": "onboarding", "score": rng.randint(4, 10)})
    for n in range(4):
        at = max(at, signed + 30 * DAY + n * 91 * DAY)
        yield at
        emit(at, "invoice_paid", {"amount": quarter, "currency": currency})
        if rng.random() < 0.02:
            emit(at + 5 * DAY, "invoice_refunded", {"amount": quarter // 2, "currency": currency})
        if n and rng.random() < 0.07:
            more = {"kind": rng.choice(("upsell", "cross_sell")), "amount": amount // 5, "currency": currency}
            emit(at + 9 * DAY, "expanded", more)
    at = max(at + DAY, ends - rng.randint(5, 70) * DAY)
    yield at
    draw = rng.random()
    if draw < 0.72:
        emit(at, "renewed", {"contract_id": contract, "amount": amount, "currency": currency})
    elif draw < 0.82:
        emit(at, "contracted", {"amount": amount // 4, "currency": currency})
    else:
        emit(at, "churned", {"reason_code": rng.choice(("price", "no_usage", "competitor"))})
        if rng.random() < 0.2:
            back = {"source": "direct", "generated_by": "win_back"}
            at += 60 * DAY
            yield at
            _crm(scene, case, at, "created", back, by="system")

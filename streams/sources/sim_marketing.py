"""What marketing does, and what people and machines do about it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streams.sources import sim_catalogue as catalogue
from streams.sources.sim_calendar import (
    MEAN_AWAKE,
    awake,
    business,
    humane,
    midnight_after,
    weekday,
)
from streams.sources.sim_model import DAY, HOUR, MINUTE, SECOND, WEEK, Person, Strand

if TYPE_CHECKING:
    from streams.sources.simulator import Simulation

#: Of the visitors, how many ever leave their name.
IDENTIFY = 0.4
#: Score from which sales would look at a lead without being asked.
WARM = 45


def arrivals(sim: Simulation) -> Strand:
    """New visitors, more of them on campaign days, hardly any at night."""
    rng, at = sim.rng, sim.start_ms
    peak = sim.leads_per_day / IDENTIFY / MEAN_AWAKE
    while sim.wants_leads:
        at += int(rng.expovariate(peak * 3.6) * DAY) + 1
        country, offset_ms, _ = rng.choice(catalogue.COUNTRIES)
        if rng.random() * 3.6 > awake(at, offset_ms) * sim.campaigns.pull(at):
            continue
        yield at
        if rng.random() < sim.bots:
            sim.spawn(crawler(sim), at)
            continue
        person = _visitor(sim, at, country, offset_ms)
        if rng.random() < IDENTIFY:
            sim.lead_expected()
            sim.spawn(life(sim, person, at), at)
        else:
            sim.spawn(passer_by(sim, person, at), at)
    sim.arrivals_ended()


def _visitor(sim: Simulation, at: int, country: str, offset_ms: int) -> Person:
    rng = sim.rng
    person = Person(sim.new_id("anon"))
    burst = sim.campaigns.burst(at)
    way = rng.choice(catalogue.BURST_WAYS if burst else catalogue.WAYS)
    person.source = way[0]
    person.country, person.offset_ms = country, offset_ms
    colleague = sim.colleague()
    if colleague is not None:
        person.company, person.size, person.colleague = colleague.company, colleague.size, colleague.lead_id
        person.industry, person.country = colleague.industry, colleague.country
        person.offset_ms = colleague.offset_ms
    else:
        person.company = sim.new_id("company")
        person.size = rng.choice(catalogue.SIZES)
        person.industry = rng.choice(catalogue.INDUSTRIES)
    person.role = rng.choice(catalogue.ROLES)
    person.gateway = rng.choice(catalogue.GATEWAYS)
    suits = 0.35 if person.size < 20 else 1.0 if person.size <= 1200 else 0.7
    person.fit = min(1.0, catalogue.SAY[person.role] * 0.6 + suits * 0.4)
    person.interest = min(1.0, rng.betavariate(1.4, 3.2) * catalogue.WORTH[person.source])
    return person


def _visit(sim: Simulation, person: Person, at: int, mail_link: str = "") -> int:
    """One session on the web site. Returns the instant of its last page."""
    rng, emit, random = sim.rng, sim.emit, sim.rng.random
    key, subject, session = person.key, person.subject, sim.new_id("visit")
    payload: dict[str, Any]
    pages = 1 + int(rng.expovariate(0.45 - 0.25 * person.interest))
    for n in range(min(pages, 14)):
        if mail_link and n == 0:
            url = mail_link
        elif random() < 0.12 * person.interest:
            url = catalogue.PRICING
        else:
            url = rng.choice(catalogue.PAGES)
        payload = {"url": url, "session_id": session}
        if n == 0:
            if mail_link:
                payload["utm"] = sim.utm("email", "newsletter", "newsletter")
            else:
                _arrive(sim, person, at, payload)
        emit("engagement", key, at, "page_viewed", subject, payload, "web")
        person.score += 6 if url == catalogue.PRICING else 1
        at += int((12 + rng.expovariate(1 / 70)) * SECOND)
    return at


def _arrive(sim: Simulation, person: Person, at: int, payload: dict[str, Any]) -> None:
    """How a visit came about: the referrer, and for ads the click and its utm."""
    if person.lead_id and sim.rng.random() < 0.6:
        return  # they know the way by now
    _, medium, source, referrer = catalogue.WAY_OF.get(person.source, catalogue.DIRECT)
    if referrer:
        payload["referrer"] = referrer
    if not medium:
        return
    campaign = sim.campaigns.burst(at) or "always-on"
    payload["utm"] = utm = sim.utm(source, medium, campaign)
    if medium in ("cpc", "paid-social"):
        click = {"ad_id": f"ad-{campaign}", "click_id": sim.new_id("click"), "utm": utm}
        sim.emit("engagement", person.key, at, "ad_clicked", person.subject, click, "ads")


def passer_by(sim: Simulation, person: Person, at: int) -> Strand:
    """Somebody who looks once or twice and never says who they are."""
    _visit(sim, person, at)
    while sim.rng.random() < 0.25:
        at = humane(at + int(sim.rng.expovariate(1 / 4) * DAY), person.offset_ms, sim.rng)
        yield at
        _visit(sim, person, at)


def crawler(sim: Simulation) -> Strand:
    """A bot that hammers pages."""
    at, anonymous = sim.now_ms, sim.new_id("anon")
    subject, session = {"anonymous_id": anonymous}, sim.new_id("visit")
    for _ in range(sim.rng.randint(4, 16)):
        for _ in range(10):
            payload = {"url": sim.rng.choice(catalogue.PAGES), "session_id": session}
            at += sim.rng.randint(80, 900)
            sim.emit("engagement", anonymous, at, "page_viewed", subject, payload, "web")
        yield at


def life(sim: Simulation, person: Person, at: int) -> Strand:
    """A lead from the first visit until they lose interest."""
    rng = sim.rng
    offset = person.offset_ms
    if rng.random() < 0.14:  # met at a fair, called by sales, named by a partner: no visit before
        _introduce(sim, person, at, "")
        if person.source in ("outbound", "partner", "referral"):
            sim.offer(person, at + MINUTE, asked=True)
    else:
        at = _visit(sim, person, at)
        while rng.random() < 0.35:
            at = humane(at + int(rng.expovariate(1 / 3) * DAY), offset, rng)
            yield at
            at = _visit(sim, person, at)
        intent = _first_form(sim, person)
        _introduce(sim, person, at, intent)
        if intent == "hand_raise":
            _ask(sim, person, at + SECOND)
    yield (at := at + 20 * MINUTE)
    _enrich(sim, person, at)
    for _ in range(40):
        pause = 2 + 16 * (1 - person.interest)
        at = humane(at + int(rng.expovariate(1 / pause) * DAY), offset, rng)
        yield at
        if person.left or rng.random() > 0.55 + 0.6 * person.interest:
            break
        at = _elsewhere(sim, person, at) if rng.random() < 0.05 else _visit(sim, person, at)
        _deepen(sim, person, at)
        person.interest *= 0.94 if rng.random() < 0.8 else 1.15
        person.interest = min(person.interest, 1.0)
    if person.broadcast:  # they still get some newsletters, which they hardly read
        person.interest *= 0.3
        yield at + int(rng.uniform(1, 5) * WEEK)
    sim.lead_ended(person)


def _elsewhere(sim: Simulation, person: Person, at: int) -> int:
    """A visit on another device: anonymous until they log in, and then some of it is history."""
    lead, person.lead_id = person.lead_id, ""
    person.anonymous_id = sim.new_id("anon")
    at = _visit(sim, person, at)
    person.lead_id = lead
    pair = {"anonymous_id": person.anonymous_id, "lead_id": lead}
    at += sim.rng.randint(5, 90) * SECOND
    sim.emit("lead", lead, at, "identified", person.subject, pair, "automation")
    return at


def _first_form(sim: Simulation, person: Person) -> str:
    if sim.rng.random() < 0.06 + 0.22 * person.interest:
        return "hand_raise"
    return "content" if sim.rng.random() < 0.65 else "newsletter"


def _introduce(sim: Simulation, person: Person, at: int, intent: str) -> None:
    """From a visitor to a lead: the form, the record of it, and what is known so far."""
    rng, emit = sim.rng, sim.emit
    anonymous, source, by = person.anonymous_id, person.source, "marketing"
    lead = person.lead_id = sim.new_id("lead")
    subject = person.subject
    sim.lead_begun(person)
    if not intent:
        # nobody has seen them on the web: the record is the first that is known of them
        by = rng.choice(("sales", "sales", "partner", "referral"))
        person.source = source = by if by != "sales" else rng.choice(("fair", "outbound", ""))
        emit("lead", lead, at, "created", subject, {"source": source, "generated_by": by}, "crm")
        if source == "fair":
            fair = {"event_id": f"fair-{at // WEEK}", "kind": "fair"}
            emit("engagement", lead, at, "event_attended", subject, fair, "webinars")
    else:
        form = {"form_id": f"form-{intent.replace('_', '-')}", "intent": intent}
        if intent != "hand_raise":
            emit("engagement", lead, at, "form_submitted", subject, form, "web")
        at += rng.randint(200, 900)
        emit("lead", lead, at, "created", subject, {"source": source, "generated_by": by}, "automation")
        pair = {"anonymous_id": anonymous, "lead_id": lead}
        emit("lead", lead, at + 5, "identified", subject, pair, "automation")
        if intent == "content":
            _download(sim, person, at + 3 * SECOND)
    fields: dict[str, Any] = {"company": person.company, "country": person.country, "role": person.role}
    if rng.random() < 0.15:
        del fields["role"]
    emit("lead", lead, at + 10, "attributes_changed", subject, {"fields": fields}, "automation")
    if rng.random() < 0.72:
        person.broadcast = True
        consent = {"purpose": "marketing", "granted": True, "basis": "form"}
        emit("lead", lead, at + 20, "consent_changed", subject, consent, "automation")


def _enrich(sim: Simulation, person: Person, at: int) -> None:
    """Firmographics arrive a little later, and are wrong now and then."""
    rng, lead = sim.rng, person.lead_id
    if rng.random() < 0.1:
        return
    fields = {"company_size": person.size, "industry": person.industry}
    if rng.random() < 0.04:
        wrong = fields | {"company_size": person.size * 10}
        sim.emit("lead", lead, at, "attributes_changed", person.subject, {"fields": wrong}, "enrichment")
        at += int(rng.uniform(1, 6) * HOUR)
    sim.emit("lead", lead, at, "attributes_changed", person.subject, {"fields": fields}, "enrichment")
    if rng.random() < 0.5:
        match = {"account_id": sim.account_of(person), "rule": "company"}
        sim.emit("lead", lead, at + 50, "account_matched", person.subject, match, "crm")


def _deepen(sim: Simulation, person: Person, at: int) -> None:
    """What a lead does beyond looking at pages; with enough of it, sales comes in."""
    rng, emit, lead = sim.rng, sim.emit, person.lead_id
    draw = rng.random()
    if draw < 0.16:
        _download(sim, person, at)
    elif draw < 0.19:
        way = {"network": rng.choice(catalogue.NETWORKS), "kind": rng.choice(("like", "share", "comment"))}
        emit("engagement", lead, at, "social_engaged", person.subject, way, "social")
    elif draw < 0.20:
        score = {"survey_id": "brand-1", "score": rng.randint(1, 10), "kind": "brand"}
        emit("engagement", lead, at, "survey_answered", person.subject, score, "survey")
    elif draw < 0.22 and person.interest > 0.3 and not person.trial:
        person.trial = True
        sim.spawn(trial(sim, person), at + HOUR)
    elif draw < 0.235:
        fields = {"role": rng.choice(catalogue.ROLES)} if rng.random() < 0.5 else {"timing": "this_quarter"}
        emit("lead", lead, at, "attributes_changed", person.subject, {"fields": fields}, "automation")
    if rng.random() < 0.16 * person.interest * (1.0 if person.asked == 0 else 0.25):
        _ask(sim, person, at)
    elif person.score >= WARM and person.fit > 0.5:
        sim.offer(person, at + MINUTE)


def _download(sim: Simulation, person: Person, at: int) -> None:
    asset = {"asset_id": sim.rng.choice(catalogue.ASSETS)}
    sim.emit("engagement", person.lead_id, at, "content_downloaded", person.subject, asset, "web")
    person.score += 5


def _ask(sim: Simulation, person: Person, at: int) -> None:
    """A hand-raise: please call me."""
    person.asked += 1
    person.score += 25
    form_id = sim.rng.choice(("contact", "demo", "demo", "pricing"))
    form = {"form_id": form_id, "intent": "hand_raise", "fields": {"wish": form_id}}
    sim.emit("engagement", person.lead_id, at, "form_submitted", person.subject, form, "web")
    if sim.rng.random() < 0.5:
        consent = {"purpose": "sales_contact", "granted": True, "basis": "form"}
        sim.emit("lead", person.lead_id, at + 30, "consent_changed", person.subject, consent, "automation")
    sim.offer(person, at + MINUTE, asked=True)


def trial(sim: Simulation, person: Person) -> Strand:
    """Two weeks of trying the product, some days more than others."""
    rng, at = sim.rng, sim.now_ms
    for _ in range(rng.randint(2, 9)):
        for _ in range(rng.randint(1, 4)):
            use = {"feature": rng.choice(catalogue.FEATURES), "trial": True}
            sim.emit("engagement", person.lead_id, at, "product_used", person.subject, use, "product")
            at += rng.randint(20, 900) * SECOND
        person.score += 3
        person.interest = min(1.0, person.interest * 1.06)
        at = humane(at + int(rng.expovariate(0.7) * DAY), person.offset_ms, rng)
        yield at


def newsletters(sim: Simulation) -> Strand:
    """Every Tuesday morning, to everybody who wants it; a few dozen a second leave the house."""
    at = midnight_after(sim.start_ms)
    issue = 0
    while True:
        while weekday(at) != 1:
            at += DAY
        yield at + 8 * HOUR
        if not sim.running:
            return
        issue += 1
        sending = at + 8 * HOUR
        for n, person in enumerate(sim.audience()):
            if person.broadcast and not person.left:
                _mail(sim, person, sending, f"newsletter-{issue}")
            if n % 40 == 39:
                sending += SECOND
                yield sending
        at += DAY


def _mail(sim: Simulation, person: Person, at: int, campaign: str) -> None:
    """One e-mail to one person: sent, delivered or not, and what machines and people do with it."""
    rng, emit, random = sim.rng, sim.emit, sim.rng.random
    lead, subject = person.lead_id, person.subject
    send = {"send_id": f"{campaign}-{lead}", "campaign_id": campaign}
    emit("engagement", lead, at, "email_sent", subject, send, "mail")
    if random() < 0.012:
        hard = random() < 0.4
        emit("engagement", lead, at + 2 * SECOND, "email_bounced", subject,
             send | {"class": "hard" if hard else "soft"}, "mail")  # fmt: skip
        person.broadcast = person.broadcast and not hard
        return
    at += int(rng.expovariate(1 / 4) * SECOND) + 300
    emit("engagement", lead, at, "email_delivered", subject, send, "mail")
    send_id = send["send_id"]
    if person.gateway == "scanner":
        _scan(sim, person, at + 700, send_id)
    elif person.gateway == "proxy":
        opened = {"send_id": send_id, "agent": "proxy"}
        emit("engagement", lead, at + int(random() * 10 * MINUTE), "email_opened", subject, opened, "mail")
    if random() > 0.12 + 0.5 * person.interest:
        return
    at = humane(at + 11 * MINUTE + int(rng.expovariate(1 / 5) * HOUR), person.offset_ms, rng)
    agent = "human" if random() < 0.9 else "unknown"
    emit("engagement", lead, at, "email_opened", subject, {"send_id": send_id, "agent": agent}, "mail")
    person.score += 1
    draw = random()
    if draw < 0.18:
        link = rng.choice(catalogue.MAIL_LINKS)
        at += rng.randint(5, 90) * SECOND
        clicked = {"send_id": send_id, "url": link, "agent": "human"}
        emit("engagement", lead, at, "email_clicked", subject, clicked, "mail")
        person.score += 2
        _visit(sim, person, at + SECOND, link)
    elif draw > 0.992:
        _leave(sim, person, at + MINUTE, complain=draw > 0.9985)


def _scan(sim: Simulation, person: Person, at: int, send_id: str) -> None:
    """A mail gateway that follows every link at once. Some of it is only recognised later."""
    rng, lead, subject = sim.rng, person.lead_id, person.subject
    agent = "bot" if rng.random() < 0.85 else "unknown"
    for link in catalogue.MAIL_LINKS:
        at += rng.randint(20, 200)
        click = {"send_id": send_id, "url": link, "agent": agent}
        known_as = sim.emit("engagement", lead, at, "email_clicked", subject, click, "mail")
        if agent == "unknown":
            verdict = {"of": known_as, "agent": "bot"}
            sim.emit("engagement", lead, at + 6 * HOUR, "engagement_reclassified", subject, verdict, "mail")


def _leave(sim: Simulation, person: Person, at: int, complain: bool) -> None:
    kind = "spam_reported" if complain else "email_unsubscribed"
    sim.emit("engagement", person.lead_id, at, kind, person.subject, {}, "mail")
    consent = {"purpose": "marketing", "granted": False, "basis": "link"}
    sim.emit("lead", person.lead_id, at + 100, "consent_changed", person.subject, consent, "automation")
    person.broadcast = False
    person.left = complain
    if sim.rng.random() < 0.05:
        request = {"request_id": sim.new_id("request")}
        sim.emit("lead", person.lead_id, at + 2 * DAY, "erased", person.subject, request, "automation")
        person.left = True


def webinars(sim: Simulation) -> Strand:
    """Every other Thursday at 14:00 UTC: registrations in the days before, attendance, a survey."""
    rng, emit = sim.rng, sim.emit
    day = midnight_after(sim.start_ms)
    while True:
        while not sim.campaigns.webinar(day + 3 * DAY):
            day += DAY
        yield day + 9 * HOUR
        if not sim.running:
            return
        starts = day + 3 * DAY + 14 * HOUR
        place = {"event_id": sim.campaigns.webinar(starts), "kind": "webinar"}
        coming = []
        for person in sim.audience():
            if person.left or rng.random() > 0.25 * person.interest:
                continue
            at = humane(day + 9 * HOUR + int(rng.random() * 2 * DAY), person.offset_ms, rng)
            if at < starts:
                emit("engagement", person.lead_id, at, "event_registered", person.subject, place, "webinars")
                person.score += 4
                coming.append(person)
        yield starts
        for person in coming:
            if rng.random() < 0.55:
                at = starts + rng.randint(-5, 12) * MINUTE + 5 * MINUTE
                emit("engagement", person.lead_id, at, "event_attended", person.subject, place, "webinars")
                person.score += 8
                if rng.random() < 0.2:
                    survey = {"survey_id": place["event_id"], "score": rng.randint(5, 10), "kind": "csat"}
                    emit("engagement", person.lead_id, at + HOUR, "survey_answered", person.subject, survey,
                         "survey")  # fmt: skip
                if person.score >= WARM and person.fit > 0.5:
                    sim.offer(person, business(at, 60, person.offset_ms))
        day += 4 * DAY

"""What the office publishes: owners, exchange rates, spend, budgets, targets, audiences."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from streams.sources import sim_catalogue as catalogue
from streams.sources.sim_calendar import day_text, weekday
from streams.sources.sim_model import DAY, HOUR, MINUTE, SECOND, Strand

if TYPE_CHECKING:
    from streams.sources.simulator import Simulation

#: (channel, kind, team, euro per day and lead per day)
_SPEND = (
    ("paid_search", "media", "marketing", 22.0), ("social", "media", "marketing", 14.0),
    ("email", "tool", "marketing", 2.0), ("organic_search", "agency", "marketing", 6.0),
    ("direct", "salary", "sales", 190.0),
)  # fmt: skip
#: What a deal is worth when the office makes its plans.
_DEAL_EURO = 12_000.0
#: Units of the currency for one euro.
_RATES = {"USD": 1.09, "JPY": 163.0}


def reference(sim: Simulation) -> Strand:
    """Owners at the start and when somebody is away; rates every day."""
    rng, day = sim.rng, sim.start_ms
    for name in ("crm", "automation", "enrichment"):
        level = {"source_system": name, "priority": ("crm", "automation", "enrichment").index(name) + 1}
        _refer(sim, f"source/{name}", day, "source_priority_set", level)
    for owner in sim.owners:
        _owner(sim, owner.id, owner.team, owner.time_zone, day)
    rates = dict(_RATES)
    while True:
        for currency, yesterday in rates.items():
            now = rates[currency] = yesterday * (1 + rng.gauss(0, 0.003))
            rate = {"base": currency, "quote": "EUR", "date": day_text(day), "rate": f"{1 / now:.6f}"}
            _refer(sim, f"fx/{currency}/EUR/{rate['date']}", day + MINUTE, "fx_rate_set", rate)
        if weekday(day) == 0 and rng.random() < 0.3:
            away = rng.choice(sim.owners)
            back = day + 5 * DAY
            _owner(sim, away.id, away.team, away.time_zone, day + 7 * HOUR, back)
        day += DAY
        yield day
        if not sim.running:
            return


def _refer(sim: Simulation, key: str, at: int, type_: str, payload: dict[str, Any]) -> None:
    sim.emit("reference", key, at, type_, None, payload, "admin")


def _owner(sim: Simulation, owner: str, team: str, zone: str, at: int, back: int = 0) -> None:
    entry: dict[str, Any] = {"owner": owner, "team": team, "active": True, "time_zone": zone}
    if back:
        entry["out_of_office_until"] = back
    _refer(sim, f"owner/{owner}", at, "owner_changed", entry)


def market(sim: Simulation) -> Strand:
    """Spend of the day before, monthly budgets and targets, weekly audiences."""
    rng, day = sim.rng, sim.start_ms
    followers = {network: rng.randint(800, 9000) for network in catalogue.NETWORKS}
    month = ""
    while True:
        today = day_text(day)
        if today[:7] != month:
            month = today[:7]
            _month(sim, day, month)
        if weekday(day) == 0:
            for network, before in followers.items():
                now = followers[network] = before + rng.randint(-10, 90)
                seen = {"network": network, "followers": now}
                _publish(sim, network, day + 6 * HOUR, "audience_measured", seen)
        yield day + DAY + 5 * HOUR
        if not sim.running:
            return
        _spend(sim, day, today)
        day += DAY


def _spend(sim: Simulation, day: int, today: str) -> None:
    rng, burst = sim.rng, sim.campaigns.burst(day)
    for channel, kind, team, euro in _SPEND:
        more = 2.6 if kind == "media" and burst else 1.0
        amount = catalogue.money(more * euro * sim.leads_per_day * rng.uniform(0.85, 1.15), "EUR")
        spend = {"channel": channel, "period_start": today, "period_end": today, "amount": amount,
                 "currency": "EUR", "kind": kind, "team": team}  # fmt: skip
        if kind == "media":
            spend["campaign"] = burst or "always-on"
        at = day + DAY + 5 * HOUR
        booked = _publish(sim, channel, at, "spend_recorded", spend)
        if kind == "media" and rng.random() < 0.03:
            right = {"supersedes": booked, "amount": amount * 97 // 100, "currency": "EUR"}
            _publish(sim, channel, at + 8 * HOUR, "spend_restated", right)


def _month(sim: Simulation, day: int, month: str) -> None:
    last = day
    while day_text(last + DAY)[:7] == month:
        last += DAY
    period = {"period_start": f"{month}-01", "period_end": day_text(last)}
    for team, euro in (("marketing", 48.0), ("sales", 200.0)):
        amount = catalogue.money(euro * 30 * sim.leads_per_day, "EUR")
        _publish(
            sim,
            team,
            day + 6 * HOUR,
            "budget_set",
            {"team": team, "amount": amount, "currency": "EUR"} | period,
        )
    for team, figure, value in (
        ("marketing", "mql", int(sim.leads_per_day * 6)),
        ("sales", "won", int(sim.leads_per_day * 0.9) + 1),
        ("sales", "booked_revenue", catalogue.money(_DEAL_EURO * sim.leads_per_day * 0.9, "EUR")),
    ):
        goal = {"team": team, "figure": figure, "value": value} | period
        _publish(sim, team, day + 6 * HOUR + SECOND, "target_set", goal)
    each = catalogue.money(_DEAL_EURO * sim.leads_per_day * 0.9 / len(sim.owners), "EUR")
    for owner in sim.owners:
        share = {"owner": owner.id, "figure": "lead_won_value", "value": each} | period
        _publish(sim, owner.id, day + 6 * HOUR + SECOND, "target_set", share)


def _publish(sim: Simulation, key: str, at: int, type_: str, payload: dict[str, Any]) -> str:
    return sim.emit("market", key, at, type_, None, payload, "finance")

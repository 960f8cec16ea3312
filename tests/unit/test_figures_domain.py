"""The figures that DOMAIN 6 names are there, under the labels it asks for; what divides by nothing is null."""

from __future__ import annotations

import pytest

from processors.report import FIGURES, report
from tests.world import Funnel

#: What DOMAIN 6 calls it: the figures that answer, each with labels that it must carry.
DOMAIN: dict[str, dict[str, str]] = {
    "new lead": {"leads": "series source segment"},
    "MQL": {"mqls": "source segment", "mqls_by_series": "series"},
    "SQL": {"sqls": "series source segment"},
    "cohort conversion": {"cohort_conversion": "from to horizon cohort segment"},
    "period conversion": {"period_conversion": "from to segment"},
    "balance, entered, left": {"balance": "stage", "entered": "stage", "left": "stage"},
    "time in stage": {"time_in_stage": "stage stat"},
    "acceptance": {"acceptance_decided": "source team owner rule", "acceptance_all": "source team owner rule"},
    "open, expired, silent beside": {"handoffs": "outcome source team owner rule reason"},
    "rejection rate by source, campaign, reason": {
        "rejection_rate": "source rule", "rejection_rate_by_campaign": "campaign rule source",
        "rejection_rate_by_reason": "reason campaign rule source",
    },
    "speed to lead": {"speed_to_lead": "time stat team owner"},
    "SLA compliance": {"sla_compliance": "clock team owner"},
    "delays": {"delay": "delay time stat"},
    "completeness": {"context_completeness": "team"},
    "win rate by count and value": {"win_rate": "pipeline", "win_rate_by_value_in_base": "pipeline"},
    "sales cycle": {"sales_cycle": "stat", "lead_cycle": "stat"},
    "average deal size": {"deal_size": "currency", "deal_size_in_base": ""},
    "booked revenue": {"booked_revenue": "kind", "booked_unpriced": "currency"},
    "collected": {"collected": ""},
    "velocity": {"velocity": ""},
    "forecast": {"forecast": "", "forecast_sd": "", "forecast_accuracy": "days_ahead"},
    "CPL, cost per MQL, SQL": {"cost_per_lead": "channel", "cost_per_mql": "channel", "cost_per_sql": "channel"},
    "CAC, payback, CLV": {
        "cac": "", "payback": "", "clv": "", "clv_realised": "", "clv_to_cac": "", "arpa": "", "churn_rate": "",
    },
    "ROAS and ROI": {"roas": "model channel campaign", "marketing_roi": "model channel campaign"},
    "budgets": {"budget_share": "team", "budget_use": "team channel"},
    "targets": {"target_attainment": "team owner figure", "target_pace": "team owner figure"},
    "e-mail": {
        "open_rate": "campaign", "click_rate": "campaign", "click_to_open_rate": "campaign", "emails_opened": "agent",
        "emails_clicked": "agent",
    },
    "traffic, content, social, survey, audience": {
        "visits": "channel", "page_views": "channel", "content_downloads": "asset channel", "forms": "channel",
        "social_engagements": "network",
        "survey_answers": "survey", "audience": "network",
    },
    "lead quality": {
        "quality_acceptance": "source segment campaign", "quality_sql_rate": "source segment campaign",
        "quality_won_rate": "source segment campaign", "value_per_lead": "source segment campaign",
        "cost_per_lead_by_campaign": "campaign",
    },
    "material": {"material_shares": "asset", "material_journeys": "", "material_win_rate": "material"},
    "objections": {"objections": "category source segment"},
    "customer": {
        "onboarding_time": "stat", "renewal_rate": "", "gross_retention": "", "net_retention": "", "expansions": "kind",
        "customers_churned": "reason",
    },
    "attribution": {"attributed_revenue": "model channel campaign kind", "unattributed_revenue": "model"},
    "self-checks": {"check_scores": "", "check_stages": "", "check_handoffs": "", "check_credit": "", "check_aliases": ""},
}  # fmt: skip
KNOWN = {f.name: f for f in FIGURES}


@pytest.mark.parametrize("figures", DOMAIN.values(), ids=DOMAIN)
def test_what_the_domain_names_is_there(figures: dict[str, str]) -> None:
    for name, labels in figures.items():
        assert KNOWN[name].carries(labels.split()), f"{name} by {labels}"


def test_whatever_divides_is_null_where_there_is_nothing() -> None:
    f = Funnel()
    found = report({}, f.topology.definitions[-1], f.now)
    divides = {name for name, x in KNOWN.items() if "/" in x.formula}
    assert len(divides) > 30
    seen = [v for v in found if v.figure in divides]
    assert len(seen) > 15
    assert {v.figure for v in seen if v.value is not None} == set()

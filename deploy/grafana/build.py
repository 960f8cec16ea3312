"""Writes the Grafana dashboards under ``dashboards/``: ``python deploy/grafana/build.py``.

What is there once per partition is twice there for a moment of a rebalance: the largest of each partition is taken first,
then the sum (`streams.metrics`). Sums over the partitions of a worker are summed over workers; what is the same on every
worker is not.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

DASHBOARDS = Path(__file__).parent / "dashboards"
_WIDTH, _HEIGHT, _ACROSS = 8, 8, 3
_SOURCE = {"type": "prometheus", "uid": "${datasource}"}

#: Title, unit, and expressions with their legends.
Panel = tuple[str, str, list[tuple[str, str]]]


def parts(metric: str, *labels: str, **where: str) -> str:
    """A sum over partitions, by labels."""
    matching = ", ".join(f'{label}="{value}"' for label, value in where.items())
    inner = ", ".join((*labels, *where, "partition"))
    return f"sum by ({', '.join(labels)}) (max by ({inner}) ({metric}{{{matching}}}))"


def workers(metric: str, *labels: str, **where: str) -> str:
    """A sum over workers, by labels."""
    matching = ", ".join(f'{label}="{value}"' for label, value in where.items())
    return f"sum by ({', '.join(labels)}) ({metric}{{{matching}}})"


def every(metric: str, *labels: str, **where: str) -> str:
    """The same on every worker."""
    return workers(metric, *labels, **where).replace("sum by", "max by", 1)


def share(part: str, *whole: str) -> str:
    """part/(whole + ...); nothing where that is 0."""
    total = " + ".join(whole)
    return f"({part}) / (({total}) > 0)"


def _clocks(state: str) -> str:
    return parts("leadstream_sla_clocks", "clock", state=state)


def _handoffs(outcome: str) -> str:
    return parts("leadstream_handoffs", outcome=outcome)


def _deals(status: str) -> str:
    return parts("leadstream_deals", status=status)


_MAIL = {"agent": "human"}
_DELIVERED = workers("leadstream_engagement_events", type="email_delivered")
_MARKETING = every("leadstream_spend", "channel", "currency", team="marketing")
_EARNED = 'sum by (channel, currency) (leadstream_attributed_amount{model="$model"})'

BOARDS: dict[str, tuple[str, list[Panel]]] = {
    "funnel": (
        "Funnel and handoffs",
        [
            ("Journeys by stage", "short", [(parts("leadstream_stage_balance", "stage"), "{{stage}}")]),
            ("New leads", "short", [(parts("leadstream_leads"), "leads")]),
            ("MQLs by series", "short", [(parts("leadstream_mqls", "series"), "{{series}}")]),
            ("Handoffs by outcome", "short", [(parts("leadstream_handoffs", "outcome"), "{{outcome}}")]),
            (
                "Acceptance (decided)",
                "percentunit",
                [(share(_handoffs("accepted"), _handoffs("accepted"), _handoffs("rejected")), "accepted")],
            ),
            (
                "SLA compliance",
                "percentunit",
                [(share(_clocks("met"), _clocks("met"), _clocks("breached")), "{{clock}}")],
            ),
            (
                "Speed to lead",
                "s",
                [
                    (
                        f"histogram_quantile({q}, sum by (team, le) (leadstream_team_speed_to_lead_seconds_bucket))",
                        f"{{{{team}}}} p{round(q * 100)}",
                    )
                    for q in (0.5, 0.9)
                ],
            ),
            ("Nobody has touched", "short", [(workers("leadstream_team_untouched_handoffs", "team"), "{{team}}")]),
            ("Held back by the flood guard", "short", [(parts("leadstream_handoffs_held", "team"), "{{team}}")]),
            ("Rejections by reason", "short", [(workers("leadstream_source_rejections", "reason"), "{{reason}}")]),
            (
                "Acceptance by admitting rule",
                "percentunit",
                [
                    (
                        share(
                            workers("leadstream_rule_handoffs", "rule", outcome="accepted"),
                            workers("leadstream_rule_handoffs", "rule"),
                        ),
                        "{{rule}}",
                    )
                ],
            ),
            ("Leads by source", "short", [(workers("leadstream_source_leads", "source"), "{{source}}")]),
        ],
    ),
    "money": (
        "Money, market and win model",
        [
            ("Booked revenue", "short", [(workers("leadstream_booked_revenue", "currency", "kind"), "{{kind}} {{currency}}")]),
            (
                "Booked and collected",
                "short",
                [
                    (workers("leadstream_booked_revenue", "currency"), "booked {{currency}}"),
                    (workers("leadstream_collected", "currency"), "collected {{currency}}"),
                ],
            ),
            (
                "Booked, and no rate of its day",
                "short",
                [(workers("leadstream_booked_unpriced_amount", "currency"), "{{currency}}")],
            ),
            (
                "Pipeline",
                "short",
                [(workers("leadstream_pipeline_amount", "currency", "status"), "{{status}} {{currency}}")],
            ),
            ("Forecast", "short", [(workers("leadstream_forecast_amount", "currency"), "{{currency}}")]),
            ("Closed deals", "short", [(workers("leadstream_deal_amount", "currency", "status"), "{{status}} {{currency}}")]),
            ("Deals by status", "short", [(parts("leadstream_deals", "status"), "{{status}}")]),
            ("Win rate", "percentunit", [(share(_deals("won"), _deals("won"), _deals("lost")), "won")]),
            (
                "Days from creation to win",
                "d",
                [
                    (
                        share(parts("leadstream_creation_to_won_day", stat="sum"), parts("leadstream_won_leads")),
                        "mean",
                    )
                ],
            ),
            ("Spend by channel", "short", [(every("leadstream_spend", "channel", "team", "currency"), "{{team}} {{channel}}")]),
            ("Attributed revenue by channel", "short", [(_EARNED, "{{channel}} {{currency}}")]),
            ("Return on ad spend by channel", "short", [(share(_EARNED, _MARKETING), "{{channel}} {{currency}}")]),
            (
                "Marketing spend per lead",
                "short",
                [
                    (
                        "sum by (currency) (" + _MARKETING + ") / on () group_left () (("
                        + parts("leadstream_leads") + ") > 0)",
                        "{{currency}}",
                    )
                ],
            ),
            ("Leads that the win model was made of", "short", [(every("leadstream_win_model_leads", "status"), "{{status}}")]),
            ("Age of the win model", "s", [("time() - max(leadstream_win_model_timestamp_seconds)", "age")]),
        ],
    ),
    "customers": (
        "Customers",
        [
            ("Customers by status", "short", [(workers("leadstream_customers", "status"), "{{status}}")]),
            (
                "Churned, of all who ever were customers",
                "percentunit",
                [
                    (
                        share(
                            workers("leadstream_customers", status="churned"),
                            'sum (leadstream_customers{status!="prospect"})',
                        ),
                        "churned",
                    )
                ],
            ),
            ("Renewals due", "short", [(workers("leadstream_customers", status="renewal_due"), "due")]),
            *(
                (title, "short", [(workers("leadstream_booked_revenue", "currency", kind=kind), "{{currency}}")])
                for title, kind in (
                    ("Renewed", "renewed"), ("Upsell", "upsell"), ("Cross-sell", "cross_sell"),
                    ("Contracted", "contracted"), ("Refunded", "refunded"),
                )
            ),
            (
                "Handed over to delivery",
                "short",
                [('sum by (kind) (increase(leadstream_outputs_total{record="handover"}[1d]))', "{{kind}}")],
            ),
        ],
    ),
    "engagement": (
        "Engagement",
        [
            ("Visits", "short", [(workers("leadstream_visits"), "visits")]),
            ("By persons", "short", [(workers("leadstream_engagement_events", "type", **_MAIL), "{{type}}")]),
            ("By whom", "short", [(workers("leadstream_engagement_events", "agent"), "{{agent}}")]),
            (
                "E-mails opened and clicked by persons",
                "percentunit",
                [(f"({workers('leadstream_emails', 'state', **_MAIL)}) / on () group_left () (({_DELIVERED}) > 0)", "{{state}}")],
            ),
            ("E-mails by proxies, bots and unknown", "short", [(workers("leadstream_emails", "state", "agent"), "{{state}} {{agent}}")]),
            (
                "Net promoter score",
                "short",
                [
                    (
                        "100 * (" + workers("leadstream_survey_answers", answer="promoter") + " - "
                        + workers("leadstream_survey_answers", answer="detractor") + ") / (("
                        + workers("leadstream_survey_answers") + ") > 0)",
                        "score",
                    )
                ],
            ),
            ("Objections", "short", [(workers("leadstream_objections", "category"), "{{category}}")]),
            (
                "Nurture told",
                "short",
                [('sum by (kind) (increase(leadstream_outputs_total{record="nurture"}[1d]))', "{{kind}}")],
            ),
        ],
    ),
    "trust": (
        "Restatements, checks and work",
        [
            (
                "Restated per hour, by cause",
                "short",
                [('sum by (kind) (increase(leadstream_outputs_total{record="restatement"}[1h]))', "{{kind}}")],
            ),
            ("Self-checks, always 0", "short", [(every("leadstream_checks", "check"), "{{check}}")]),
            ("Rows that disagree", "short", [(parts("leadstream_check_drift", "check"), "{{check}}")]),
            ("Definition in force", "short", [(every("leadstream_definition_info", "name", "version"), "{{name}}@{{version}}")]),
            ("Events", "ops", [("sum (rate(leadstream_events_total[5m]))", "events")]),
            ("What became of facts", "ops", [("sum by (what) (rate(leadstream_fold_outcomes_total[5m]))", "{{what}}")]),
            ("Dead letters per hour", "short", [("sum by (code) (increase(leadstream_dead_letters_total[1h])) > 0", "{{code}}")]),
            (
                "Folds and timers that fail",
                "short",
                [
                    ("sum (increase(leadstream_fold_errors_total[1h]))", "folds"),
                    (parts("leadstream_failing_timers"), "timers"),
                ],
            ),
            ("Lag", "short", [("max by (topic) (leadstream_transport_lag_records)", "{{topic}}")]),
            ("Live partitions", "short", [("sum (leadstream_transport_live_partitions)", "live")]),
            (
                "Sources with a clock ahead: how far, mean",
                "s",
                [
                    (
                        share(
                            "sum by (source) (increase(leadstream_skew_seconds_total[1h]))",
                            "sum by (source) (increase(leadstream_skewed_events_total[1h]))",
                        ),
                        "{{source}}",
                    )
                ],
            ),
            (
                "Browsers of too many people",
                "short",
                [(parts("leadstream_crowded_browsers"), "browsers")],
            ),
            ("Metrics left out", "short", [("max (leadstream_metrics_left_out)", "left out")]),
        ],
    ),
}  # fmt: skip


def dashboard(name: str) -> dict[str, Any]:
    """Grafana's model of a dashboard."""
    title, panels = BOARDS[name]
    variables: list[dict[str, Any]] = [
        {"name": "datasource", "type": "datasource", "query": "prometheus", "label": "Data source"}
    ]
    if any("$model" in expr for _, _, targets in panels for expr, _ in targets):
        query = "label_values(leadstream_attributed_amount, model)"
        variables.append(
            {
                "name": "model",
                "type": "query",
                "label": "Attribution model",
                "datasource": _SOURCE,
                "query": {"query": query, "refId": "model"},
                "definition": query,
                "refresh": 2,
                "current": {"text": "linear", "value": "linear"},
            }
        )
    return {
        "uid": f"leadstream-{name}",
        "title": f"leadstream: {title}",
        "tags": ["leadstream"],
        "schemaVersion": 39,
        "timezone": "utc",
        "refresh": "30s",
        "time": {"from": "now-24h", "to": "now"},
        "templating": {"list": variables},
        "panels": [_panel(n, *panel) for n, panel in enumerate(panels)],
    }


def _panel(n: int, title: str, unit: str, targets: list[tuple[str, str]]) -> dict[str, Any]:
    row, column = divmod(n, _ACROSS)
    return {
        "id": n + 1,
        "type": "timeseries",
        "title": title,
        "datasource": _SOURCE,
        "gridPos": {"x": column * _WIDTH, "y": row * _HEIGHT, "w": _WIDTH, "h": _HEIGHT},
        "fieldConfig": {"defaults": {"unit": unit}, "overrides": []},
        "targets": [
            {"refId": chr(ord("A") + i), "expr": expr, "legendFormat": legend, "datasource": _SOURCE}
            for i, (expr, legend) in enumerate(targets)
        ],
    }


def texts() -> dict[Path, str]:
    """Every dashboard's file and what it says."""
    return {
        DASHBOARDS / f"{name}.json": json.dumps(dashboard(name), indent=1, ensure_ascii=False) + "\n"
        for name in BOARDS
    }


if __name__ == "__main__":
    for path, text in texts().items():
        path.write_text(text, encoding="utf-8")

"""An account as people and programs see it: where the customer stands, its contracts and its deals.

As the views of `streams.inspection`: instants are epoch ms (``_at``), money minor units.
"""

from __future__ import annotations

from typing import Any

from processors.contracts import Booking, Term
from processors.customers import PROSPECT, Customer
from processors.days import iso
from processors.model import DEAL_STATUS

_RUNNING, _DUE = "running", "renewal_due"


def customer_view(customer: Customer | None) -> dict[str, Any]:
    """``status`` None: nothing of it has come into effect; ``prospect``: it never was a customer."""
    if customer is None:
        return {"status": None, "contracts": [], "deals": []}
    return {
        "status": customer.status,
        "since_at": customer.since if customer.status != PROSPECT and customer.since else None,
        "customer_since_at": customer.acquired or None,
        "churn_reason": customer.churns[-1][1] or None if customer.churns else None,
        "paid": _by_currency(customer.paid) or None,
        "contracts": [_term(x) for x in customer.terms],
        "deals": [
            {
                "deal_id": x.deal,
                "status": DEAL_STATUS[x.status],
                "amount_minor": x.amount,
                "currency": x.currency or None,
                "closed_at": x.closed or None,
            }
            for x in customer.deals
        ],
    }


def _term(x: Term) -> dict[str, Any]:
    return {
        "contract_id": x.contract,
        "term": x.n,
        "starts": iso(x.starts),
        "ends": iso(x.ends),
        "amount_minor": x.amount,
        "currency": x.currency or None,
        "renewal_due_at": x.due,
        "state": x.outcome or (_DUE if x.fired else _RUNNING),
    }


def _by_currency(found: tuple[Booking, ...]) -> dict[str, int]:
    out: dict[str, int] = {}
    for x in found:
        out[x.currency] = out.get(x.currency, 0) + x.amount
    return out

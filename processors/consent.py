"""Consent, by purpose: the latest explicit word counts, and of two at one instant the withdrawal.

Who has said nothing may be nurtured, profiled and called: what an operator needs before that, its sources say with
events. Without ``sales_contact`` nobody calls: an open handoff is withdrawn and no new one is made. Without
``marketing`` nurture stops. Without ``profiling`` nothing that the person does is scored from then on, what was scored
is forgotten, and neither score nor fit lets them through: only a raised hand does, which is a question to us and no
profile of ours. Where it is granted again, scoring begins anew.

Aliases of one person are folded as one run of facts, so what counts after a merge is the latest explicit word of any
of them: silence of the one never widens what the other has refused.
"""

from __future__ import annotations

from processors import handoff, lifecycle
from processors.model import NURTURE_OFF, NURTURE_ON, State

MARKETING, SALES_CONTACT, PROFILING = "marketing", "sales_contact", "profiling"
#: What the erasure of a person refuses for whoever comes back, until they say otherwise.
SUPPRESSED = (MARKETING, PROFILING)
#: The attribute that carries a keyed hash of the person's address, see `reference.Reference.suppressed`.
ADDRESS_HASH = "address_hash"


def granted(s: State, purpose: str) -> bool:
    found = s.consent.get(purpose)
    return found is None or found[0]


def changed(s: State, purpose: str, grant: bool, t: int) -> None:
    """A word at ``t``, given in the order of the facts; an older one than what is known changes nothing."""
    old = s.consent.get(purpose)
    if old is not None and (old[1] > t or (old[1] == t and not old[0])):
        return
    before = old is None or old[0]
    s.consent = {**s.consent, purpose: (grant, t)}
    if purpose == SALES_CONTACT:
        if not grant:  # what is held back is handed over once they allow it, see `qualify.settle`
            handoff.withdraw(s, t, "consent")
    elif purpose == MARKETING and grant != before and not s.left:
        lifecycle.mark(s, t, NURTURE_ON if grant else NURTURE_OFF)
    elif purpose == PROFILING and grant != before:
        s.acc, s.once, s.anew = {}, 0, (s.a, s.b)


def suppress(s: State, at: int, t: int) -> None:
    """Somebody with this address was erased at ``at``, as we learn at ``t``."""
    for purpose in SUPPRESSED:
        old = s.consent.get(purpose)
        if old is None or old[1] <= at:
            before = old is None or old[0]
            s.consent = {**s.consent, purpose: (False, at)}
            if before and purpose == MARKETING and not s.left:
                lifecycle.mark(s, t, NURTURE_OFF)
            elif before and purpose == PROFILING:
                s.acc, s.once, s.anew = {}, 0, (s.a, s.b)

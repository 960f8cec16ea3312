"""Contracts of an account: their terms, when each renewal falls due, and what they are worth as it changes.

A renewal is due ``notice_days`` before the term ends. Choices where the domain is silent: a contract that nobody
renews stays due; signed anew beyond its end it is renewed; it is renewed for as long as it ran; what is bought
beside belongs to the contract signed last, so that the next signature or renewal takes it in.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from msgspec import Struct
from msgspec.structs import replace

from processors.compiled import Compiled
from processors.days import civil, day_number, day_of_text
from processors.events import BACKFILL
from processors.ledger import Item, recorded_at
from processors.model import NEVER

RENEWED, CHURNED = "renewed", "churned"
#: How what the contracts are worth per term changes.
CHANGES = ("new", "expanded", "contracted", "renewed_up", "renewed_down", "churned")
_RISE, _FALL = ("new", "expanded", "renewed_up"), ("contracted", "renewed_down", "churned")


class Term(Struct, frozen=True):
    """One term of a contract, days since 1970-01-01, both included. ``due`` is when its renewal falls due, ``fires``
    when that is seen: no sooner than it was signed. ``outcome``: "", renewed or churned, at ``settled``."""

    contract: str
    n: int
    starts: int
    ends: int
    amount: int
    currency: str
    notice_days: int
    due: int
    fires: int
    silent: bool = False
    fired: bool = False
    outcome: str = ""
    settled: int = 0


class Booking(Struct, frozen=True):
    """Money or value that moved at ``t``: minor units, never negative; the kind says which way.

    ``since``: when the account became the customer that it is. ``of``: what a fall takes away, as (when it had come,
    minor units), the newest first.
    """

    kind: str
    t: int
    amount: int
    currency: str
    since: int = 0
    of: tuple[tuple[int, int], ...] = ()


class Contracts:
    """The contracts of one account while it is folded.

    :param at: the definition in force at an instant.
    """

    def __init__(self, at: Callable[[int], Compiled]) -> None:
        self.at = at
        self.terms: dict[str, list[Term]] = {}
        self.worth: dict[tuple[str, str], int] = {}  # contract, currency
        self.came: dict[
            str, list[tuple[int, int]]
        ] = {}  # by currency: when what they are worth came, and how much
        self.signed = ""  # the contract that was signed last
        self.changes: list[Booking] = []
        self.since = 0

    def all(self) -> tuple[Term, ...]:
        return tuple(x for run in self.terms.values() for x in run)

    def due(self) -> int:
        """The next instant at which a renewal falls due."""
        return min((x.fires for x in self.all() if not x.fired and not x.outcome), default=NEVER)

    def fire(self, due: int) -> None:
        for run in self.terms.values():
            run[:] = [replace(x, fired=True) if x.fires == due and not x.outcome else x for x in run]

    def waiting(self) -> bool:
        """Is some renewal due and not settled?"""
        return any(x.fired and not x.outcome for x in self.all())

    def latest(self) -> Term | None:
        """The newest term of the contract that was signed last."""
        run = self.terms.get(self.signed)
        return run[-1] if run else None

    # -- what happens to them ---------------------------------------------------------------------------------------

    def sign(self, t: int, p: dict[str, Any], e: Item) -> bool:
        """:returns: whether that renewed a contract."""
        contract, amount, currency = str(p["contract_id"]), p["amount"], p["currency"]
        run = self.terms.setdefault(contract, [])
        starts, ends = day_of_text(p["starts"]), day_of_text(p["ends"])
        new = self._term((contract, len(run) + 1), (starts, ends), (amount, currency), p["notice_days"], e)
        self.signed = contract
        last = run[-1] if run else None
        if last is None or last.outcome:
            run.append(new)
        elif starts > last.ends or (last.fired and ends > last.ends):
            run[-1] = replace(last, outcome=RENEWED, settled=t)
            run.append(new)
            self._value(t, contract, amount, currency, ("renewed_up", "renewed_down"))
            return True
        elif last.fired:
            run[-1] = replace(last, starts=starts, ends=ends, amount=amount, currency=currency)
        else:
            run[-1] = replace(new, n=last.n)
        rise = "expanded" if any(self.worth.values()) else "new"
        self._value(t, contract, amount, currency, (rise, "contracted"))
        return False

    def renew(self, t: int, contract: str, amount: int, currency: str, e: Item) -> None:
        run = self.terms.get(contract)
        if run:
            last = run[-1]
            if not last.outcome:
                run[-1] = replace(last, outcome=RENEWED, settled=t)
            days = (last.ends + 1, _prolonged(last.starts, last.ends))
            run.append(self._term((contract, last.n + 1), days, (amount, currency), last.notice_days, e))
        self._value(t, contract, amount, currency, ("renewed_up", "renewed_down"))

    def expand(self, t: int, amount: int, currency: str) -> None:
        self._change(t, self.signed, currency, amount, "expanded")

    def shrink(self, t: int, amount: int, currency: str) -> None:
        """Never below nothing; the contract signed last first."""
        for contract, own in sorted(self.worth, key=lambda x: x[0] != self.signed):
            if own == currency:
                less = min(amount, self.worth[contract, own])
                self._change(t, contract, currency, -less, "contracted")
                amount -= less

    def end(self, t: int) -> None:
        """The customer left: nothing is due any more, and worth anything."""
        for run in self.terms.values():
            run[:] = [x if x.outcome else replace(x, outcome=CHURNED, settled=t) for x in run]
        for (contract, currency), amount in list(self.worth.items()):
            self._change(t, contract, currency, -amount, "churned")

    # -- terms and worth --------------------------------------------------------------------------------------------

    def _term(
        self, name: tuple[str, int], days: tuple[int, int], money: tuple[int, str], notice: int, e: Item
    ) -> Term:
        """Back-filled after its renewal fell due, it calls nobody (case 48)."""
        t = e[0] >> 22
        due = self.at(t).days.start(days[1] - notice)
        silent = bool(e[1] & BACKFILL) and due <= recorded_at(e[0], e[2])
        return Term(*name, *days, *money, notice, due, max(due, t), silent)

    def _change(self, t: int, contract: str, currency: str, by: int, kind: str) -> None:
        if by:
            self.worth[contract, currency] = self.worth.get((contract, currency), 0) + by
            of = self._taken(currency, -by)
            if by > 0:
                self.came.setdefault(currency, []).append((t, by))
            self.changes.append(Booking(kind, t, abs(by), currency, self.since, of))

    def _taken(self, currency: str, amount: int) -> tuple[tuple[int, int], ...]:
        """What came last goes first: so nobody counts as lost what was not there when a period began."""
        out: list[tuple[int, int]] = []
        came = self.came.get(currency, [])
        while amount > 0 and came:
            t, n = came.pop()
            out.append((t, min(n, amount)))
            if n > amount:
                came.append((t, n - amount))
            amount -= n
        return tuple(out)

    def _value(self, t: int, contract: str, amount: int, currency: str, kinds: tuple[str, str]) -> None:
        """The contract is worth ``amount`` from now on; ``kinds`` of change: up, down."""
        for of, other in list(self.worth):
            if of == contract and other != currency:
                self._change(t, contract, other, -self.worth[of, other], kinds[1])
        by = amount - self.worth.get((contract, currency), 0)
        self._change(t, contract, currency, by, kinds[0] if by > 0 else kinds[1])


def sign_of(change: str) -> int:
    """Whether a change of `CHANGES` adds to what the contracts are worth, or takes from it."""
    return 1 if change in _RISE else -1


def _prolonged(starts: int, ends: int) -> int:
    """The last day of the next term: as many months where the first was whole months, else as many days."""
    year, month, day = civil(starts)
    then_year, then_month, then_day = civil(ends + 1)
    if day != then_day:
        return ends + ends - starts + 1
    last = 2 * (then_year * 12 + then_month - 1) - (year * 12 + month - 1)
    return day_number(last // 12, last % 12 + 1, day) - 1

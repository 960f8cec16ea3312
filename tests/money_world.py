"""Deals, accounts, spend and rates through the whole topology, for tests of the money figures."""

from __future__ import annotations

import json
from typing import Any

from processors.columns import stage_names
from processors.days import DAY
from processors.period import Period
from processors.report import Value, report
from streams.state_reader import figures_of_rows, loaded
from tests.strategies import T0, sent
from tests.world import Funnel

EUR = {"currency": "EUR"}


def on(day: int, hour: int = 12) -> int:
    """An instant of a day of March 2026, which begins with `T0`."""
    return T0 + (day - 1) * DAY + hour * 3_600_000


class Shop(Funnel):
    """A company with deals and customers. Times are days of March 2026."""

    def account(self, type_: str, day: int, account: str = "acc-1", **payload: Any) -> None:
        self.n += 1
        t = on(day)
        what = sent(type_, t, self.n, payload, topic="deal", subject={"account_id": account}, recorded_at=t)
        self.driver.advance(max(self.now, t))
        self.publish(what)
        self.driver.run()

    def opened(
        self, day: int, amount: int, currency: str = "EUR", *, deal: str = "deal-1", leads: tuple[str, ...] = ("lead-1",),
        **more: Any,
    ) -> None:  # fmt: skip
        payload = {
            "leads": [{"lead_id": x} for x in leads], "amount": amount, "currency": currency, "pipeline": "p", "stage": "s",
        }  # fmt: skip
        self.say("opened", on(day), payload | more, deal=deal)

    def won(self, day: int, amount: int, currency: str = "EUR", *, deal: str = "deal-1", **more: Any) -> None:
        self.say("won", on(day), {"amount": amount, "currency": currency} | more, deal=deal)

    def raw(self, event: dict[str, Any]) -> None:
        """A record whose content no publisher of ours would write."""
        subject = next(iter(event["subject"].values()))
        self.driver.publish(self.settings.topics.deal, subject.encode(), json.dumps(event).encode())
        self.driver.run()

    def rate(self, currency: str, date: str, rate: str, day: int = 1) -> None:
        self.learn("fx_rate_set", on(day), base=currency, quote="EUR", date=date, rate=rate)

    def spend(self, channel: str, first: str, last: str, amount: int, **more: Any) -> None:
        payload = {
            "channel": channel, "period_start": first, "period_end": last, "amount": amount, "kind": "media",
            "team": "marketing",
        }  # fmt: skip
        self.learn("spend_recorded", on(1), **payload | EUR | more)

    def values(
        self, *by: str, only: tuple[str, ...] = (), period: str = "", at: int | None = None
    ) -> list[Value]:
        at = self.now if at is None else at
        definitions = self.topology.definitions
        totals = figures_of_rows(loaded(self.driver.all_rows()), self.topology, at)
        return report(
            totals, definitions[-1], at, by=by, only=only, period=Period.parse(period) if period else None,
            names=stage_names(definitions), market=self.topology.market, reference=self.topology.reference,
        )  # fmt: skip

    def figure(
        self, name: str, *by: str, period: str = "", at: int | None = None
    ) -> dict[tuple[str, ...], Any]:
        """Values by labels; a single one under ()."""
        return {
            tuple(v.labels.values()): v.value for v in self.values(*by, only=(name,), period=period, at=at)
        }

    def one(self, name: str, period: str = "", at: int | None = None) -> Any:
        return self.figure(name, period=period, at=at)[()]

    def inputs(self, name: str, period: str = "", at: int | None = None) -> dict[str, int]:
        (found,) = self.values(only=(name,), period=period, at=at)
        return found.inputs

    def balanced(self) -> int:
        """Booked revenue; it is what every model credits, in own currencies and in the base."""
        assert self.one("check_credit") == 0
        booked: int = self.one("booked_revenue")
        credit = {key[0]: n for key, n in self.figure("attributed_revenue").items() if n}
        assert set(credit.values()) <= {booked}
        return booked

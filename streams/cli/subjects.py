"""Views of a lead, a deal or an account as text and tables: plain words, local times."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

import typer

from processors.definition.plain import event as event_words
from processors.money import show as money
from processors.qualify import HAND_RAISE, OVERRIDE
from streams.cli.console import print_table
from streams.cli.times import Zone, ago, local
from streams.inspection import View, next_deadline

#: What let a lead through, where it was no rule: also an answer of sales, which stays although its ground is gone.
_GROUNDS = {HAND_RAISE: "a raised hand", OVERRIDE: "a score set by hand", None: "an answer of sales"}

CLOCKS = {"first_touch": "first touch", "decision": "decision", "meeting": "meeting"}


class Printer:
    """Views as text and tables, in one time zone."""

    def __init__(self, zone: Zone, as_of: int, file: str | None) -> None:
        self.zone = zone
        self.as_of = as_of
        self.file = file

    def at(self, ms: int | None) -> str:
        return "" if ms is None else local(ms, self.zone)

    def place(self, found: View) -> str:
        if found["offset"] is None:
            return ""
        if self.file is not None:
            return f"{self.file}:{found['offset']}"
        return f"{found['topic']} {found['partition']} @ {found['offset']}"

    def fields(self, pairs: Iterable[tuple[str, str]]) -> None:
        shown = [(name, text) for name, text in pairs if text]
        width = max(len(name) for name, _ in shown)
        for name, text in shown:
            typer.echo(f"{name:<{width}}  {text}")

    def heading(self, found: View) -> None:
        typer.secho(f"{found['kind']} {found['id']}", bold=True, nl=False)
        typer.echo(f"   as of {self.at(found['as_of'])}, definition {found['definition']}")

    # -- leads --

    def standing(self, found: View) -> str:
        if found["stage"] is None:
            return "none yet"
        text = f"{found['stage']}, since {self.at(found['since_at'])}, journey {found['journey']}"
        return text + (
            "" if found["high_water"] == found["stage"] else f"; the furthest was {found['high_water']}"
        )

    def lead(self, found: View) -> None:
        override = found["override"]
        manual = f", set by hand to {points(override['value_milli'])}" if override else ""
        score = f"{points(found['engagement_milli'])} points of engagement{manual}, "
        score += f"{points(found['fit_milli'])} of 100 points of fit (grade {found['grade']})"
        timer = found["next_timer"]
        self.fields(
            (
                ("stage", self.standing(found)),
                (
                    "merged",
                    f"into {found['merged_into']}, whose its facts are" if found["merged_into"] else "",
                ),
                ("includes", ", ".join(found["aliases"])),
                ("shared", "by more people than can be told apart" if found["crowded"] else ""),
                ("score", score + (", qualified" if found["qualified"] else "")),
                ("segment", found["segment"] or ""),
                ("source", _source(found["source"])),
                ("owner", found["owner"] or ""),
                ("account", found["account"] or ""),
                ("attributes", ", ".join(f"{k}: {_plain(v)}" for k, v in found["attributes"].items())),
                ("consent", ", ".join(f"{k}: {'yes' if v else 'no'}" for k, v in found["consent"].items())),
                ("waits for", self.waiting(found["open_handoff"])),
                ("next", f"{timer['what']}: {self.at(timer['at'])}" if timer else ""),
                ("events", self.span(found)),
            )
        )
        for journey in found["journeys"]:
            self.journey(journey)
        if found["deals"]:
            typer.echo()
            rows = ((d["deal_id"], d["status"], self.amount(d), *self.dates(d)) for d in found["deals"])
            print_table(("deal", "status", "this lead's share", "opened", "closed"), rows)

    def span(self, found: View) -> str:
        if not found["event_count"]:
            return ""
        span = f"from {self.at(found['first_event_at'])} to {self.at(found['last_event_at'])}"
        older = "; older ones are kept as sums" if found["approximate"] else ""
        return f"{found['event_count']}, {span}{older}"

    def waiting(self, h: View | None) -> str:
        if h is None:
            return ""
        if h["silent"]:
            return "nobody: the handoff was imported, and the import holds no answer"
        who = f"{h['owner'] or 'nobody present'} of {h['team']}"
        if h["paused_at"]:
            return f"{who}; the clocks are paused since {self.at(h['paused_at'])}"
        deadline = next_deadline(h)
        if deadline is None:
            return who
        return f"{who}: {CLOCKS[deadline[0]]} by {self.at(deadline[1])} ({ago(deadline[1], self.as_of)})"

    def journey(self, journey: View) -> None:
        typer.echo()
        reason = f", ended: {journey['reason']}" if journey["reason"] else ""
        typer.secho(f"journey {journey['journey']}, from {journey['generated_by']}{reason}", bold=True)
        print_table(
            ("stage", "entered", "left", ""),
            (
                (e["stage"], self.at(e["entered_at"]), self.at(e["left_at"]), _entry(e))
                for e in journey["entries"]
            ),
        )
        if journey["handoffs"]:
            typer.echo()
            print_table(
                ("handoff", "made", "team", "owner", "let through by", "first touch", "decision", "outcome"),
                (self.handoff(h) for h in journey["handoffs"]),
            )
        if journey["marks"]:
            typer.echo()
            print_table(
                ("refused or noted", "stage", "rule"),
                ((self.at(m["at"]), m["stage"], m["rule"]) for m in journey["marks"]),
            )

    def handoff(self, h: View) -> tuple[str, ...]:
        outcome = "imported" if h["silent"] and h["outcome"] == "open" else h["outcome"]
        details = [self.at(h["outcome_at"]), h["reason_code"] or "", h["notes"] or ""]
        details += [flag for flag in h["flags"] if flag not in ("silent", "imported", "hand-raise")]
        said = ", ".join(part for part in details if part)
        return (
            f"{h['journey']}.{h['attempt']}", self.at(h["started_at"]), h["team"], h["owner"] or "",
            admitted_by(h["admitting_rule"]), self.clock(h["first_touch"]), self.clock(h["decision"]),
            f"{outcome} ({said})" if said else outcome,
        )  # fmt: skip

    def clock(self, clock: View | None) -> str:
        """What became of a deadline."""
        if clock is None:
            return ""
        late = " too late" if clock["breached_at"] else ""
        if clock["done_at"]:
            return f"{self.at(clock['done_at'])}{late}"
        return f"{'missed' if late else 'due'} {self.at(clock['due_at'])}"

    # -- deals and accounts --

    def amount(self, deal: View) -> str:
        return money(deal["amount_minor"], deal["currency"]) if deal["currency"] else ""

    def dates(self, deal: View) -> tuple[str, str]:
        return self.at(deal["opened_at"]), self.at(deal["closed_at"])

    def deal(self, found: View) -> None:
        if found["status"] is None:
            typer.echo("no event of it has come into effect yet")
            return
        opened, closed = self.dates(found)
        status = found["status"].replace("_", " ") + (f" ({found['reason']})" if found["reason"] else "")
        self.fields(
            (
                ("status", status),
                ("stage", found["stage"] or ""),
                ("amount", self.amount(found)),
                ("opened", opened),
                ("closed", closed),
                ("account", found["account"] or ""),
                ("leads", ", ".join(f"{x['lead_id']} (weight {x['weight']})" for x in found["leads"])),
            )
        )

    def account(self, found: View) -> None:
        if found["status"] is None:
            typer.echo("no event of it has come into effect yet")
            return
        status = found["status"].replace("_", " ")
        status += f", since {self.at(found['since_at'])}" if found["since_at"] else ""
        paid = (money(n, currency) for currency, n in (found["paid"] or {}).items())
        self.fields(
            (
                ("status", status),
                (
                    "customer",
                    f"since {self.at(found['customer_since_at'])}" if found["customer_since_at"] else "",
                ),
                ("left", f"last time for {found['churn_reason']}" if found["churn_reason"] else ""),
                ("paid", ", ".join(paid)),
            )
        )
        if found["contracts"]:
            typer.echo()
            print_table(
                ("contract", "from", "to", "worth", "renewal due", ""),
                (
                    (
                        c["contract_id"],
                        c["starts"],
                        c["ends"],
                        self.amount(c),
                        self.at(c["renewal_due_at"]),
                        c["state"].replace("_", " "),
                    )
                    for c in found["contracts"]
                ),
            )
        if found["deals"]:
            typer.echo()
            rows = (
                (d["deal_id"], d["status"], self.amount(d), self.at(d["closed_at"])) for d in found["deals"]
            )
            print_table(("deal", "status", "amount", "closed"), rows)

    def events(self, found: View) -> None:
        typer.echo()
        print_table(
            ("when", "what", "from"),
            ((self.at(e["at"]), self.what(e), self.place(e)) for e in found["events"]),
        )

    def what(self, e: View) -> str:
        """An event in words, with what it carried: amounts as money, instants in the zone."""
        payload = dict(e["payload"])
        if isinstance(payload.get("amount"), int) and payload.get("currency"):
            payload["amount"] = money(payload["amount"], payload.pop("currency"))
        for name in ("closed_at", "until"):
            if isinstance(payload.get(name), int):
                payload[name] = self.at(payload[name]) if payload[name] else None
        payload.pop("identity", None)  # by which a re-classification finds it; it says nothing to people
        if payload.get("leads"):
            payload["leads"] = [_part(x) for x in payload["leads"]]
        if e["type"].startswith("share_"):  # 0 and "" are what a deal does not tell
            payload = {name: value for name, value in payload.items() if value}
        details = [f"{k} {_plain(v)}" if k == "kind" else _detail(v) for k, v in payload.items()]
        said = ", ".join(text for text in details if text)
        name = event_words(e["type"])
        if name.startswith("share "):  # what the deal told of itself
            name = f"deal {name.removeprefix('share ')}"
        return name + (f": {said}" if said else "")

    # -- explain --

    def why(self, found: View, last: int) -> None:
        self.fields((("stage", self.standing(found)),))
        for call in found["admitted"]:
            ground = _GROUNDS.get(call["rule"], f"rule {call['rule']}")
            typer.echo(
                f"handoff {call['journey']}.{call['attempt']} on {self.at(call['at'])} was let through by {ground}"
            )
        typer.echo()
        for reason in found["ground"]:
            typer.echo(f"Qualified: {reason}.")
        for reason in found["missing"]:
            typer.echo(f"Not qualified: {reason}.")
        self.score(found)
        story = found["story"][-last:] if last else found["story"]
        typer.echo()
        left_out = len(found["story"]) - len(story)
        typer.secho("what happened" + (f" ({left_out} earlier facts: --all)" if left_out else ""), bold=True)
        before, calls = None, found["story"][left_out - 1]["handoffs"] if left_out else 0
        rows = []
        for line in story:
            stage = line["stage"] or ""
            moved = f"→ {stage}" if stage != before else ""
            handed = "handed over" if line["handoffs"] > calls else ""
            before, calls = stage, line["handoffs"]
            rows.append(
                (
                    self.at(line["at"]), self.what(line), points(line["engagement_milli"]), points(line["fit_milli"]),
                    ", ".join(x for x in (moved, handed, "back-fill" if line["backfill"] else "") if x),
                    self.place(line),
                )
            )  # fmt: skip
        print_table(("when", "what", "engagement", "fit", "led to", "from"), rows)

    def score(self, found: View) -> None:
        typer.echo()
        typer.secho(f"engagement: {points(found['engagement_milli'])} points", bold=True)
        if found["score_rows"]:
            print_table(
                ("points", "rule", "day", "first fact of it"),
                (
                    (
                        points(r["points_milli"]),
                        _row_name(r),
                        r["day"] if r["why"] == "scored" else "",
                        self.place(r),
                    )
                    for r in found["score_rows"]
                ),
            )
            same = found["score_rows_sum_milli"] == found["engagement_milli"]
            typer.echo(
                f"{points(found['score_rows_sum_milli'])} in sum, "
                + ("which is the score" if same else f"but the score is {points(found['engagement_milli'])}")
            )
        typer.echo()
        typer.secho(f"fit: {points(found['fit_milli'])} of 100 points (grade {found['grade']})", bold=True)
        if found["fit_rows"]:
            print_table(
                ("points", "rule", "because"),
                ((points(r["points_milli"]), r["rule"], r["because"]) for r in found["fit_rows"]),
            )


def points(milli: int) -> str:
    """Milli-points as people write them."""
    return f"{milli / 1000:.3f}".rstrip("0").rstrip(".")


def admitted_by(rule: str | None) -> str:
    """What let a lead through: a raised hand alone is no rule of the definition and has a name of its own."""
    return _GROUNDS.get(rule, rule or "") if rule else ""


def _source(source: str | None) -> str:
    """A source that was recorded as empty is not one that nobody recorded."""
    if source is None:
        return ""
    return source or "(empty)"


def _plain(value: Any) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float) and value.is_integer():
        return f"{value:.0f}"
    return str(value)


def _entry(e: View) -> str:
    words = ["by implication" if e["implied"] else "", "from back-fill" if e["backfill"] else ""]
    return ", ".join(word for word in words if word)


def _row_name(row: View) -> str:
    rule = str(row["rule"])
    return {
        "cap": f"{rule}: cut by its cap",
        "cap of all": "cut by the cap of all engagement",
        "rounding": f"{rule}: rounding",
        "before": f"{rule}: earlier events",
    }.get(row["why"], rule)


def _part(x: Any) -> str:
    """A lead of a deal: an id, with its weight where there are several."""
    if isinstance(x, dict):
        return f"{x.get('lead_id')}" + (
            f" (weight {_plain(x['weight'])})" if x.get("weight") is not None else ""
        )
    lead, n, of = x
    return str(lead) + (f" (weight {n}/{of})" if of > 1 else "")


def _detail(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{k} {_detail(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return " ".join(filter(None, map(_detail, value)))
    return _plain(value)

"""``leadstream show``, ``explain`` and ``handoffs``: one lead, and what waits for sales, in plain words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, Any, NamedTuple

import typer

from processors.definition.plain import event as event_words
from processors.model import Row, load
from processors.money import show as money
from streams import state_reader
from streams.cli.console import (
    AsJson,
    DataError,
    UserError,
    instant_ms,
    print_json,
    print_table,
    say,
    settings_of,
)
from streams.cli.events import STDIN
from streams.cli.replay import WithDefinition, replayed
from streams.cli.times import Zone, ago, local, zone_named
from streams.clock import clock_of
from streams.inspection import KINDS, Subject, View, handoffs, key_of, next_deadline
from streams.settings import Settings
from streams.topology import LeadTopology

#: Of a story, this many facts are printed unless all are asked for.
LAST = 30
_CLOCKS = {"first_touch": "first touch", "decision": "decision", "meeting": "meeting"}

_Id = Annotated[str, typer.Argument(metavar="LEAD", help="Id of a lead, or of what --kind says.")]
_Kind = Annotated[str, typer.Option("--kind", "-k", help="lead, anonymous, deal or account.")]
_AsOf = Annotated[
    str | None,
    typer.Option("--as-of", help="At this instant (ISO with zone, or ms); else now, of a file its end."),
]
_File = Annotated[
    str | None,
    typer.Option("--file", "-f", help="Fold this file of events (NDJSON, - for stdin), instead of Kafka."),
]
_ZoneOption = Annotated[
    str | None, typer.Option("--zone", help="Show times in this zone (Europe/Vienna); else the definition's.")
]

commands = typer.Typer(
    help="What marketing handed to sales, and what waits for an answer.", no_args_is_help=True
)


class Known(NamedTuple):
    """Where state is read from: the changelog, or a file folded offline."""

    topology: LeadTopology
    row: Callable[[str], Row | None]
    rows: Callable[[], Iterable[tuple[str, Row]]]
    as_of: int
    file: str | None


def register(app: typer.Typer) -> None:
    app.command("show")(show)
    app.command("explain")(explain)
    app.add_typer(commands, name="handoffs")


def known(settings: Settings, file: str | None, as_of: str | None, definition: str | None) -> Known:
    """Open the state of the workers, or fold a file."""
    if file is not None:
        done = replayed(settings, file, definition=definition, as_of=as_of)
        stored = {key.decode(): data for key, data in done.rows()}
        return Known(
            done.topology,
            lambda key: load(stored[key]) if key in stored else None,
            lambda: state_reader.loaded(done.rows()),
            done.as_of,
            "stdin" if file == STDIN else file,
        )
    if definition is not None:
        raise UserError("--definition goes with --file: the workers' state follows from their own definition")
    at = clock_of(settings).now_ms() if as_of is None else instant_ms(as_of, "--as-of")
    return Known(
        state_reader.topology(settings),
        lambda key: state_reader.row(settings, key),
        lambda: state_reader.rows(settings),
        at,
        None,
    )


def _subject(source: Known, kind: str, subject_id: str) -> Subject:
    """:raises DataError: nobody has heard of it."""
    if kind not in KINDS:
        raise UserError(f"--kind {kind}: one of {', '.join(KINDS)}")
    row = source.row(key_of(kind, subject_id))
    if row is None:
        others = [k for k in KINDS if k != kind and source.row(key_of(k, subject_id)) is not None]
        advice = (
            f"; there is one of --kind {others[0]}"
            if others
            else "; ids are exact, upper and lower case differ"
        )
        raise DataError(f"no {kind} {subject_id!r} is known{advice}")
    return Subject(source.topology, key_of(kind, subject_id), row, source.as_of)


# -- show -----------------------------------------------------------------------------------------------------------


def show(
    context: typer.Context,
    lead: _Id,
    kind: _Kind = "lead",
    as_of: _AsOf = None,
    file: _File = None,
    definition: WithDefinition = None,
    zone: _ZoneOption = None,
    as_json: AsJson = False,
) -> None:
    """Show where a lead stands: stage, score, journeys, handoffs and their deadlines, deals, what comes next.

    Example: [bold]leadstream show lead-1[/bold]

    Example: [bold]leadstream show deal-7 --kind deal --file events.ndjson --as-of 2026-11-22T10:00:00Z[/bold]
    """
    source = known(settings_of(context), file, as_of, definition)
    found = _subject(source, kind, lead).show()
    if as_json:
        print_json(found)
        return
    printer = _Printer(zone_named(zone or found["time_zone"]), source)
    printer.heading(found)
    if kind == "deal":
        printer.deal(found)
    if kind in ("deal", "account"):
        printer.events(found)
    else:
        printer.lead(found)


class _Printer:
    """Views as text and tables, in one time zone."""

    def __init__(self, zone: Zone, source: Known) -> None:
        self.zone = zone
        self.as_of = source.as_of
        self.file = source.file

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
        return f"{who}: {_CLOCKS[deadline[0]]} by {self.at(deadline[1])} ({ago(deadline[1], self.as_of)})"

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
            h["admitting_rule"] or "", self.clock(h["first_touch"]), self.clock(h["decision"]),
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

    def events(self, found: View) -> None:
        typer.echo()
        print_table(
            ("when", "what", "from"),
            ((self.at(e["at"]), _what(e), self.place(e)) for e in found["events"]),
        )

    # -- explain --

    def why(self, found: View, last: int) -> None:
        self.fields((("stage", self.standing(found)),))
        for call in found["admitted"]:
            ground = (
                "a raised hand"
                if call["hand_raised"] and call["rule"] == "hand-raise"
                else f"rule {call['rule']}"
            )
            typer.echo(
                f"handoff {call['journey']}.{call['attempt']} on {self.at(call['at'])} was let through by {ground}"
            )
        typer.echo()
        if found["qualified"]:
            typer.echo("It is qualified.")
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
                    self.at(line["at"]), _what(line), points(line["engagement_milli"]), points(line["fit_milli"]),
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


def _source(source: str | None) -> str:
    return {None: "", "": "(empty)"}.get(source, source or "")


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
    return {
        "scored": row["rule"],
        "cap": f"{row['rule']}: cut by its cap",
        "cap of all": "cut by the cap of all engagement",
        "rounding": f"{row['rule']}: rounding",
        "before": f"{row['rule']}: earlier events",
    }.get(row["why"], row["rule"])


def _what(e: View) -> str:
    """An event in words, with what it carried."""
    details = [f"{k} {_plain(v)}" if k in ("kind", "amount") else _detail(v) for k, v in e["payload"].items()]
    said = ", ".join(text for text in details if text)
    return event_words(e["type"]) + (f": {said}" if said else "")


def _detail(value: Any) -> str:
    if value is None:
        return ""
    if isinstance(value, dict):
        return ", ".join(f"{k} {_detail(v)}" for k, v in value.items())
    if isinstance(value, list | tuple):
        return " ".join(filter(None, map(_detail, value)))
    return _plain(value)


# -- explain --------------------------------------------------------------------------------------------------------


def explain(
    context: typer.Context,
    lead: _Id,
    kind: _Kind = "lead",
    as_of: _AsOf = None,
    file: _File = None,
    definition: WithDefinition = None,
    zone: _ZoneOption = None,
    everything: Annotated[bool, typer.Option("--all", help="The whole story, however long.")] = False,
    as_json: AsJson = False,
) -> None:
    """Explain a lead's stage and score: every fact, where it came from, what it led to, and what is missing.

    Example: [bold]leadstream explain lead-1 --as-of 2026-11-22T10:00:00Z[/bold]
    """
    source = known(settings_of(context), file, as_of, definition)
    found = _subject(source, kind, lead).why()
    if as_json:
        print_json(found)
        return
    printer = _Printer(zone_named(zone or found["time_zone"]), source)
    printer.heading(found)
    if kind == "deal":
        printer.deal(found)
    if kind in ("deal", "account"):
        printer.events(found)
    else:
        printer.why(found, 0 if everything else LAST)


# -- handoffs -------------------------------------------------------------------------------------------------------


@commands.command("list")
def list_(
    context: typer.Context,
    only_open: Annotated[bool, typer.Option("--open", help="Only those that wait for an answer.")] = False,
    team: Annotated[str | None, typer.Option("--team", help="Only of this team.")] = None,
    owner: Annotated[str | None, typer.Option("--owner", help="Only of this owner.")] = None,
    as_of: _AsOf = None,
    file: _File = None,
    definition: WithDefinition = None,
    zone: _ZoneOption = None,
    as_json: AsJson = False,
) -> None:
    """List handoffs, those that are overdue first.

    Example: [bold]leadstream handoffs list --open --team sales[/bold]
    """
    source = known(settings_of(context), file, as_of, definition)
    found = [
        h
        for h in handoffs(source.topology, source.rows(), source.as_of, only_open)
        if (team is None or h["team"] == team) and (owner is None or h["owner"] == owner)
    ]
    # An imported one without an answer calls nobody: it is not waiting.
    imported = [h for h in found if h["silent"] and h["outcome"] == "open"]
    if only_open:
        found = [h for h in found if not h["silent"]]
    found.sort(key=_urgency)
    if as_json:
        print_json([h | {"overdue": _overdue(h, source.as_of), "next_due": next_deadline(h)} for h in found])
        return
    printer = _Printer(zone_named(zone or source.topology.definitions[-1].source.time_zone), source)
    print_table(
        (
            "",
            "lead",
            "handoff",
            "team",
            "owner",
            "next deadline",
            "first touch",
            "decision",
            "let through by",
            "outcome",
        ),
        (_line(h, printer) for h in found),
    )
    overdue = sum(_overdue(h, source.as_of) for h in found)
    waiting = sum(h["outcome"] == "open" and not h["silent"] for h in found)
    say(
        f"{len(found):,} handoffs, {waiting:,} open, {overdue:,} overdue, as of {printer.at(source.as_of)}"
        + (f"; {len(imported):,} imported without an answer call nobody" if imported else "")
    )


def _urgency(h: View) -> tuple[bool, int, str]:
    """Open before answered; the earliest deadline first, so what is overdue longest leads; paused ones last."""
    deadline = next_deadline(h) if h["outcome"] == "open" and not h["silent"] else None
    waits = h["outcome"] == "open" and not h["silent"]
    return not waits, deadline[1] if deadline else (1 << 62) - h["started_at"], h["handoff_id"]


def _overdue(h: View, as_of: int) -> bool:
    deadline = next_deadline(h) if h["outcome"] == "open" and not h["silent"] else None
    return deadline is not None and deadline[1] < as_of


def _line(h: View, printer: _Printer) -> tuple[str, ...]:
    open_ = h["outcome"] == "open" and not h["silent"]
    deadline = next_deadline(h) if open_ else None
    state = "OVERDUE" if _overdue(h, printer.as_of) else "paused" if open_ and h["paused_at"] else ""
    named, _, team, owner, rule, touch, decision, outcome = printer.handoff(h)
    following = f"{_CLOCKS[deadline[0]]} {ago(deadline[1], printer.as_of)}" if deadline else ""
    return state, h["lead_id"], named, team, owner, following, touch, decision, rule, outcome

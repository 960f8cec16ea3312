"""``leadstream show``, ``explain`` and ``handoffs``: one lead, and what waits for sales, in plain words."""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Annotated, NamedTuple

import typer

from processors.model import Row, load
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
from streams.cli.replay import WithDefinition, replayed, report_refused
from streams.cli.subjects import CLOCKS, Printer
from streams.cli.times import ago, zone_named
from streams.clock import clock_of
from streams.inspection import KINDS, Subject, View, handoffs, key_of, next_deadline
from streams.settings import Settings
from streams.topology import LeadTopology

#: Of a story, this many facts are printed unless all are asked for.
LAST = 30

_Id = Annotated[str, typer.Argument(metavar="LEAD", help="Id of a lead, or of what --kind says.")]
_Kind = Annotated[str, typer.Option("--kind", "-k", help="lead, anonymous, deal or account.")]
AsOf = Annotated[
    str | None,
    typer.Option("--as-of", help="At this instant (ISO with zone, or ms); else now, of a file its end."),
]
FromFile = Annotated[
    str | None,
    typer.Option("--file", "-f", help="Fold this file of events (NDJSON, - for stdin), instead of Kafka."),
]
InZone = Annotated[
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
        if done.dead or done.unfolded:  # what is shown lacks them
            report_refused(done, file, quiet=False)
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


def _of_whom(source: Known, subject: Subject) -> Subject:
    """Whose part it is now, told in a line: the facts of somebody who was merged are the winner's."""
    met = set()
    while (key := subject.row.target) and key not in met:
        met.add(key)
        row = source.row(key)
        if row is None:
            break  # its facts are on their way
        typer.echo(f"{subject.kind} {subject.id} was merged into {key[2:]}, who is shown instead")
        subject = Subject(source.topology, key, row, source.as_of)
    return subject


# -- show -----------------------------------------------------------------------------------------------------------


def show(
    context: typer.Context,
    lead: _Id,
    kind: _Kind = "lead",
    as_of: AsOf = None,
    file: FromFile = None,
    definition: WithDefinition = None,
    zone: InZone = None,
    as_json: AsJson = False,
) -> None:
    """Show where a lead stands: stage, score, journeys, handoffs and their deadlines, deals, what comes next.

    Example: [bold]leadstream show lead-1[/bold]

    Example: [bold]leadstream show deal-7 --kind deal --file events.ndjson --as-of 2026-11-22T10:00:00Z[/bold]
    """
    source = known(settings_of(context), file, as_of, definition)
    subject = _subject(source, kind, lead)
    if as_json:
        print_json(subject.show())
        return
    found = _of_whom(source, subject).show()
    printer = Printer(zone_named(zone or found["time_zone"]), source.as_of, source.file)
    printer.heading(found)
    if kind == "deal":
        printer.deal(found)
    if kind == "account":
        printer.account(found)
    if kind in ("deal", "account"):
        printer.events(found)
    else:
        printer.lead(found)


# -- explain --------------------------------------------------------------------------------------------------------


def explain(
    context: typer.Context,
    lead: _Id,
    kind: _Kind = "lead",
    as_of: AsOf = None,
    file: FromFile = None,
    definition: WithDefinition = None,
    zone: InZone = None,
    everything: Annotated[bool, typer.Option("--all", help="The whole story, however long.")] = False,
    as_json: AsJson = False,
) -> None:
    """Explain a lead's stage and score: every fact, where it came from, what it led to, and what is missing.

    Example: [bold]leadstream explain lead-1 --as-of 2026-11-22T10:00:00Z[/bold]
    """
    source = known(settings_of(context), file, as_of, definition)
    subject = _subject(source, kind, lead)
    if as_json:
        print_json(subject.why())
        return
    found = _of_whom(source, subject).why()
    printer = Printer(zone_named(zone or found["time_zone"]), source.as_of, source.file)
    printer.heading(found)
    if kind == "deal":
        printer.deal(found)
    if kind == "account":
        printer.account(found)
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
    as_of: AsOf = None,
    file: FromFile = None,
    definition: WithDefinition = None,
    zone: InZone = None,
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
    printer = Printer(
        zone_named(zone or source.topology.definitions[-1].source.time_zone), source.as_of, source.file
    )
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


def _line(h: View, printer: Printer) -> tuple[str, ...]:
    open_ = h["outcome"] == "open" and not h["silent"]
    deadline = next_deadline(h) if open_ else None
    state = "OVERDUE" if _overdue(h, printer.as_of) else "paused" if open_ and h["paused_at"] else ""
    named, _, team, owner, rule, touch, decision, outcome = printer.handoff(h)
    following = f"{CLOCKS[deadline[0]]} {ago(deadline[1], printer.as_of)}" if deadline else ""
    return state, h["lead_id"], named, team, owner, following, touch, decision, rule, outcome

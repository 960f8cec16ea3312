"""``leadstream win-model``: the counts that win probabilities follow from, published once a day."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterable
from typing import Annotated, Any, NamedTuple

import msgspec
import typer

from processors import figures, priority
from processors.days import iso
from processors.definition.model import MINUTE
from processors.definition.reader import DefinitionError
from processors.model import Row, RowVersionError
from processors.money import show as money
from processors.reference import WinModel
from processors.winmodel import FEATURES, Model, parse
from streams import state_reader
from streams.cli.console import (
    AsJson,
    DataError,
    UserError,
    instant,
    instant_ms,
    print_json,
    print_line,
    print_table,
    say,
    settings_of,
)
from streams.cli.events import checked_event, message, prepare_codec
from streams.cli.inspect import FromFile, known
from streams.cli.replay import WithDefinition
from streams.clock import clock_of
from streams.kafka_tools import Publisher
from streams.settings import Settings
from streams.topology import LeadTopology

#: How long after the start of a day its snapshot is made, so that workers have taken in what came before midnight.
AFTER_MS = 10 * MINUTE

commands = typer.Typer(
    help="How likely a lead is won: counts of closed deals, as published for priorities.",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="win-model")


class Snapshot(NamedTuple):
    """The counts as of the start of a day of the reporting time zone."""

    day: int
    as_of: int
    counts: dict[str, Any]

    def event(self, now_ms: int) -> dict[str, Any]:
        """As it is published; the day is its identity."""
        return {
            "type": "win_model_published",
            "occurred_at": now_ms,
            "source_system": "leadstream",
            "source_event_id": f"win-model/{iso(self.day)}",
            "payload": {
                "as_of": self.as_of,
                "counts": msgspec.json.encode(self.counts, order="sorted").decode(),
            },
        }


def day_of(logic: LeadTopology, now_ms: int) -> tuple[int, int]:
    """The day of the reporting time zone, and the instant at which it began."""
    days = logic.definitions[-1].days
    day = days.day(now_ms)
    return day, days.start(day)


def snapshot(logic: LeadTopology, rows: Iterable[tuple[str, Row]], now_ms: int) -> Snapshot:
    """What the closed deals of all leads say, as of the start of today."""
    day, as_of = day_of(logic, now_ms)
    # Deals never leave a lead's head, so who has none now had none this morning.
    some = ((key, row) for key, row in rows if key[:1] == "l" and row.head.shares)
    totals = state_reader.figures_of_rows(some, logic, as_of)
    base, rates = logic.definitions[-1].source.base_currency, logic.reference
    counts = priority.snapshot(
        totals,
        figures.stage_names(logic.definitions),
        lambda amount, currency, on: rates.convert(amount, currency, on, base),
        base,
    )
    return Snapshot(day, as_of, counts)


def published(logic: LeadTopology, now_ms: int) -> WinModel | None:
    """Today's snapshot, if it is there already."""
    newest = logic.reference.win_model_at(1 << 62)
    return newest if newest is not None and newest.as_of >= day_of(logic, now_ms)[1] else None


def publish_once(settings: Settings, now_ms: int) -> Snapshot | None:
    """Publish today's snapshot; None where that was done before."""
    logic = _topology(settings)
    if published(logic, now_ms) is not None:
        return None
    try:
        made = snapshot(logic, state_reader.rows(settings), now_ms)
    except RowVersionError as error:
        raise DataError(f"{settings.changelog}: {error}") from None
    line = checked_event(made.event(now_ms), "win_model_published")
    if line.problem or line.envelope is None:
        raise DataError(f"today's win model: {line.problem}")
    with Publisher(settings) as publisher:
        publisher.send(message(settings, line.event, line.envelope, "avro"))
    return made


def _topology(settings: Settings) -> LeadTopology:
    try:
        return state_reader.topology(settings)
    except DefinitionError as error:
        raise UserError(str(error)) from None


@commands.command()
def publish(
    context: typer.Context,
    daily: Annotated[
        bool, typer.Option("--daily", help="Stay, and publish again soon after each midnight.")
    ] = False,
    as_json: AsJson = False,
) -> None:
    """Count the closed deals as of the start of today, and publish that, once a day.

    To be run every day (cron, a Kubernetes CronJob, or --daily as a service). A second run of the same day does
    nothing, so running it too often, or restarting it, is safe. Days are those of the definition's time zone.

    Example: [bold]leadstream win-model publish[/bold]
    """
    settings = settings_of(context)
    if daily and settings.clock != "wall":
        raise UserError(f"--daily waits for midnight, but `clock` is {settings.clock}; leave one of them out")
    prepare_codec(settings)
    _publish(settings, as_json)
    while daily:
        wait(settings)
        _publish(settings, as_json)


def wait(settings: Settings, pause: Callable[[float], Any] = threading.Event().wait) -> None:
    """Until a little after the next midnight."""
    logic = _topology(settings)
    now = clock_of(settings).now_ms()
    pause(seconds_left(logic, now))


def seconds_left(logic: LeadTopology, now_ms: int) -> float:
    """Until the next snapshot is to be made."""
    days = logic.definitions[-1].days
    return (days.start(days.day(now_ms) + 1) + AFTER_MS - now_ms) / 1000


def _publish(settings: Settings, as_json: bool) -> None:
    now = clock_of(settings).now_ms()
    made = publish_once(settings, now)
    if made is None:
        say("today's win model is published already")
        return
    if as_json:
        print_json({"as_of": instant(made.as_of), "counts": made.counts})
    model = parse(made.counts)
    say(
        f"published the win model of {iso(made.day)}: {model.won:,} won and {model.lost:,} lost"
        + _useless(model)
    )


def _useless(model: Model) -> str:
    if model.won and model.lost:
        return ""
    return "; it takes a won and a lost deal to tell probabilities, so there are no priorities yet"


@commands.command()
def count(
    context: typer.Context,
    as_of: Annotated[
        str | None,
        typer.Option("--as-of", help="As of the start of this instant's day; now, of a file its end."),
    ] = None,
    file: FromFile = None,
    definition: WithDefinition = None,
) -> None:
    """Print the snapshot of a day as an event (NDJSON) and publish nothing; also of a file of events.

    Example: [bold]leadstream win-model count --file events.ndjson >> events.ndjson[/bold]
    """
    source = known(settings_of(context), file, as_of, definition)
    print_line(snapshot(source.topology, source.rows(), source.as_of).event(source.as_of))


@commands.command()
def show(
    context: typer.Context,
    as_of: Annotated[
        str | None, typer.Option("--as-of", help="In force at this instant (ISO with zone, or ms); now.")
    ] = None,
    as_json: AsJson = False,
) -> None:
    """Show the win model in force: what was won and lost, by what leads were judged by.

    Example: [bold]leadstream win-model show[/bold]
    """
    settings = settings_of(context)
    prepare_codec(settings)
    at = instant_ms(as_of, "--as-of") if as_of else clock_of(settings).now_ms()
    found = _topology(settings).reference.win_model_at(at)
    if found is None:
        raise DataError(
            f"no win model is in force as of {instant(at)}; `leadstream win-model publish` makes one"
        )
    model = found.model
    if as_json:
        print_json({"as_of": instant(found.as_of), "since": instant(found.since), "counts": model})
        return
    typer.echo(f"as of {instant(found.as_of)}, in force since {instant(found.since)}: "
               f"{model.won:,} won, {model.lost:,} lost{_useless(model)}")  # fmt: skip
    medians = {"all": model.median_won_minor, **model.median_won_by_segment}
    print_table(
        ("median amount won", ""),
        ((name, money(n, model.currency)) for name, n in medians.items() if n is not None),
    )
    typer.echo()
    print_table(
        ("judged by", "value", "won", "lost"),
        (
            (feature, value, f"{won:,}", f"{lost:,}")
            for feature in FEATURES
            for value, (won, lost) in sorted(model.features.get(feature, {}).items())
        ),
    )

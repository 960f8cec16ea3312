"""``leadstream win-model``: the counts that win probabilities follow from, published once a day."""

from __future__ import annotations

import threading
from typing import Annotated

import typer

from processors.days import iso
from processors.definition.reader import DefinitionError
from processors.model import RowVersionError
from processors.money import show as money
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
from streams.win_model import EVENT, Snapshot, published, seconds_left, snapshot

commands = typer.Typer(
    help="How likely a lead is won: counts of closed deals, as published for priorities.",
    no_args_is_help=True,
)


def register(app: typer.Typer) -> None:
    app.add_typer(commands, name="win-model")


def publish_once(settings: Settings, now_ms: int) -> Snapshot | None:
    """Publish today's snapshot; None where that was done before."""
    logic = _topology(settings)
    if published(logic, now_ms) is not None:
        return None
    try:
        made = snapshot(logic, state_reader.rows(settings), now_ms)
    except RowVersionError as error:
        raise DataError(f"{settings.changelog}: {error}") from None
    line = checked_event(made.event(now_ms), EVENT)
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
    if daily and settings.fixed_now_ms is not None:
        raise UserError(f"--daily waits for midnight, but `clock` is {settings.clock}; leave one of them out")
    prepare_codec(settings)
    _publish(settings, as_json)
    while daily:
        threading.Event().wait(seconds_left(_topology(settings), clock_of(settings)))
        _publish(settings, as_json)


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
